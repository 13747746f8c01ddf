"""What a user can get wrong ends in one line and status 1, and what is the user's stays."""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, command
from filelock import FileLock

from ssl_mnist import UserError, cli, compare, compose, config, pipeline
from ssl_mnist.files import atomic_write


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to stand in; commands that run there draw no figures."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(pipeline, "draw", lambda *_: None)
    monkeypatch.setattr(cli, "keep_going", lambda: None)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    return place


def run(*words, monkeypatch):
    """The command in this process; returns its status, or the line that it ends in."""
    monkeypatch.setattr(sys, "argv", ["ssl_mnist", *words])
    try:
        cli.main()
    except SystemExit as end:
        return end.code
    return 0


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


LINES = {
    ("seed=a",): "seed must be a whole number like 0, got 'a'",
    ("seed=1.5",): "seed must be a whole number like 0, got 1.5",
    ("seed=null",): "seed must be a whole number like 0, got None",
    ("pretrain=5",): "pretrain holds settings of its own",
    ("~data",): "data cannot be removed",
    ("+choices=5",): "there is no setting choices",
    ("+overrides=5",): "there is no setting overrides",
    ("method=null",): "a group takes the name of one of its options",
    ("method={a: 1}",): "method takes the name of one of its options: autoencoder, pca, raw_pixels, rotation",
    ("method=byoll",): "method=byoll is no option; method is one of autoencoder, pca, raw_pixels, rotation",
    ("hydra/job_logging=nope",): "hydra/job_logging is one of default, disabled, none, stdout",
    ("hydra.run.dir=a=b",): "hydra.run.dir=a=b cannot be read",
    ("optimizer.lr=-1",): "optimizer.lr must be above 0, got -1",
    ("epochs=3",): "did you mean pretrain.epochs?",
    ("+trainer.max_epochs=3",): "there is no setting trainer",
    ("+evaluation.k=5",): "did you mean evaluation.knn.k?",
    ("-m", "seed=range(0)"): "the sweep has no job",
    ("-m", "seed=0,1", "hydra.sweeper.max_batch_size=0"): "hydra.sweeper.max_batch_size must be at least 1",
    ("-m", "pretrain.warmup=0,0.1", "hydra.sweep.subdir=s${seed}"): "give several jobs the folder",
    ("-m", "seed=0", "hydra.sweep.subdir=../x"): "leads out of the sweep's folder",
    ("seed=${seed}",): "leads back to itself",
    ("data=image_folder",): "data.root has to be given, as in data.root=<folder>",
    ("data=arrays",): "data.path has to be given, as in data.path=<file>",
}


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_one_line(words, here, monkeypatch, capsys):
    """Nothing but the line, which names the key, and nothing in the folder."""
    end = run(*TINY, *words, monkeypatch=monkeypatch)
    assert isinstance(end, str) and LINES[words] in end and "\n" not in end
    assert capsys.readouterr().err == "" and files(here) == []


@pytest.mark.parametrize("name", ["comparison.html", "comparison.csv", "comparison.json", "multirun.yaml"])
def test_a_sweep_replaces_no_file_of_the_users(name, here, monkeypatch):
    (here / name).write_text("mine")
    end = run("-m", *TINY, "seed=0", "hydra.sweep.dir=.", monkeypatch=monkeypatch)
    assert f"{name} is there and not of a sweep of ssl_mnist" in end
    assert files(here) == [name] and (here / name).read_text() == "mine"


def test_a_sweep_without_a_result_can_be_repeated(here, monkeypatch):
    """Its table has no row, and is the sweep's own all the same."""
    words = ("-m", *TINY, "seed=0", "method.temperature=-1", "hydra.sweep.dir=s")
    assert "temperature" in run(*words, monkeypatch=monkeypatch) and (here / "s" / "comparison.csv").exists()
    assert "temperature" in run(*words, monkeypatch=monkeypatch)


def test_nor_where_a_run_lies_below(here, monkeypatch):
    """What the sweep itself wrote, it replaces."""
    words = ("-m", *TINY, "hydra.sweep.dir=.")
    assert run(*words, "seed=0", monkeypatch=monkeypatch) == 0 and run(*words, "seed=0", monkeypatch=monkeypatch) == 0
    for name in ("comparison.csv", "comparison.html"):
        (here / name).write_text("mine")
        assert f"{name} is there and not of a sweep" in run(*words, "seed=0", monkeypatch=monkeypatch)
        with pytest.raises(UserError, match=f"{name} is there and not of a sweep"):
            compare.report(here)
        assert (here / name).read_text() == "mine"
        (here / name).unlink()


def test_what_another_process_writes_is_said_so(here, monkeypatch):
    assert run(*TINY, "hydra.run.dir=r", monkeypatch=monkeypatch) == 0
    (here / "r" / "summary.json").unlink()
    with FileLock(here / "r" / "run.lock"):
        for seed in ("seed=0", "seed=1"):
            assert "r is being written by another process" in run(*TINY, seed, "hydra.run.dir=r", monkeypatch=monkeypatch)


def test_paths_are_printed_from_where_the_user_stands(here, monkeypatch, capsys):
    assert run(*TINY, "hydra.run.dir=a/b", "hydra.job.chdir=true", monkeypatch=monkeypatch) == 0
    assert "folder  a/b\n" in capsys.readouterr().out


def test_a_search_of_failures_says_so(here, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    words = ("-m", *TINY, "+search=optuna", "hydra.sweeper.n_trials=1", "hydra.sweep.dir=s", "method.temperature=-1")
    assert "no trial of the search succeeded" in run(*words, monkeypatch=monkeypatch)


def test_data_that_are_not_what_their_spec_says(here, monkeypatch):
    """Said before anything is trained."""
    np.savez("x.npz", images=np.zeros((60, 16, 16), np.uint8), labels=np.arange(60) % 3)
    np.savez("none.npz", images=np.zeros((0, 16, 16), np.uint8))
    Path("text.npz").write_text("hello")
    end = run(*TINY, "data=arrays", "data.path=x.npz", "data.spec.classes=[a,b]", monkeypatch=monkeypatch)
    assert "x's train part holds the label 2; data.spec.classes names 2 classes, labels 0 to 1" in end
    assert "holds no image" in run(*TINY, "data=arrays", "data.path=none.npz", monkeypatch=monkeypatch)
    assert "another kind of file" in run(*TINY, "data=arrays", "data.path=text.npz", monkeypatch=monkeypatch)
    assert files(here) == ["none.npz", "text.npz", "x.npz"]


def test_a_run_replaces_no_file_of_the_users(here, monkeypatch):
    (here / "figures").mkdir()
    (here / "figures" / "paper.svg").write_text("mine")
    (here / "summary.json").write_text("{}")
    end = run(*TINY, "hydra.run.dir=.", monkeypatch=monkeypatch)
    assert "summary.json is there and not of a run of ssl_mnist" in end
    assert {"figures/paper.svg", "summary.json"} <= set(files(here)) and (here / "summary.json").read_text() == "{}"


def test_a_folder_that_was_there_stays(here, monkeypatch):
    (here / "s").mkdir()
    assert "optimizer.lr" in run(*TINY, "optimizer.lr=-1", "hydra.run.dir=s", monkeypatch=monkeypatch)
    assert "no job" in run("-m", *TINY, "seed=range(0)", "hydra.sweep.dir=s", monkeypatch=monkeypatch)
    assert files(here) == ["s"]


def test_the_default_folders(here, monkeypatch):
    """A run goes to outputs/runs/<time>-<method>; all jobs of a sweep are of one folder, and a failed one keeps its traceback."""
    assert run(*TINY, monkeypatch=monkeypatch) == 0
    assert [path.name.endswith("-simclr") for path in (here / "outputs" / "runs").iterdir()] == [True]
    assert "temperature" in run("-m", *TINY, "method.temperature=0.1,-1", monkeypatch=monkeypatch)
    (sweep,) = (here / "outputs" / "sweeps").iterdir()
    assert [json.loads((sweep / job / "run.json").read_text())["sweep"] for job in ("0-simclr", "1-simclr")] == [sweep.name] * 2
    assert "UserError" in (sweep / "1-simclr" / "error.txt").read_text()


LAYOUTS = {
    "nested": ('hydra.sweep.subdir="${hydra:runtime.choices.method}/seed=${seed}"', "hydra.sweep.dir=s"),
    "odd characters": ('hydra.sweep.subdir="my sweep (1) ${seed}"', 'hydra.sweep.dir="s"'),
    "override_dirname": ("hydra.sweep.dir=s/${hydra.job.override_dirname}", "hydra.sweep.subdir=."),
    "seed in dir": ("hydra.sweep.dir=s/${seed}", "hydra.sweep.subdir=x"),
    "chdir": ("hydra.sweep.dir=s", "hydra.job.chdir=true", "hydra.output_subdir=other"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name, here, monkeypatch):
    """However the folders are laid out, the page at the end holds both jobs."""
    assert run("-m", *TINY, "seed=0,1", *LAYOUTS[name], monkeypatch=monkeypatch) == 0
    (page,) = here.rglob("comparison.json")
    assert page.parent == here / "s" and [row["n"] for row in json.loads(page.read_text())["configurations"]] == [2]


@pytest.mark.slow
def test_twice_the_same_job_at_once(tmp_path):
    """seed=0,0 by joblib: one result."""
    words = ("-m", *TINY, "seed=0,0", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=s")
    result = command(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 1


def test_a_search_by_grid_composes():
    assert compose("+search=optuna", "hydra/sweeper/sampler=grid")["evaluation"]["test"] is False


def test_a_file_that_is_too_large_is_named(tmp_path):
    """Under a size limit the line names the file, and nothing is half-written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            atomic_write(tmp_path / "run.json", "x" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(tmp_path / "run.json") and files(tmp_path) == []


def test_check_of_composed_settings():
    with pytest.raises(UserError, match="objective must be a text"):
        config.check(compose("objective=5"))
