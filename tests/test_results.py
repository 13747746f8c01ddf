"""The published tables are those of the summaries in results/."""

import importlib.util
import json
import re

import pytest
from conftest import REPOSITORY

spec = importlib.util.spec_from_file_location("tables", REPOSITORY / "results" / "tables.py")
assert spec and spec.loader
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


@pytest.fixture(scope="module")
def blocks() -> dict[str, str]:
    rows = tables.read()
    return {name: make(rows) for name, make in tables.BLOCKS.items()}


@pytest.mark.parametrize("path", tables.DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_are_those_of_the_summaries(path, blocks):
    """`python results/tables.py --write` would change nothing."""
    text = path.read_text()
    assert "<!-- results: scores -->" in text
    assert tables.filled(text, blocks) == text, "run python results/tables.py --write"


def test_a_changed_summary_changes_a_table(blocks, monkeypatch, tmp_path):
    """The check above is able to fail: one accuracy changed by a point shows in the tables."""
    for path in tables.HERE.glob("*/*.json"):
        copy = tmp_path / path.parent.name / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text())
    changed = tmp_path / "default-0-simclr" / "summary.json"
    summary = json.loads(changed.read_text())
    changed.write_text(json.dumps(summary | {"test/knn_accuracy": summary["test/knn_accuracy"] - 0.01}))
    monkeypatch.setattr(tables, "HERE", tmp_path)
    assert tables.block_scores(tables.read()) != blocks["scores"]


def test_readme_has_one_table_of_results_with_at_most_seven_rows(blocks):
    names = re.findall(r"<!-- results: (\w+) -->", (REPOSITORY / "README.md").read_text())
    assert names == ["scores", "speed"]
    rows = [line for line in blocks["scores"].splitlines() if line.startswith("| ")]
    assert len(rows) - 1 <= 7


def test_the_data_is_named_as_what_it_is(blocks):
    """Every row of the published tables is of one data set, and its note stands beside the numbers."""
    sources = {row.same("data/source") for row in tables.read()}
    assert all(f"`{name}`" in blocks["scores"] and tables.NOTES.get(name, "") in blocks["scores"] for name in sources)


def test_a_row_is_of_one_recipe():
    """The runs of a row differ in their seed alone, and no seed stands in it twice."""
    for row in tables.read():
        assert len(set(row.seeds)) == len(row.seeds) >= 3
        kept = [{k: v for k, v in run["identity_parts"]["settings"].items() if k != "seed"} for _, run in row.runs]
        assert all(settings == kept[0] for settings in kept)
