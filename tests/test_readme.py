"""What README and docs tell a user to type, and what they say about the code."""

import re
import shlex

import pytest
from conftest import METHODS, REFERENCES, REPOSITORY
from hydra.core.override_parser.overrides_parser import OverridesParser

from ssl_mnist import compose, config

README = REPOSITORY / "README.md"
# The commands of extending.md are those of tests/test_extending.py, which runs them.
DOCUMENTS = [README, REPOSITORY / "CONTRIBUTING.md", *(p for p in sorted((REPOSITORY / "docs").glob("*.md")) if p.name != "extending.md")]
COMMAND = re.compile(r"python -m ssl_mnist(?:\.(evaluate|compare|export))?((?: +(?:'[^'\n]*'|[^\s`#|]+))*)")


def commands() -> list[tuple[str, list[str]]]:
    """(module, words) of every command in the documents."""
    found = [match.groups() for path in DOCUMENTS for match in COMMAND.finditer(path.read_text())]
    return sorted({(module or "", tuple(shlex.split(words))) for module, words in found}, key=str)


def jobs(words: list[str]) -> list[list[str]]:
    """The overrides of a command: of a sweep, the first values of all keys, then the second ones, and so on. Hydra's own are left out."""
    columns = []
    for word in words:
        key, _, values = word.partition("=")
        if key in ("data.root", "data.path"):  # <folder>, <file.npz>
            columns.append([f"{key}=there"])
            continue
        if word.startswith("-") or key.lstrip("+").startswith("hydra") or "<" in word or not ("=" in word or word.startswith("~")):
            continue
        if word.startswith("~"):
            columns.append([word])
        else:
            columns.append([f"{key}={value}" for value in ([values] if values.startswith("[") else values.split(","))])
    return [[column[min(i, len(column) - 1)] for column in columns] for i in range(max(map(len, columns), default=1))]


@pytest.mark.parametrize(("module", "words"), commands(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else value)
def test_every_command_composes(module, words):
    """The settings that a command names exist and have allowed values."""
    if module == "compare":
        assert {word for word in words[1:] if word.startswith("-")} <= {"--wandb-report", "--pairs", "--no-references"}
        return
    if module == "export":
        assert {word for word in words[1:] if word.startswith("-")} <= {"--format", "--with-probe", "--output", "--allow"}
        return
    OverridesParser.create().parse_overrides([word for word in words if "=" in word and not word.startswith("-") and "<" not in word])
    for overrides in jobs(words):
        config.check(compose(*overrides))


def test_commands_are_found():
    """The pattern finds those of each kind, so that the test above is not empty."""
    found = commands()
    assert len(found) >= 20 and {module for module, _ in found} == {"", "evaluate", "compare", "export"}
    assert any("-m" in words for _, words in found) and any("experiment=[compare_methods,smoke]" in words for _, words in found)


def test_an_unknown_setting_would_be_found():
    with pytest.raises(Exception, match="no setting probe"):
        for overrides in jobs(["probe.shift=1"]):
            config.check(compose(*overrides))


def test_readme_has_at_most_140_lines():
    assert len(README.read_text().splitlines()) <= 140


@pytest.mark.parametrize("path", [*DOCUMENTS, REPOSITORY / "docs" / "extending.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """Every relative link and picture of a document is a file of the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    missing = [target for target in targets if not target.startswith("http") and not (path.parent / target).exists()]
    assert not missing


def test_the_tree_names_every_file_and_no_other():
    """The tree in docs/architecture.md: every Python file of the package but the rooms' __init__.py, each in its room."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    tree = text[text.index("    ssl_mnist/\n") : text.index("    conf/ ")]
    drawn, rooms = set(), {4: ""}  # by the indent of what is in them
    for line in tree.splitlines()[1:]:
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        if name.endswith("/"):
            rooms[indent] = f"{rooms[indent - 2]}{name}"
        else:
            drawn.add(f"{rooms[indent - 2]}{name}")
    package = REPOSITORY / "ssl_mnist"
    files = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    assert drawn == {name for name in files if not name.endswith("/__init__.py")}


def test_the_documents_name_what_there_is():
    """All methods in README, all benchmarks in docs/benchmarks.md, all probes' files in docs/protocol.md or its groups."""
    readme, benchmarks = README.read_text().lower(), (REPOSITORY / "docs" / "benchmarks.md").read_text()
    assert all(method in readme for method in (*METHODS, *REFERENCES))
    assert all(f"benchmarks/{path.name}" in benchmarks for path in (REPOSITORY / "benchmarks").glob("*.py"))
    protocol = (REPOSITORY / "docs" / "protocol.md").read_text()
    assert all(
        f"`{name}`" in protocol for name in ("linear", "linear_map", "knn", "kmeans", "linear_100_labels", "standard", "quick", "full")
    )
