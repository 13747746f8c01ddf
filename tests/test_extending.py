"""docs/extending.md, as printed: each example runs from a folder of the user's and in the package."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FORGET, REPOSITORY, command, isolate, summary_of

from ssl_mnist import compose, load_encoder
from ssl_mnist.pipeline import run

DOCUMENT = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`mine/([\w./]+)`:\n\n```(?:python|yaml)\n(.*?)```", DOCUMENT, re.S | re.M))
COMMANDS = [shlex.split(words) for words in re.findall(r"^    PYTHONPATH=\. python -m ssl_mnist --config-dir conf (.*)$", DOCUMENT, re.M)]
PLACES = re.findall(r"^In the package: `([\w./]+)`, `([\w./]+)`, `_target_: ([\w.]+)`\.$", DOCUMENT, re.M)
QUICK = ("pretrain.epochs=1", "pretrain.batch_size=128", "evaluation=quick", "evaluation.linear.l2=[1.0e-3]", "evaluation.num_points=50",
         "evaluation.cache=false", "tracking.mode=disabled")  # fmt: skip


@pytest.fixture
def mine(tmp_path) -> Path:
    """The user's folder."""
    for name, text in FILES.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "mine"


def test_the_document_has_five_examples_and_names_all_their_files():
    assert len(FILES) == 10 and len(COMMANDS) == 6 and len(PLACES) == 5
    drawn = DOCUMENT[DOCUMENT.index("    mine/\n") : DOCUMENT.index("`--config-dir conf` adds")]
    assert all(name.removeprefix("conf/") in drawn for name in FILES)


@pytest.mark.parametrize("words", COMMANDS[:5], ids=lambda words: words[0])
def test_an_example_runs_from_a_folder_of_its_own(words, mine, monkeypatch):
    """Each command trains and evaluates; what the folder adds is what ran."""
    monkeypatch.syspath_prepend(str(mine))
    settings = compose(*words, *QUICK, f"hydra.searchpath=[file://{mine}/conf]")
    summary = run(settings, mine / "run")
    assert summary["test/linear_accuracy"] > 0.3
    group, _, option = words[0].lstrip("+").partition("=")
    if group == "evaluation/probe":
        assert f"test/{option}_accuracy" in summary["scores"] and summary[f"val/{option}_accuracy"] > 0.3
    else:
        assert summary[f"choices/{group}"] == option
    if group == "encoder":
        assert load_encoder(mine / "run", allow=(option,)).dim == summary["model/dim"]


def test_all_examples_run_by_the_command_with_config_dir(mine):
    """The last command, which has all five, as a user types it."""
    result = command("--config-dir", "conf", *COMMANDS[5], *QUICK, "hydra.run.dir=run", cwd=mine, PYTHONPATH=".")
    assert result.returncode == 0, result.stdout + result.stderr
    summary = summary_of(mine / "run")
    assert summary["choices/method"] == "vicreg" and summary["data/source"] == "uci-digits" and "test/centroid_accuracy" in summary


def test_all_examples_run_in_the_package(tmp_path):
    """The same files at the places that the document names, with the `_target_` it names; no --config-dir."""
    for name in ("ssl_mnist", "conf"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for module, yaml, target in PLACES:
        own = target.split(".", 2)[2]  # in the user's folder: <module>.<class>
        text = FILES[yaml]
        assert f"_target_: {own}\n" in text
        (tmp_path / module).write_text(FILES[Path(module).name])
        (tmp_path / yaml).write_text(text.replace(f"_target_: {own}\n", f"_target_: {target}\n"))
    env = {k: v for k, v in os.environ.items() if k not in FORGET} | isolate(tmp_path / "home") | {"PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-m", "ssl_mnist", *COMMANDS[5], *QUICK, "hydra.run.dir=run"]
    result = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert summary_of(tmp_path / "run")["choices/encoder"] == "lenet"
