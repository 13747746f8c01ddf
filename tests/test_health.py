"""Health: its measures against formulas, that it disturbs nothing, what it calls collapsed, and which epoch's encoder is kept."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from conftest import METHODS, SPEC, TINY, experiment, noise, settings, summary_of, without_times
from torch import nn
from torch.nn import functional as F

from ssl_mnist import UserError, compose, load_encoder, pipeline
from ssl_mnist.build import build
from ssl_mnist.data import Dataset, ImageSpec, Split
from ssl_mnist.encoders import MLP
from ssl_mnist.evaluate import health, knn
from ssl_mnist.evaluate.health import Health
from ssl_mnist.heads import mlp
from ssl_mnist.methods import Method
from ssl_mnist.pipeline import run
from ssl_mnist.training import state
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import pretrain, steps

CPU = Device.choose("cpu", "32")
ON = {"every_epochs": 1, "num_images": 2048, "num_pairs": 1024, "stop_on_collapse": False}


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


# --- the measures ----------------------------------------------------------------------------------------------------------------------


def test_effective_rank_is_equations_1_and_2():
    """Against the singular values themselves, whichever Gram matrix is the smaller; k equal ones give k."""
    for shape in ((40, 7), (7, 40)):
        embeddings = torch.randn(*shape) * torch.logspace(0, -2, shape[1])
        singular = torch.linalg.svdvals(embeddings.double())
        p = singular / singular.sum() + 1e-7
        assert health.effective_rank(embeddings) == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-5)
        assert health.effective_rank(10 * embeddings) == pytest.approx(health.effective_rank(embeddings), rel=1e-5)
    equal = torch.linalg.qr(torch.randn(30, 5))[0] @ torch.eye(5, 12)
    assert health.effective_rank(equal) == pytest.approx(5, abs=0.01)
    assert health.effective_rank(torch.zeros(4, 3)) == 0


def test_dimensions_are_those_of_the_centred_embeddings():
    """A mean, however far from 0, is no variance; 0.99 of it may lie in fewer dimensions than it has."""
    scales = torch.tensor([10.0, 10.0, 10.0, 0.1, 0.1])
    embeddings = torch.randn(500, 5) * scales + 1000
    assert health.principal_dimensions(embeddings) == 3
    assert health.principal_dimensions(torch.randn(500, 5)) == 5 and health.principal_dimensions(torch.ones(9, 5)) == 0
    assert health.variance_shares(embeddings).sum() == pytest.approx(1)


def test_alignment_and_uniformity_are_the_papers():
    """Its appendix's code, over all pairs."""
    z0, z1 = unit(30, 8), unit(30, 8, seed=1)
    assert health.alignment(z0, z1) == pytest.approx(float((z0 - z1).norm(p=2, dim=1).pow(2).mean()), rel=1e-5)
    assert health.uniformity(z0 @ z0.T) == pytest.approx(float(torch.pdist(z0, p=2).pow(2).mul(-2).exp().mean().log()), rel=1e-4)


def test_deviation_is_between_a_point_and_the_whole_sphere():
    assert health.deviation(unit(2000, 64)) == pytest.approx(1, abs=0.02)
    assert health.deviation(unit(1, 64).expand(9, -1)) == pytest.approx(0, abs=1e-6)


def test_views_that_agree_are_found_and_those_of_a_collapse_are_not():
    z, other = unit(50, 16), unit(50, 16, seed=1)
    same, constant = (z, z), (unit(1, 16).expand(50, -1),) * 2
    assert health.view_retrieval(*same) == health.views_told_apart(*same) == 1
    assert health.view_retrieval(*constant) == pytest.approx(1 / 50) and health.views_told_apart(*constant) == 0.5
    cosine = z @ other.T
    pairs = [float(cosine[i, i] > cosine[i, j]) for i in range(50) for j in range(50) if i != j]
    assert health.views_told_apart(z, other) == pytest.approx(sum(pairs) / len(pairs))


def test_knn_leaves_each_image_out():
    """The probe's k-NN, with a bank of all the others."""
    z, labels = unit(40, 3), torch.arange(40) % 4
    expected = []
    for i in range(40):
        others = torch.arange(40) != i
        expected.append(knn.predict(z[others], labels[others], z[i : i + 1], 4, health.K, health.TEMPERATURE)[0] == labels[i])
    assert health.knn_accuracy(z, labels) == pytest.approx(sum(expected) / 40)


# --- what it leaves alone ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_training_is_the_same_to_the_bit_with_and_without(method):
    plain, watched = (experiment(f"method={method}", "pretrain.epochs=2", "pretrain.log_every=2") for _ in range(2))
    rows = without_times(pretrain(plain))
    watch, found = Health(watched, **ON), []
    modes = {name: part.training for name, part in watched.method.train().named_modules()}
    for row in pretrain(watched):
        before, drawn = {k: v.clone() for k, v in watched.method.state_dict().items()}, torch.get_rng_state()
        numbers = watch.measure(round(row["epoch"]))
        assert all(torch.equal(value, before[k]) for k, value in watched.method.state_dict().items())
        assert torch.equal(drawn, torch.get_rng_state())
        assert {name: part.training for name, part in watched.method.named_modules()} == modes
        assert all(math.isfinite(value) for value in numbers.values()) and numbers == watch.measure(round(row["epoch"]))
        found.append(row)
    assert without_times(found) == rows
    assert all(torch.equal(value, plain.method.state_dict()[name]) for name, value in watched.method.state_dict().items())


def test_parts_that_a_method_keeps_in_eval_mode_stay_in_it():
    part = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    part.train()[1].eval()
    with health.frozen(part):
        assert not part.training and not part[0].training and not torch.is_grad_enabled()
    assert part.training and part[0].training and not part[1].training and torch.is_grad_enabled()


def test_what_is_measured_is_what_a_method_has_evaluated():
    """A teacher's embeddings, on images of val, the same ones each time; without labels there is no k-NN."""
    built = experiment("pretrain.epochs=1")
    other = experiment("pretrain.epochs=1", "seed=5").encoder
    before = Health(built, **ON).measure(1)
    built.method.representation = lambda: other
    after = Health(built, **ON).measure(1)
    built.method.encoder = other
    assert before["health/std"] != after["health/std"] == Health(built, **ON).measure(1)["health/std"]
    assert "health/knn_accuracy" in after
    built.dataset = dataclasses.replace(built.dataset, val=Split(built.dataset.val.images, None))
    assert "health/knn_accuracy" not in Health(built, **ON).measure(1)


def test_it_is_due_at_ends_of_epochs_and_at_the_last_one():
    def due(every, dataset=None):
        built = experiment("pretrain.epochs=5", dataset=dataset)
        watch = Health(built, **ON | {"every_epochs": every})
        per_epoch = built.num_steps // 5
        ends = [{"step": n * per_epoch, "epoch": float(n), "pretrain/epoch_loss": 1.0} for n in range(1, 6)]
        assert not watch.is_due({"step": 2, "epoch": 0.5})
        return [round(row["epoch"]) for row in ends if watch.is_due(row)]

    assert due(1) == [1, 2, 3, 4, 5] and due(2) == [2, 4, 5] and due(0) == []
    few = Split(noise().val.images[:10], noise().val.labels[:10])
    assert due(1, dataclasses.replace(noise(), val=few)) == []


# --- the verdict ------------------------------------------------------------------------------------------------------------------------

GOOD = {"health/effective_rank": 40, "health/dimensions": 100, "health/std": 0.2, "health/views_told_apart": 0.95,
        "health/projection_dimensions": 9, "health/projection_std": 0.9}  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "widths", "words"),
    [
        ({}, (256, 128), "healthy"),
        ({"health/dimensions": 3}, (256, 128), "collapsed: 3 of 256 dimensions carry 99 % of the variance"),
        ({"health/dimensions": 3}, (3, 128), "healthy"),  # there are no more
        ({"health/projection_dimensions": 1}, (256, 1), "collapsed: 1 of 1 dimension of the projection carries 99 % of the variance"),
        ({"health/projection_dimensions": 1}, (256, 0), "healthy"),  # there is no projection
        ({"health/effective_rank": 12.34}, (256, 128), "collapsed: the effective rank of 256 dimensions is 12.3"),
        ({"health/effective_rank": 12.34}, (64, 128), "healthy"),
        ({"health/std": 0.001}, (256, 128), "collapsed: all images have nearly the same embedding"),
        ({"health/dimensions": 0}, (256, 128), "collapsed: all images have nearly the same embedding"),
        ({"health/projection_std": 0.001}, (256, 128), "collapsed: all images have nearly the same projection"),
        ({"health/dimensions": math.nan, "health/std": math.nan}, (256, 128), "collapsed: some embeddings are not finite"),
        ({"health/views_told_apart": 0.5}, (256, 128), "one view in two is not told from another image"),
        ({"health/views_told_apart": 0.8, "health/dimensions": 2}, (256, 128),
         "collapsed: 2 of 256 dimensions carry 99 % of the variance; one view in five is not told from another image"),
    ],
)  # fmt: skip
def test_verdicts_in_words(numbers, widths, words):
    found = health.verdict(GOOD | numbers, *widths, compares_views=True)
    assert found.words == words and found.collapsed == words.startswith("collapsed")


def test_a_method_that_compares_no_views_is_not_judged_by_them():
    assert health.verdict(GOOD | {"health/views_told_apart": 0.5}, 256, 0, compares_views=False).words == "healthy"


class SimSiam(Method):
    """Chen and He 2021, without what keeps it from collapsing: no gradient is stopped."""

    num_views = 2
    projects = True

    def __init__(self, encoder):
        super().__init__(encoder)
        self.projector, self.predictor = mlp([encoder.dim, 128, 128]), mlp([128, 32, 128])

    def forward(self, images, views):
        z0, z1 = (self.projector(self.encoder(view)) for view in views)
        return {"z0": z0, "z1": z1, "p0": self.predictor(z0), "p1": self.predictor(z1)}

    def loss(self, outputs):
        both = [F.cosine_similarity(outputs[f"p{i}"], outputs[f"z{1 - i}"]).mean() for i in (0, 1)]
        return {"loss": -sum(both) / 2}

    def project(self, embeddings):
        return self.projector(embeddings)


def judged(*words, method=None):
    """The verdicts after each epoch of a short training on the packaged digits."""
    built = build(settings("experiment=smoke", "evaluation=quick", *words), CPU)
    if method:
        torch.manual_seed(0)
        built.method = method(built.encoder)
        built.optimizer = torch.optim.AdamW(built.method.parameters(), lr=3e-3)
        built.schedule = torch.optim.lr_scheduler.LambdaLR(built.optimizer, lambda step: 1.0)
    watch = Health(built, **ON)
    return [watch.verdict(watch.measure(round(row["epoch"]))) for row in pretrain(built) if watch.is_due(row)]


@pytest.mark.parametrize(
    "words",
    [
        ("method.temperature=100", "pretrain.epochs=1"),
        ("method=autoencoder", "method.code_dim=1", "pretrain.epochs=1"),
        ("method=rotation", "optimizer.lr=10", "pretrain.epochs=1"),
    ],
    ids=lambda words: words[0] + " " + words[1],
)
def test_constructed_collapses_are_called_so(words):
    assert judged(*words)[-1].collapsed


def test_simsiam_without_stop_gradient_collapses():
    assert judged("pretrain.epochs=1", method=SimSiam)[-1].collapsed


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_default_recipes_are_not_called_collapsed(method):
    """After no epoch, and they are healthy in the end."""
    found = judged(f"method={method}", "pretrain.epochs=4")
    assert not any(each.collapsed for each in found) and found[-1].words == "healthy"


# --- a run ------------------------------------------------------------------------------------------------------------------------------

SHORT = (*(word for word in TINY if "epochs" not in word), "pretrain.batch_size=40", "method=autoencoder")  # 3 steps an epoch


@pytest.fixture
def quick(monkeypatch):
    """Runs on noise, without figures."""

    def few(num_val: int, num_test: int, spec: ImageSpec, device: torch.device) -> Dataset:
        return noise()

    monkeypatch.setattr("ssl_mnist.data.packaged_5k", few)
    monkeypatch.setattr(pipeline, "draw", lambda *_: None)
    monkeypatch.setattr(health, "COLLAPSED_RANK", 0)  # a few steps on noise leave a low one


def scripted(monkeypatch, *values):
    """Have the k-NN's accuracy after each epoch be what is said."""
    measure = Health.measure
    said = lambda self, epoch: measure(self, epoch) | {"health/knn_accuracy": values[epoch - 1]}  # noqa: E731
    monkeypatch.setattr(Health, "measure", said)


def weights(folder):
    return load_encoder(folder).state_dict()


def test_the_summary_and_the_rows_hold_it(quick, tmp_path, capsys):
    summary = run(compose(*SHORT, "method.code_dim=1", "pretrain.epochs=2", "pretrain.log_every=1"), tmp_path / "run")
    words = "collapsed: 1 of 1 dimension of the projection carries 99 % of the variance"
    assert summary["health/verdict"] == words and f"pretraining: {words}" in summary["warnings"] and summary["pretrain/kept_epoch"] == 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ["health/std" in row for row in rows] == [False, False, True, False, False, True]
    assert all(summary[key] == value for key, value in rows[-1].items() if key.startswith("health/"))
    said = capsys.readouterr().out
    assert f"health  {words}" in said and "labels are used for looking alone" in said


def test_a_collapse_ends_a_run_that_is_to_stop_then(quick, tmp_path):
    """With one line, after the first epoch; the same run goes on where it need not stop."""
    words = (*SHORT, "method.code_dim=1", "pretrain.epochs=2", "checkpoint.every_seconds=0")
    with pytest.raises(UserError, match=r"collapsed: 1 of 1 .* \(epoch 1\); with health.stop_on_collapse=false the run goes on"):
        run(compose(*words, "health.stop_on_collapse=true"), tmp_path)
    assert (tmp_path / "error.txt").exists() and not (tmp_path / "summary.json").exists()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    assert run(compose(*words), tmp_path)["pretrain/steps"] == 6


def test_what_is_no_collapse_ends_no_run(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(health, "TOLD_APART", 1.1)
    summary = run(compose(*SHORT, "method=simclr", "pretrain.epochs=1", "health.stop_on_collapse=true"), tmp_path)
    assert "is not told from another image" in summary["health/verdict"] and "collapsed" not in summary["health/verdict"]


def test_the_best_epoch_is_kept_and_the_later_one_of_two_equal_ones(quick, tmp_path, monkeypatch, capsys):
    seen, experiments, measure = [], [], Health.measure

    def spying(self, epoch):
        seen.append({name: value.clone() for name, value in self.experiment.method.state_dict().items()})
        experiments.append(self.experiment)
        return measure(self, epoch)

    monkeypatch.setattr(Health, "measure", spying)
    scripted(monkeypatch, 0.5, 0.7, 0.7, 0.6)
    words = (*SHORT, "pretrain.epochs=4", "pretrain.keep=best_knn")
    summary = run(compose(*words), tmp_path / "best")
    assert summary["pretrain/kept_epoch"] == 3 and summary["health/knn_accuracy"] == 0.7
    assert all(torch.equal(value, seen[2][f"encoder.{name}"]) for name, value in weights(tmp_path / "best").items())
    assert all(torch.equal(value, seen[2][name]) for name, value in experiments[0].method.state_dict().items())  # its heads too
    assert "kept    the encoder of epoch 3 of 4 (pretrain.keep=best_knn)" in capsys.readouterr().out
    last = run(compose(*words, "pretrain.keep=last"), tmp_path / "last")
    assert last["pretrain/kept_epoch"] == 4 and last["health/knn_accuracy"] == 0.6 and last["identity"] != summary["identity"]
    assert all(torch.equal(value, seen[7][f"encoder.{name}"]) for name, value in weights(tmp_path / "last").items())


@pytest.mark.parametrize("at", [3, 5, 9])
def test_the_best_epoch_survives_a_kill(at, quick, tmp_path, monkeypatch):
    """Killed after the row of a step, with or without a checkpoint of it, the run comes to the same encoder and summary."""
    scripted(monkeypatch, 0.7, 0.5, 0.6)  # the epochs end after steps 3, 6 and 9
    words = compose(*SHORT, "pretrain.epochs=3", "pretrain.keep=best_knn", "pretrain.log_every=1", "checkpoint.every_seconds=0")
    whole = run(words, tmp_path / "whole")
    assert whole["pretrain/kept_epoch"] == 1
    log = pipeline.record.Record.log

    def killing(self, metrics):
        log(self, metrics)
        if metrics["step"] == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(pipeline.record.Record, "log", killing)
        with pytest.raises(KeyboardInterrupt):
            run(words, tmp_path / "killed")
    again = run(words, tmp_path / "killed")
    assert without_times([again]) == without_times([whole]) == without_times([summary_of(tmp_path / "killed")])
    assert (tmp_path / "killed" / "encoder.pt").read_bytes() == (tmp_path / "whole" / "encoder.pt").read_bytes()


def test_without_labels_the_best_epoch_is_that_of_the_highest_rank():
    """And to ask for the k-NN's is one line."""
    blind = noise()
    spec = dataclasses.replace(blind.spec, classes=None)
    without = dataclasses.replace(blind, spec=spec, train=Split(blind.train.images, None), val=Split(blind.val.images, None))
    assert experiment("pretrain.keep=best_rankme", dataset=without).epochs
    with pytest.raises(UserError, match=r"pretrain.keep=best_knn goes by labels of val.*best_rankme needs none"):
        experiment("pretrain.keep=best_knn", dataset=without)


def test_rank_needs_no_labels_and_what_is_not_finite_is_not_kept():
    encoder = MLP([4], SPEC)
    best = health.better("best_rankme", None, {"health/effective_rank": 3.0}, 1, encoder)
    assert best["epoch"] == 1 and best["value"] == 3.0
    assert health.better("best_rankme", best, {"health/effective_rank": 2.0}, 2, encoder) is best
    assert health.better("best_rankme", best, {"health/effective_rank": math.nan}, 2, encoder) is best
    assert health.better("best_rankme", None, {"health/effective_rank": math.nan}, 2, encoder) is None
    assert health.better("last", None, {"health/effective_rank": 3.0}, 1, encoder) is None


def test_a_checkpoint_holds_the_best_epoch(tmp_path):
    built, progress = experiment("pretrain.epochs=1"), state.Progress()
    next(steps(built, progress))
    for group in built.optimizer.param_groups:
        group["lr"] = np.float64(group["lr"])  # as lightly's schedule leaves it with some versions of torch
    progress.best = health.better("best_knn", None, {"health/knn_accuracy": 0.5}, 1, built.method)
    checkpoints = state.Checkpoints(tmp_path / "c", "id", 60)
    checkpoints.save(built, progress, metrics=b"", seconds=0.0)
    content = checkpoints.newest(b"")
    assert all(type(group["lr"]) is float for group in content["optimizer"]["param_groups"])  # NumPy's is refused with weights_only
    again = state.restore(content, experiment("pretrain.epochs=1"))
    assert again.best["value"] == 0.5 and all(torch.equal(again.best["method"][k], v) for k, v in built.method.state_dict().items())
