"""README and docs are run: each document is a script, whose commands and Python blocks run in its order in one folder.

They run on 300 digits for one epoch, and of a list that is swept the first two values. What needs a cluster or several processes has
tests of its own (NOT_HERE). tests/test_extending.py runs extending.md.
"""

import contextlib
import io
import multiprocessing
import os
import re
import runpy
import shlex
import sys
import traceback

import numpy as np
import pytest
import torch
from conftest import CPU, FORGET, REPOSITORY, SPEC, isolate
from PIL import Image

from ssl_mnist.data import packaged_5k

DOCUMENTS = [REPOSITORY / "README.md", *(p for p in sorted((REPOSITORY / "docs").rglob("*.md")) if p.name != "extending.md")]
NOT_HERE = {
    "hydra/launcher=": "tests/test_launchers.py and test_clusters.py",
    "devices=": "tests/test_distributed.py",
    "+search=": "tests/test_launchers.py",
    "--wandb-report": "tests/test_wandb_report.py",
    "resume=": "tests/test_resume.py",
}
SMALL = {
    "data": "arrays",
    "data.path": "digits.npz",
    "data/kind": "digits",
    "pretrain.epochs": "1",
    "pretrain.batch_size": "20",
    "evaluation.num_points": "50",
    "tracking.mode": "disabled",
}
PLACES = {  # what the documents leave open, and what is in the workspace
    "outputs/sweeps/search/<run>": "outputs/sweeps/two/0-simclr",
    "outputs/runs/<run>": "outputs/runs/one",
    "<run>": "outputs/runs/one",
    "outputs/sweeps/<sweep>": "outputs/sweeps/two",
    "<sweep>": "outputs/sweeps/two",
    "data.root=cifar": "data.root=pictures",
    "<folder>": "pictures",
    "<file.npz>": "digits.npz",
}
DOWNLOADED = {"fashion_mnist", "kmnist", "emnist_balanced", "qmnist", "usps", "cifar10", "cifar100", "svhn", "stl10"}

PYTHON = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"python -m (ssl_mnist(?:\.\w+)?)((?: +(?:'[^'\n]*'|[^\s`#|]+))*)")


def steps_of(path):
    """The document's Python blocks, and its commands as lists of words, in order."""
    text = path.read_text()
    found = [(match.start(), match[1].replace("<run>", "one")) for match in PYTHON.finditer(text)]
    found += [(match.start(), [match[1], *shlex.split(match[2])]) for match in COMMAND.finditer(text)]
    return [step for _, step in sorted(found, key=lambda each: each[0])]


def small(words):
    """A command of the documents as it is run here; None where another test runs it."""
    module, *rest = words
    for shown, here in PLACES.items():
        rest = [word.replace(shown, here) for word in rest]
    rest = [re.sub(r"num_labels=\[.*\]", "num_labels=[20,50]", word) for word in rest]  # of 300 digits
    if module != "ssl_mnist" and not rest:  # the name of a command, not one to type
        return None
    if any(word.startswith(part) for part in NOT_HERE for word in rest) or any("<" in word for word in rest):
        return None
    if module != "ssl_mnist" or "--help" in rest or "--cfg" in rest:
        return [module, *rest]
    given = {word.partition("=")[0] for word in rest}
    taken = []
    for word in rest:
        key, equals, value = word.partition("=")
        if key in ("pretrain.epochs", "pretrain.batch_size") and "," not in value:
            value = SMALL[key]
        elif "," in value and not value.startswith(("[", "'", '"')):
            value = ",".join(value.split(",")[:2])
        taken.append(f"{key}{equals}{value}")
    if not any("evaluation" in word for word in rest):
        taken.append("evaluation=quick")
    if "data" in given:
        return [module, *taken, *(f"{key}={value}" for key, value in SMALL.items() if not key.startswith("data") and key not in given)]
    return [module, *taken, *(f"{key}={value}" for key, value in SMALL.items() if key not in given)]


def in_child(what, folder):
    """Call a function in a forked process, which has torch loaded already, in `folder`; returns its exit status and what it printed."""
    log = folder / "log.txt"

    def child():
        os.chdir(folder)
        for name in FORGET:
            os.environ.pop(name, None)
        os.environ.update(isolate(folder / "home"))
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(fd, "wb", 0), write_through=True) for fd in (1, 2))
            try:
                what()
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
            except BaseException:
                traceback.print_exc()
                status = 70
            os._exit(status)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    return process.exitcode, log.read_text(errors="replace")


def command(words, folder):
    def what():
        sys.argv = [words[0], *words[1:]]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)

    return in_child(what, folder)


@pytest.fixture
def workspace(tmp_path):
    """A folder with what the documents take for granted: a run, a sweep, images."""
    train = packaged_5k(500, 500, SPEC, CPU.device).train
    images, labels = train.images, train.labels
    chosen = torch.cat([torch.nonzero(labels == digit)[:30, 0] for digit in range(10)])
    np.savez(tmp_path / "digits.npz", images=images[chosen].numpy(), labels=labels[chosen].numpy())
    for i, row in enumerate(chosen[::5].tolist()):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[row].squeeze(0).numpy()).save(folder / f"{i}.png")
    run, sweep = ["ssl_mnist", "hydra.run.dir=outputs/runs/one"], ["ssl_mnist", "-m", "seed=0,1", "hydra.sweep.dir=outputs/sweeps/two"]
    for words in (run, sweep):
        status, text = command(small(words), tmp_path)
        assert status == 0, text
    return tmp_path


@pytest.mark.documents
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_what_a_document_shows_runs(path, workspace):
    """Each command ends with status 0 and each Python block without an error; one that downloads says that it cannot."""
    names = {"images": np.load(workspace / "digits.npz")["images"]}
    blocks = []
    for step in steps_of(path):
        if isinstance(step, str):
            blocks.append(step)
            continue
        words = small(step)
        if words is None:
            continue
        status, text = command(words, workspace)
        downloads = any(f"={name}" in word for word in words for name in DOWNLOADED if word.startswith(("data=", "experiment=")))
        ends = any(word.startswith("health.stop_on_collapse=true") for word in words)
        if downloads:
            assert status == 1 and "download" in text.splitlines()[-1], (words, text[-2000:])
        elif ends:  # on these few images it may collapse or not
            assert "Traceback" not in text and status == int("collapsed" in text.splitlines()[-1]), (words, text[-2000:])
        else:
            assert status == 0, (words, text[-2000:])
    if blocks:

        def what():
            for block in blocks:
                exec(compile(block, str(path), "exec"), names)

        status, text = in_child(what, workspace)
        assert status == 0, text[-2000:]


def test_there_are_commands_and_blocks():
    """The patterns find both kinds, so that the test above is not empty."""
    steps = [step for path in DOCUMENTS for step in steps_of(path)]
    assert sum(isinstance(step, list) for step in steps) > 60 and sum(isinstance(step, str) for step in steps) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # none are kept: they would be numbers typed in
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert "image/png" in kinds and not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))


def test_the_site_builds(tmp_path):
    """mkdocs build --strict: every link and every name of the API reference resolves."""
    pytest.importorskip("mkdocs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    with contextlib.chdir(REPOSITORY):
        build(load_config("mkdocs.yml", site_dir=str(tmp_path / "site"), strict=True))
    page = (tmp_path / "site" / "api.html").read_text()
    assert all(f'id="ssl_mnist.{name}"' in page for name in ("run", "load_encoder", "embed", "SSLTransformer"))
