"""The command end to end, on the packaged digits: its results, its folder, and what a user can get wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import wandb_files
from conftest import METHODS, REPOSITORY, command, isolate
from hydra.utils import instantiate

from ssl_mnist import compose, data, load_encoder, pipeline, run
from ssl_mnist.encoders import Encoder
from ssl_mnist.evaluate import evaluate

TINY = ("experiment=smoke", "pretrain.epochs=1", "probe.num_points=50", "probe.l2=[1.0e-3]", "tracking.mode=disabled")
FACTS = {"channels": 1, "size": 28, "mean": [0.1307], "std": [0.3081]}
CPU = torch.device("cpu")


class Pixels(Encoder):
    """The floor under every method: the image itself."""

    dim = 784

    def forward(self, images):
        return images.flatten(1)


@pytest.fixture(scope="module")
def floors():
    """Scores of raw pixels and of an untrained encoder, by the same probes on the same split."""
    probe = {key: value for key, value in compose("experiment=smoke").probe.items() if key != "num_points"}
    torch.manual_seed(0)
    encoders = {"pixels": Pixels(**FACTS), "untrained": instantiate(compose().encoder, **FACTS)}
    digits = [str(i) for i in range(10)]
    return {name: evaluate(encoder, data.packaged_5k(500, 500, CPU), digits, **probe).scores for name, encoder in encoders.items()}


@pytest.mark.parametrize("index,method", enumerate(METHODS))
def test_method_beats_raw_pixels_and_the_untrained_encoder(index, method, sweep, floors):
    summary = json.loads((sweep[index] / "summary.json").read_text())
    assert summary["choices/method"] == method and summary["data/source"] == "packaged-5k"
    for split in ("val", "test"):
        for floor in floors.values():
            assert summary[f"{split}/linear_accuracy"] > floor[f"{split}/linear_accuracy"]
        assert summary[f"{split}/linear_map_accuracy"] > floors["untrained"][f"{split}/linear_map_accuracy"]


@pytest.mark.parametrize("index,method", enumerate(METHODS))
def test_folder_holds_what_the_readme_says(index, method, sweep):
    folder = sweep[index]
    assert method in folder.name
    assert {path.name for path in folder.iterdir()} == {".hydra", "encoder.pt", "figures", "metrics.jsonl", "summary.json", "wandb"}
    figures = {path.stem for path in (folder / "figures").iterdir()}
    common = {"loss", "learning_rate", "class_distribution", "augmented_views", "per_class_accuracy", "confusion_matrix", "pca", "tsne"}
    own = {"autoencoder": {"reconstructions"}, "rotation": {"rotation_predictions", "pretext_metrics"}, "simclr": {"pretext_metrics"}}
    assert figures >= common | own.get(method, set())
    summary = json.loads((folder / "summary.json").read_text())
    for key in ("test/knn_accuracy", "pretrain/loss", "pretrain/seconds", "pretrain/images_per_second", "model/parameters", "seed"):
        assert isinstance(summary[key], float | int), key
    assert len(summary["test/per_class_accuracy"]) == 10
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == summary["pretrain/steps"] == 248
    assert rows[-1]["pretrain/loss"] < rows[0]["pretrain/loss"]


def test_saved_encoder_is_the_one_that_was_probed(sweep):
    """Loaded and probed again, it gives the summary's scores."""
    summary = json.loads((sweep[-1] / "summary.json").read_text())
    probe = {key: value for key, value in compose("experiment=smoke").probe.items() if key != "num_points"}
    again = evaluate(load_encoder(sweep[-1] / "encoder.pt"), data.packaged_5k(500, 500, CPU), [str(i) for i in range(10)], **probe)
    assert again.scores["test/knn_accuracy"] == pytest.approx(summary["test/knn_accuracy"], abs=0.003)
    assert again.scores["test/linear_accuracy"] == pytest.approx(summary["test/linear_accuracy"], abs=0.003)


def test_one_process_leaves_separate_wandb_runs(sweep):
    """Each holds its own metrics, figures, config, table and encoder, and ended well; all share the sweep's group."""
    saved = [wandb_files.read(folder) for folder in sweep]
    assert len({one.run.run_id for one in saved}) == len(METHODS)
    assert {one.run.run_group for one in saved} == {sweep[0].parent.name}
    for folder, method, one in zip(sweep, METHODS, saved, strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        assert one.exit_code == 0
        assert one.run.job_type == method and one.run.display_name == f"{method}/s0"
        assert {f"method:{method}", "encoder:conv", "data:mnist_5k", "optimizer:adamw"} <= set(one.run.tags)
        assert one.config["choices"]["method"] == method and one.config["pretrain"]["epochs"] == 8
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        logged = [row for row in one.history if "pretrain/loss" in row]
        assert [row["pretrain/loss"] for row in logged] == [row["pretrain/loss"] for row in rows]
        images = {key.removeprefix("figures/") for row in one.history for key in row if key.startswith("figures/")}
        assert images >= {path.stem for path in (folder / "figures").iterdir()}
        assert any("test/per_class" in row for row in one.history)
        assert one.summary["test/linear_accuracy"] == summary["test/linear_accuracy"]
        assert ("encoder", ["encoder.pt"]) in one.artifacts


def test_same_seed_same_run_and_labels_do_not_reach_pretraining(tmp_path, monkeypatch):
    """Two runs agree to the bit, one of another seed does not. With the labels shuffled the encoder is still the same, and only the
    probes suffer."""
    first, second = (run(compose(*TINY), tmp_path / name) for name in "ab")
    run(compose(*TINY, "seed=1"), tmp_path / "other")
    assert not torch.equal(*(load_encoder(tmp_path / name / "encoder.pt").layers[0][0].weight for name in ("a", "other")))
    scores = [name for name in first if name.startswith(("val/", "test/"))]
    assert {name: first[name] for name in scores} == {name: second[name] for name in scores}

    images, labels = data._packaged()
    monkeypatch.setattr(data, "_packaged", lambda: (images, labels))
    original = data.packaged_5k(500, 500, CPU)

    def shuffled(num_val, num_test, device):
        order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))
        train = data.Split(original.train.images, original.train.labels[order])
        return data.Dataset(original.source, train, original.val, original.read_test)

    monkeypatch.setattr(data, "packaged_5k", shuffled)
    third = run(compose(*TINY), tmp_path / "c")
    encoders = [load_encoder(tmp_path / name / "encoder.pt").state_dict() for name in "abc"]
    for other in encoders[1:]:
        assert all(torch.equal(encoders[0][name], other[name]) for name in other)
    assert third["test/linear_accuracy"] < first["test/linear_accuracy"] - 0.2


def test_an_mlp_without_training(tmp_path):
    """pretrain.epochs=0 scores the untrained encoder; an encoder without a map has no map score."""
    summary = run(compose(*TINY, "encoder=mlp", "pretrain.epochs=0"), tmp_path)
    assert summary["pretrain/steps"] == 0 and "test/linear_map_accuracy" not in summary
    assert 0.5 < summary["test/linear_accuracy"] < 1


def test_harmful_augmentation_warns_once_by_name(tmp_path, caplog):
    run(compose(*TINY, "augmentation=crop_flip_jitter", "pretrain.epochs=0"), tmp_path)
    warnings = [record.getMessage() for record in caplog.records if "changes what the labels" in record.getMessage()]
    assert len(warnings) == 1 and "augmentation.flip" in warnings[0] and "mnist_5k" in warnings[0]


def main(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Status and last words of `python -m ssl_mnist <arguments>`, in this process."""
    monkeypatch.setattr(sys, "argv", ["ssl_mnist", *arguments])
    status = 0
    try:
        pipeline.main()
    except SystemExit as error:
        status = 1 if isinstance(error.code, str) else int(error.code or 0)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    return status, capsys.readouterr().err


BAD = {
    "method=simclrr": "method=simclrr is no option; method is one of autoencoder, rotation, simclr",
    "experiment=[smoke,nope]": "experiment=nope is no option; experiment is one of autoencoder_best, best, ",
    "methd=simclr": "there is no setting methd; did you mean method?",
    "pretrain.epoch=1": "there is no setting pretrain.epoch; did you mean pretrain.epochs?",
    "optimizer.momentum=0.5": "optimizer.momentum here; it comes with optimizer=",
    "augmentation.stroke.q=1": "there is no setting augmentation.stroke.q",
    "optimizer.lr=abc": "optimizer.lr must be a number like 0.003, got 'abc'",
    "optimizer.lr=-1": "optimizer.lr must be above 0, got -1",
    "optimizer.lr=nan": "optimizer.lr must be above 0, got nan",
    "pretrain.epochs=-1": "pretrain.epochs must be at least 0, got -1",
    "pretrain.epochs=1.5": "pretrain.epochs must be a whole number like 10, got 1.5",
    "pretrain.batch_size=0": "pretrain.batch_size must be at least 2, got 0",
    "pretrain.batch_size=4001": "pretrain.batch_size must be at most the 4,000 training images, got 4,001",
    "seed=x": "seed must be a whole number like 0, got 'x'",
    "probe.few_labels=[15]": "probe.few_labels must be multiples of 10, the classes, and at most 4,000, got 15",
    "probe.few_labels=[many]": "probe.few_labels must be a list like [100, 500], got ['many']",
    "probe.few_labels=[4010]": "probe.few_labels must be multiples of 10, the classes, and at most 4,000, got 4010",
    "probe.few_labels=[0]": "probe.few_labels must be a list of whole numbers above 0, got [0]",
    "probe.l2=[]": "probe.l2 must be a list of numbers above 0, got []",
    "encoder.widths=3": "encoder.widths must be a list like [16, 32, 64, 128], got 3",
    "encoder.num_maps=5": "encoder.num_maps must be in 1..4, the number of layers, got 5",
    "encoder=conv_deep encoder.separable=4": "encoder.separable must be in 0..3, the number of blocks, got 4",
    "encoder.cells=0": "encoder.cells must be 1 or more, got 0",
    "encoder.strides=[2,2,2,0]": "encoder.widths and encoder.strides must be 1 or more, got [16, 32, 64, 128] and [2, 2, 2, 0]",
    "optimizer.betas=[a,b]": "optimizer.betas must be a list like [0.9, 0.99], got ['a', 'b']",
    "~device": "device cannot be removed",
    "~probe.knn_k": "probe.knn_k cannot be removed",
    "encoder.widths=[3]": "encoder.widths and encoder.strides must be equally long",
    "method.temperature=0": "method.temperature must be above 0, got 0",
    "augmentation.stroke.p=2": "p must be in [0, 1], got 2",
    "augmentation.affine.scale=[2.0,1.0]": "scale must be [low, high]",
    "device=tpu": "device must be one of auto, cpu, cuda, mps, got tpu",
    "precision=16": "precision must be one of auto, 32, bf16-mixed, got 16",
    "tracking.mode=on": "tracking.mode must be one of auto, online, offline, disabled",
    "objective=test/linear_accuracy": "objective must be a val score, got test/linear_accuracy",
    "objective=val/linear_acuracy": "objective must be one of val/linear_accuracy, val/linear_map_accuracy, val/knn_accuracy, val/kmeans",
    "tracking.project=a/b": "W&B refuses a setting under tracking: Invalid project name 'a/b'",
    "hydra.run.dir=/proc/nope": "cannot use /proc/nope",
    "nonsense": "'nonsense' is neither group=option nor key=value",
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_input_ends_in_one_line_and_leaves_nothing(argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, "data=mnist_5k", *argument.split())
    assert status == 1
    (line,) = text.strip().splitlines()
    assert line.startswith("ssl_mnist: ") and BAD[argument] in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list((tmp_path / "outputs" / "runs").glob("*"))


BAD_SWEEPS = {
    "methd=simclr,rotation": "there is no setting methd; did you mean method?",
    "search=optuna": "search is not chosen by default; add it, as in +search=optuna",
    "hydra/launcher=nope": "hydra/launcher=nope is not installed; pip install -e '.[sweep]'",
    "hydra.sweep.dir=/proc/nope": "cannot use /proc/nope",
}


@pytest.mark.filterwarnings("error:Callback")
@pytest.mark.parametrize("argument", BAD_SWEEPS)
def test_a_bad_sweep_ends_in_one_line_and_leaves_nothing(argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, "-m", "seed=0,1", *TINY, argument)
    (line,) = text.strip().splitlines()
    assert status == 1 and line.startswith(f"ssl_mnist: {BAD_SWEEPS[argument]}")
    sweeps = tmp_path / "outputs" / "sweeps"
    assert not sweeps.exists() or not list(sweeps.iterdir())


def test_a_folder_used_again_holds_nothing_of_the_earlier_run(tmp_path):
    """What an earlier run left would say that a later one, which diverged, is whole; one that never began takes nothing away."""
    run(compose(*TINY, "pretrain.epochs=0"), tmp_path)
    with pytest.raises(ValueError, match="Invalid project name"):
        run(compose(*TINY, "tracking.mode=offline", "tracking.project=a/b"), tmp_path)
    assert (tmp_path / "summary.json").exists() and (tmp_path / "encoder.pt").exists()
    with pytest.raises(FloatingPointError):
        run(compose(*TINY, "optimizer=sgd", "optimizer.lr=1e6"), tmp_path)
    assert not (tmp_path / "summary.json").exists() and not (tmp_path / "encoder.pt").exists()
    assert not list((tmp_path / "figures").iterdir())


def test_names_and_tags_may_be_numbers_or_long(tmp_path):
    """W&B refuses both; a list of experiments makes a long tag."""
    words = ("experiment=[compare_methods,leave_one_augmentation_out,rotation_best,smoke]", *TINY[1:], "pretrain.epochs=0")
    run(compose(*words, "tracking.mode=offline", "tracking.name=5", "tracking.tags=[1]"), tmp_path)
    saved = wandb_files.read(tmp_path).run
    assert saved.display_name == "5" and "1" in saved.tags and any(tag.startswith("experiment:[compare_methods") for tag in saved.tags)


def test_augmentation_that_does_not_fit_the_channels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, "data=mnist_5k", "augmentation=crop_flip_jitter", "augmentation.jitter.saturation=0.4")
    assert status == 1 and "augmentation.jitter needs images of 3 channels, the data has 1" in text


def test_missing_data_can_be_forbidden(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(monkeypatch, capsys, f"data.root={tmp_path / 'none'}", "data.fallback=error")
    assert status == 1 and f"MNIST is not under {tmp_path / 'none'}" in text
    assert not (tmp_path / "none").exists()


def test_a_diverging_run_keeps_its_record_and_no_result(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = main(
        monkeypatch, capsys, "experiment=smoke", "optimizer=sgd", "optimizer.lr=1e6", "tracking.mode=offline", "hydra.run.dir=here"
    )  # fmt: skip
    assert status == 1
    assert "the loss became nan at step" in text and "last good metrics" in text
    assert not (tmp_path / "here" / "summary.json").exists() and not (tmp_path / "here" / "encoder.pt").exists()
    assert wandb_files.read(tmp_path / "here").exit_code == 1


def test_full_error_shows_the_traceback(tmp_path):
    result = command("data=mnist_5k", "optimizer.lr=-1", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "optimizer.lr must be above 0" in result.stderr


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
    result = command("experiment=smoke", *TINY[1:], "hydra.run.dir=here", cwd=cwd, PYTHONPATH=str(site))
    assert result.returncode == 0, result.stderr
    assert json.loads((cwd / "here" / "summary.json").read_text())["versions/ssl_mnist"] != "0+unknown"
    script = subprocess.run(
        [sys.executable, str(site / "bin" / "ssl-mnist"), "--help"],
        cwd=cwd,
        env=os.environ | isolate(cwd) | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert script.returncode == 0 and "Groups and their options" in script.stdout


def test_sweep_goes_on_after_a_failure(tmp_path):
    """The error is shown when it happens and again at the end, the page shows both jobs, the status is 1."""
    result = command("-m", "optimizer.lr=-1.0,1e-3", *TINY, "hydra.sweep.dir=all", cwd=tmp_path)
    assert result.returncode == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("FAILED  optimizer.lr=-1.0 ")]
    assert len(lines) == 2 and all(line.endswith(": optimizer.lr must be above 0, got -1.0") for line in lines)
    assert result.stdout.index(lines[0]) < result.stdout.index("#1 :")
    (finished,) = Path(tmp_path / "all").glob("*/summary.json")
    assert finished.parent.name.startswith("1-")
    assert not list(Path(tmp_path / "all").glob("0-*"))
    page = (tmp_path / "all" / "comparison.html").read_text()
    assert "optimizer.lr must be above 0" in page and "1 run, 1 configuration<" in page
