"""The command end to end, on the packaged digits: its results, its folder, and what a user can get wrong."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import wandb_files
from conftest import CPU, METHODS, REPOSITORY, TINY, command, isolate, settings, summary_of

from ssl_mnist import cli, compose, load_encoder
from ssl_mnist.build import build, make_evaluation
from ssl_mnist.data import packaged, packaged_5k
from ssl_mnist.encoders import Pixels
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.protocol import applicable
from ssl_mnist.pipeline import probe, run
from ssl_mnist.training.loop import Diverged

PROBES = ("experiment=smoke", "evaluation.cache=false")  # the probes and the data of the fixture `sweep`
TRAINED = (*TINY, "pretrain.epochs=1")


def scores_of(encoder, folder):
    words = settings(*PROBES)
    dataset = build(words, CPU).dataset
    return probe(encoder.eval(), applicable(make_evaluation(words)[0], encoder, CPU), dataset, words, folder).scores


@pytest.fixture(scope="module")
def floors(tmp_path_factory):
    """Scores of raw pixels and of an untrained encoder, by the same probes on the same split."""
    built = build(settings(*PROBES), CPU)
    encoders = {"pixels": Pixels(built.spec), "untrained": built.encoder}
    return {name: scores_of(encoder, tmp_path_factory.mktemp(name)) for name, encoder in encoders.items()}


@pytest.mark.slow
@pytest.mark.parametrize("index,method", enumerate(METHODS))
def test_method_beats_raw_pixels_and_the_untrained_encoder(index, method, sweep, floors):
    summary = summary_of(sweep[index])
    assert summary["choices/method"] == method and summary["data/source"] == "packaged-5k"
    for split in ("val", "test"):
        for floor in floors.values():
            assert summary[f"{split}/linear_accuracy"] > floor[f"{split}/linear_accuracy"]
        assert summary[f"{split}/linear_map_accuracy"] > floors["untrained"][f"{split}/linear_map_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("index,method", enumerate(METHODS))
def test_folder_holds_what_the_readme_says(index, method, sweep):
    folder = sweep[index]
    assert method in folder.name
    names = {path.name for path in folder.iterdir()} - {"run.lock"}
    written = {"run.json", "encoder.pt", "metrics.jsonl", "predictions.json", "report.html", "representations.npz", "summary.json"}
    assert names == written | {"features", "figures", "probes", "wandb"}
    figures = {path.stem for path in (folder / "figures").iterdir()}
    common = {"loss", "learning_rate", "class_distribution", "augmented_views", "per_class_accuracy", "confusion_matrix", "pca", "tsne"}
    common |= {"most_confused", "furthest_from_class", "nearest_neighbours"}
    own = {"autoencoder": {"reconstructions"}, "rotation": {"rotation_predictions", "pretext_metrics"}, "simclr": {"pretext_metrics"}}
    assert figures >= common | own.get(method, set())
    summary = summary_of(folder)
    for key in ("test/knn_accuracy", "pretrain/loss", "pretrain/seconds", "pretrain/images_per_second", "model/parameters", "seed"):
        assert isinstance(summary[key], float | int), key
    assert len(summary["test/per_class_accuracy"]) == 10
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == summary["pretrain/steps"] == 248
    assert rows[-1]["pretrain/loss"] < rows[0]["pretrain/loss"]
    made_from = json.loads((folder / "run.json").read_text())
    assert made_from["identity"] == summary["identity"] and made_from["settings"]["seed"] == summary["seed"]
    assert made_from["choices"]["method"] == method and made_from["sweep"] == "all"


@pytest.mark.slow
def test_saved_encoder_is_the_one_that_was_probed(sweep, tmp_path):
    """Loaded and probed again, it gives the summary's scores."""
    summary = summary_of(sweep[-1])
    again = scores_of(load_encoder(sweep[-1]), tmp_path)
    assert again["test/knn_accuracy"] == pytest.approx(summary["test/knn_accuracy"], abs=0.003)
    assert again["test/linear_accuracy"] == pytest.approx(summary["test/linear_accuracy"], abs=0.003)


@pytest.mark.slow
def test_one_process_leaves_separate_wandb_runs(sweep):
    """Each holds its own metrics, figures, config and encoder, and ended well; all share the sweep's group."""
    saved = [wandb_files.read(folder) for folder in sweep]
    assert len({one.run.run_id for one in saved}) == len(METHODS)
    assert {one.run.run_group for one in saved} == {sweep[0].parent.name}
    for folder, method, one in zip(sweep, METHODS, saved, strict=True):
        summary = summary_of(folder)
        assert one.exit_code == 0
        assert one.run.job_type == method and one.run.display_name == f"{method}/s0"
        assert {f"method:{method}", "encoder:conv", "data:mnist_5k", "optimizer:adamw"} <= set(one.run.tags)
        assert one.config["choices"]["method"] == method and one.config["pretrain"]["epochs"] == 8
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        logged = [row for row in one.history if "pretrain/loss" in row]
        assert [row["pretrain/loss"] for row in logged] == [row["pretrain/loss"] for row in rows]
        images = {key.removeprefix("figures/") for row in one.history for key in row if key.startswith("figures/")}
        assert images >= {path.stem for path in (folder / "figures").iterdir()}
        assert one.summary["test/linear_accuracy"] == summary["test/linear_accuracy"]
        assert ("encoder", ["encoder.pt"]) in one.artifacts


@pytest.mark.slow
def test_same_seed_same_run_and_labels_do_not_reach_pretraining(tmp_path, monkeypatch):
    """Two runs agree to the bit, one of another seed does not. With the labels shuffled the encoder is still the same, and only the
    probes suffer."""
    first, second = (run(compose(*TRAINED), tmp_path / name) for name in "ab")
    run(compose(*TRAINED, "seed=1"), tmp_path / "other")
    assert not torch.equal(*(load_encoder(tmp_path / name).layers[0][0].weight for name in ("a", "other")))
    scores = [name for name in first if name.startswith(("val/", "test/"))]
    assert len(scores) >= 6 and {name: first[name] for name in scores} == {name: second[name] for name in scores}

    original = packaged_5k

    @functools.wraps(original)
    def shuffled(**arguments):
        data = original(**arguments)
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
        train = type(data.train)(data.train.images, data.train.labels[order])
        return type(data)(data.name, data.spec, train, data.val, data.read_test, "f" * 16)

    monkeypatch.setattr("ssl_mnist.data.packaged_5k", shuffled)
    third = run(compose(*TRAINED), tmp_path / "c")
    encoders = [load_encoder(tmp_path / name).state_dict() for name in "abc"]
    for other in encoders[1:]:
        assert all(torch.equal(encoders[0][name], other[name]) for name in other)
    assert third["test/linear_accuracy"] < first["test/linear_accuracy"] - 0.2


def test_an_mlp_without_training(tmp_path):
    """pretrain.epochs=0 scores the untrained encoder; an encoder without a map has no map score."""
    summary = run(compose(*TINY, "encoder=mlp", "+evaluation/probe=linear_map"), tmp_path / "run")
    assert summary["pretrain/steps"] == 0 and "test/linear_map_accuracy" not in summary
    assert 0.5 < summary["test/linear_accuracy"] < 1


def test_test_is_read_only_where_it_is_wanted(tmp_path, monkeypatch):
    """evaluation.test=false: no score on test, and figures of val."""

    def never(*arguments, **named):
        data = packaged_5k(*arguments, **named)
        return type(data)(data.name, data.spec, data.train, data.val, lambda: pytest.fail("test was read"), data.fingerprint)

    monkeypatch.setattr("ssl_mnist.data.packaged_5k", functools.wraps(packaged_5k)(never))
    summary = run(compose(*TINY, "evaluation.test=false"), tmp_path / "run")
    assert "val/linear_accuracy" in summary and not any(key.startswith("test/") for key in summary)
    assert {"confusion_matrix", "pca"} <= {path.stem for path in (tmp_path / "run" / "figures").iterdir()}


def test_harmful_augmentation_warns_once_by_name(tmp_path, caplog):
    run(compose(*TINY, "augmentation=crop_flip_jitter"), tmp_path / "run")
    warnings = [record.getMessage() for record in caplog.records if "changes what the labels" in record.getMessage()]
    assert len(warnings) == 1 and "augmentation.flip" in warnings[0] and "mnist_5k" in warnings[0]


def main(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Status and last words of `python -m ssl_mnist <arguments>`, in this process."""
    monkeypatch.setattr(sys, "argv", ["ssl_mnist", *arguments])
    monkeypatch.setattr(cli, "keep_going", lambda: None)  # the console is pytest's
    status = 0
    try:
        cli.main()
    except SystemExit as error:
        status = 1 if isinstance(error.code, str) else int(error.code or 0)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    return status, capsys.readouterr().err


BAD = {
    "method=simclrr": "method=simclrr is no option; method is one of autoencoder, pca, raw_pixels, rotation, simclr, supervised, untrained",
    "experiment=[smoke,nope]": "experiment=nope is no option; experiment is one of autoencoder_best, best, ",
    "methd=simclr": "there is no setting methd; did you mean method?",
    "pretrain.epoch=1": "there is no setting pretrain.epoch; did you mean pretrain.epochs?",
    "optimizer.momentum=0.5": "optimizer.momentum here; it comes with optimizer=",
    "augmentation.stroke.q=1": "there is no setting augmentation.stroke.q",
    "optimizer.lr=abc": "optimizer.lr must be a number, got 'abc'",
    "optimizer.lr=-1": "optimizer.lr must be above 0, got -1",
    "optimizer.lr=nan": "optimizer.lr must be above 0, got nan",
    "pretrain.epochs=-1": "pretrain.epochs must be at least 0, got -1",
    "pretrain.epochs=1.5": "pretrain.epochs must be a whole number like 10, got 1.5",
    "pretrain.batch_size=0": "pretrain.batch_size must be at least 2, got 0",
    "pretrain.batch_size=4001": "pretrain.batch_size must be at most the 4,000 training images, got 4,001",
    "seed=x": "seed must be a whole number like 0, got 'x'",
    "seed=1.5": "seed must be a whole number like 0, got 1.5",
    "+device.new=nan": "device is a plain value like auto, and holds no settings such as device.new",
    "evaluation.few_labels.num_labels=[15]": "must be multiples of 10 (the classes), at least 10 and at most 4,000, got 15",
    "evaluation.few_labels.num_labels=[many]": "evaluation.few_labels.num_labels must be a list of whole numbers, got ['many']",
    "evaluation.few_labels.num_labels=[4010]": "at least 10 and at most 4,000, got 4010",
    "evaluation.few_labels.num_labels=[0]": "evaluation.few_labels: num_labels must be a list of whole numbers above 0, got [0]",
    "evaluation.few_labels.num_draws=0": "evaluation.few_labels: num_draws must be in 1..1,000, got 0",
    "evaluation.linear.l2=[]": "evaluation.linear: l2 must be a list of numbers above 0, got []",
    "evaluation.knn.k=0": "evaluation.knn: k must be in 1..1,000,000, got 0",
    "evaluation.knn.temperature=0": "evaluation.knn: temperature must be above 0 and finite, got 0",
    "evaluation.linear_map.cells=0": "evaluation.linear_map: cells must be in 1..28, got 0",
    "evaluation.tta=5": "evaluation.tta must be at most 4, got 5",
    "encoder.widths=3": "encoder.widths must be a list of whole numbers, got 3",
    "encoder.num_maps=5": "encoder.num_maps must be in 1..4, the number of layers, got 5",
    "encoder=conv_deep encoder.separable=4": "encoder.separable must be in 0..3, the number of blocks, got 4",
    "encoder.cells=0": "encoder.cells must be in 1..4, the size of the feature map, got 0",
    "encoder.strides=[2,2,2,0]": "encoder.widths and encoder.strides must be 1 or more, got [16, 32, 64, 128] and [2, 2, 2, 0]",
    "optimizer.betas=[a,b]": "optimizer.betas must be a list of 2 numbers, got ['a', 'b']",
    "~device": "device cannot be removed",
    "~evaluation.knn.k": "evaluation.knn.k is missing; it cannot be removed",
    "encoder.widths=[3]": "encoder.widths and encoder.strides must be equally long",
    "method.temperature=0": "method.temperature must be at least 1e-8",
    "augmentation.stroke.p=2": "augmentation.stroke: an augmentation's p must be in [0, 1], got 2",
    "augmentation.affine.scale=[2.0,1.0]": "scale must be [low, high]",
    "health.num_images=0": "health.num_images must be at least 50, got 0",
    "health.num_images=-1": "health.num_images must be at least 50, got -1",
    "health=null": "health holds settings of its own, such as health.every_epochs, and cannot be None",
    "pretrain.keep=best": "pretrain.keep must be one of last, best_knn, best_rankme, got best",
    "pretrain.keep=best_knn health.every_epochs=0": "pretrain.keep=best_knn goes by what health measures; set health.every_epochs above 0",
    "device=tpu": "device must be one of auto, cpu, cuda, mps, got tpu",
    "precision=16": "precision must be one of auto, 32, bf16-mixed, got 16",
    "tracking.mode=on": "tracking.mode must be one of auto, online, offline, disabled",
    "objective=test/linear_accuracy": "objective must be a val score, got test/linear_accuracy",
    "objective=val/linear_acuracy": "objective must be one of val/linear_accuracy, val/linear_map_accuracy, val/knn_accuracy, val/kmeans",
    "hydra.run.dir=/proc/nope": "cannot use /proc/nope",
    "nonsense": "'nonsense' is neither group=option nor key=value",
}  # fmt: skip


@pytest.mark.parametrize("argument", BAD)
def test_bad_input_ends_in_one_line_and_leaves_nothing(argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, "data=mnist_5k", *argument.split())
    assert status == 1
    (line,) = text.strip().splitlines()
    assert line.startswith("ssl_mnist: ") and BAD[argument] in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not (tmp_path / "outputs").exists()


BAD_SWEEPS = {
    "methd=simclr,rotation": "there is no setting methd; did you mean method?",
    "search=optuna": "search is not chosen by default; add it, as in +search=optuna",
    "hydra/launcher=nope": "hydra/launcher=nope is not installed; pip install -e '.[sweep]'",
    "hydra.sweep.dir=/proc/nope": "cannot use /proc/nope",
    "hydra.sweep.subdir=same": "hydra.sweep.dir and hydra.sweep.subdir give several jobs the folder ",
    "pretrain.epochs=range(0,0)": "the sweep has no job: one of its lists, ranges or globs is empty",
}


@pytest.mark.filterwarnings("error:Callback")
@pytest.mark.parametrize("argument", BAD_SWEEPS)
def test_a_bad_sweep_ends_in_one_line_and_leaves_nothing(argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, "-m", "seed=0,1", *TINY, argument)
    (line,) = text.strip().splitlines()
    assert status == 1 and line.startswith(f"ssl_mnist: {BAD_SWEEPS[argument]}")
    assert not (tmp_path / "outputs").exists()


def test_a_run_that_is_done_is_not_made_again(tmp_path, capsys, monkeypatch):
    """The same settings in the same folder: its summary, no file touched. Other settings there are refused, saying what differs, unless
    they change no score."""
    first = run(compose(*TINY), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != "run.lock"}
    assert run(compose(*TINY), tmp_path / "run") == first
    assert run(compose(*TINY, "evaluation.num_points=60"), tmp_path / "run") == first
    assert capsys.readouterr().out.count("done    already in ") == 2
    with pytest.raises(UserError, match=r"run holds another run \(seed 0 -> 1\); choose another hydra\.run\.dir"):
        run(compose(*TINY, "seed=1"), tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != "run.lock"} == before


@pytest.mark.slow
def test_a_run_that_was_cut_short_is_made_again(tmp_path):
    """Without its summary it is unfinished: what the first try left is replaced."""
    first = run(compose(*TINY), tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "run" / "metrics.jsonl").write_text("torn")
    (tmp_path / "run" / "error.txt").write_text("old")
    second = run(compose(*TINY), tmp_path / "run")
    assert second["test/linear_accuracy"] == first["test/linear_accuracy"] == summary_of(tmp_path / "run")["test/linear_accuracy"]
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "" and not (tmp_path / "run" / "error.txt").exists()


def test_a_users_files_are_not_written_over(tmp_path):
    (tmp_path / "encoder.pt").write_text("mine")
    with pytest.raises(UserError, match=r"encoder\.pt is there and not of a run of ssl_mnist"):
        run(compose(*TINY), tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir() if path.is_file()] == [("encoder.pt", "mine")]


@pytest.mark.slow
def test_names_and_tags_may_be_numbers_or_long(tmp_path):
    """W&B refuses both; a list of experiments makes a long tag."""
    words = ("experiment=[compare_methods,leave_one_augmentation_out,rotation_best,smoke]", *TINY[1:], "pretrain.epochs=0")
    run(compose(*words, "tracking.mode=offline", "tracking.name='5'", "tracking.tags=['1']"), tmp_path / "run")
    saved = wandb_files.read(tmp_path / "run").run
    assert saved.display_name == "5" and "1" in saved.tags and any(tag.startswith("experiment:[compare_methods") for tag in saved.tags)


def test_missing_data_can_be_forbidden(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, f"data.root={tmp_path / 'none'}", "data.fallback=error")
    assert status == 1 and str(tmp_path / "none") in text and len(text.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_a_diverging_run_keeps_its_record_and_no_result(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(
        monkeypatch, capsys, "experiment=smoke", "optimizer=sgd", "optimizer.lr=1e6", "tracking.mode=offline", "hydra.run.dir=here"
    )  # fmt: skip
    assert status == 1
    assert "the loss became nan at step" in text and "last good metrics" in text
    assert not (tmp_path / "here" / "summary.json").exists() and not (tmp_path / "here" / "encoder.pt").exists()
    assert json.loads((tmp_path / "here" / "run.json").read_text())["settings"]["optimizer"]["lr"] == 1e6
    line, _, *trace = (tmp_path / "here" / "error.txt").read_text().splitlines()
    assert "the loss became nan at step" in line and trace[0].startswith("Traceback") and Diverged.__name__ in "\n".join(trace)
    assert wandb_files.read(tmp_path / "here").exit_code == 1


@pytest.mark.slow
def test_full_error_shows_the_traceback(tmp_path):
    result = command("data=mnist_5k", "optimizer.lr=-1", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "optimizer.lr must be above 0" in result.stderr


def test_the_default_folder_names_the_method(tmp_path):
    """`python -m ssl_mnist` without hydra.run.dir, from a folder of the user's."""
    result = command("method=rotation", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (summary,) = tmp_path.glob("outputs/runs/*-rotation/summary.json")
    assert f"folder  {summary.parent.relative_to(tmp_path)}" in result.stdout
    assert not list(tmp_path.rglob(".hydra")) and "linear probe" in result.stdout


@pytest.mark.slow
def test_a_wheel_works_from_elsewhere(tmp_path):
    """Built from a copy of the tree, installed into an empty folder, run with the checkout out of sight."""
    source, site, cwd = tmp_path / "source", tmp_path / "site", tmp_path / "cwd"
    cwd.mkdir()
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in names.stdout.splitlines():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((REPOSITORY / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    env = {name: value for name, value in os.environ.items() if not name.endswith("_proxy")}  # building fetches setuptools
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True, env=env)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, env=env)
    script = [sys.executable, str(site / "bin" / "ssl-mnist")]
    env = os.environ | isolate(cwd) | {"PYTHONPATH": str(site)}
    result = subprocess.run([*script, *TINY, "hydra.run.dir=here"], cwd=cwd, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert summary_of(cwd / "here")["versions/ssl_mnist"] != "0+unknown"
    assert (cwd / "here" / "report.html").is_file()  # made with the templates, which are data of the package
    where = "import ssl_mnist; print(ssl_mnist.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(site)
    helped = subprocess.run([*script, "--help"], cwd=cwd, env=env, capture_output=True, text=True)
    assert helped.returncode == 0 and "Groups and their options" in helped.stdout


@pytest.mark.slow
def test_sweep_goes_on_after_a_failure(tmp_path):
    """The error is shown when it happens, the failed job leaves run.json and error.txt, the page shows both jobs, the status is 1."""
    result = command("-m", "optimizer.lr=-1.0,1e-3", *TINY, "hydra.sweep.dir=all", cwd=tmp_path)
    assert result.returncode == 1
    told = [line for line in result.stdout.splitlines() if line.startswith("FAILED  optimizer.lr=-1.0 ")]
    assert told and all(": optimizer.lr must be above 0, got -1.0" in line for line in told)
    (finished,) = (tmp_path / "all").glob("*/summary.json")
    assert finished.parent.name.startswith("1-")
    (failed,) = (tmp_path / "all").glob("0-*")
    assert {path.name for path in failed.iterdir()} == {"run.json", "error.txt"}
    assert json.loads((failed / "run.json").read_text())["settings"]["optimizer"]["lr"] == -1.0
    assert (failed / "error.txt").read_text().startswith("optimizer.lr must be above 0, got -1.0\n")
    assert "optimizer.lr must be above 0" in (tmp_path / "all" / "comparison.html").read_text()
    assert len(json.loads((tmp_path / "all" / "comparison.json").read_text())["configurations"]) == 1


@pytest.mark.slow
def test_a_job_that_diverges_leaves_one_record(tmp_path):
    """In the folder where it ran, with its traceback; no second folder for the same failure."""
    words = ("optimizer=sgd", "optimizer.lr=1e6,9e5", *TRAINED, "hydra.sweep.dir=all")
    result = command("-m", *words, cwd=tmp_path)
    assert result.returncode == 1
    folders = [path for path in sorted((tmp_path / "all").iterdir()) if path.is_dir() and not path.name.startswith(".")]
    assert [folder.name for folder in folders] == ["0-simclr", "1-simclr"]
    for folder in folders:
        assert "the loss became nan at step" in (folder / "error.txt").read_text().splitlines()[0]
        assert not (folder / "summary.json").exists()


def test_the_data_come_from_the_packaged_digits():
    """What the tests above rest on: 5,000 images, 500 a class."""
    images, labels = packaged._packaged()
    assert images.shape == (5000, 1, 28, 28) and labels.bincount().tolist() == [500] * 10
