"""Probes with few labels: the same draws for all, no label outside them, and what each way of using them is made of."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import CPU, experiment, noise, settings
from sklearn.semi_supervised import LabelSpreading as SklearnLabelSpreading
from test_evaluate import blobs

from ssl_mnist import UserError, plots
from ssl_mnist.augment import Augmentation
from ssl_mnist.build import make_evaluation
from ssl_mnist.data import Split
from ssl_mnist.evaluate.base import Labelled
from ssl_mnist.evaluate.finetune import Classifier, layer_groups, lr_factor
from ssl_mnist.evaluate.fixmatch import Consistency
from ssl_mnist.evaluate.label_spreading import balanced, normalised_graph, spread
from ssl_mnist.evaluate.protocol import applicable
from ssl_mnist.plots import Point, label_curves

SHORT = [f"evaluation.{name}.{setting}" for name in ("finetune", "scratch") for setting in ("steps=6", "batch_size=8", "epochs=0")]
WAYS = ("few_labels", "few_labels_knn", "label_spreading", "finetune", "scratch", "fixmatch")


def probe(name, *overrides):
    short = [override for override in SHORT if override.startswith(f"evaluation.{name}.")]
    short += ["evaluation.fixmatch.steps=4", "evaluation.fixmatch.batch_size=4"] if name == "fixmatch" else []
    short += [f"evaluation.{name}.head_steps=3"] if name in ("finetune", "fixmatch") else []
    words = settings(f"+evaluation/probe={name}" if name != "few_labels" else "evaluation=standard", *short, *overrides)
    built = experiment("encoder.widths=[4,8]", "encoder.strides=[2,2]", "encoder.num_maps=1")
    found = applicable({name: make_evaluation(words)[0][name]}, built.encoder.requires_grad_(False).eval(), CPU)[name]
    return found, built.encoder


def parts(encoder, shuffled_outside=None):
    """Labelled noise of ten classes; of train, labels outside some positions may be shuffled."""
    data = noise(200)
    train = data.train
    if shuffled_outside is not None:
        labels = train.labels.roll(1)
        labels[shuffled_outside] = train.labels[shuffled_outside]
        train = Split(train.images, labels)
    with torch.no_grad():
        features = [{"embedding": encoder(split.images.float() / 255), "images": split.images} for split in (train, data.val)]
    return [Labelled(each, split.labels, 10) for each, split in zip(features, (train, data.val), strict=True)]


@pytest.mark.parametrize("name", WAYS)
def test_no_other_label_is_seen(name, monkeypatch):
    """With the labels of all images outside the draw changed, and of val, every prediction stays the same; nor is the encoder changed."""
    found, encoder = probe(name, f"evaluation.{name}.num_labels=[50]", f"evaluation.{name}.num_draws=1")
    before = copy.deepcopy(encoder.state_dict())
    train, val = parts(encoder)
    drawn = found._drawn(train, 50, 0)
    first = found.fit(train, val).predict(val.features)
    monkeypatch.setattr(type(found), "_drawn", lambda self, train, num, seed: drawn)
    others, val = parts(encoder, drawn)
    second = found.fit(others, Labelled(val.features, val.labels.roll(1), 10)).predict(val.features)
    assert first.keys() == second.keys() == found.titles().keys()
    assert all(torch.equal(first[score], second[score]) for score in first)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", WAYS)
def test_what_was_fitted_is_all_that_predicts(name):
    """The tensors alone, in a probe made anew, give the same classes: they can be kept in a file."""
    words = (name, f"evaluation.{name}.num_labels=[20,50]", f"evaluation.{name}.num_draws=2")
    found, encoder = probe(*words)
    train, val = parts(encoder)
    fitted = found.fit(train, val)
    other, _ = probe(*words)
    again = other.predict(fitted.tensors, val.features)
    assert all(torch.equal(again[score], fitted.val[score]) and again[score].shape == (2, len(val.labels)) for score in again)


def test_one_label_a_class_is_enough():
    for name in WAYS:
        found, _ = probe(name, f"evaluation.{name}.num_labels=[10]")
        found.check([20] * 10, [4] * 10)
        with pytest.raises(UserError, match="at least 10 and at most 200"):
            probe(name, f"evaluation.{name}.num_labels=[210]")[0].check([20] * 10, [4] * 10)


def test_all_labels_are_one_more_budget():
    found, encoder = probe(
        "scratch", "evaluation.scratch.num_labels=[20]", "evaluation.scratch.all_labels=true", "evaluation.scratch.num_draws=2"
    )
    train, val = parts(encoder)
    fitted = found.fit(train, val)
    assert {score: len(classes) for score, classes in fitted.val.items()} == {"scratch_20_labels": 2, "scratch_all_labels": 1}


# --- label spreading --------------------------------------------------------------------------------------------------------------------


def test_label_spreading_is_sklearns():
    x, y = blobs(200, 2.5, 0)
    graph = normalised_graph(x, 7)
    adjacency = (graph.toarray() > 0).astype(float)
    seeds = np.zeros((200, 4))
    known = np.arange(12)
    seeds[known, y[known]] = 1
    ours = spread(graph, seeds, 0.9)
    labels = np.full(200, -1)
    labels[known] = y[known]
    theirs = SklearnLabelSpreading(kernel=lambda a, b: adjacency, alpha=0.9, max_iter=5000, tol=1e-9).fit(x.numpy(), labels)
    reached = ours.sum(1) > 0
    assert reached.mean() > 0.9
    np.testing.assert_allclose(ours[reached] / ours[reached].sum(1, keepdims=True), theirs.label_distributions_[reached], atol=1e-4)


@pytest.mark.parametrize("alpha", [0.5, 0.99])
def test_the_equation_is_solved(alpha):
    graph = normalised_graph(blobs(150, 2.5, 0)[0], 5)
    seeds = np.eye(150)[:, :6]
    exact = np.linalg.solve(np.eye(150) - alpha * graph.toarray(), seeds)
    np.testing.assert_allclose(spread(graph, seeds, alpha), exact, atol=1e-4)


def test_classes_get_equal_shares():
    """A row that nothing reaches stays empty; the more rounds, the nearer all columns are to the same sum, while rows have sum one."""
    masses = np.random.default_rng(0).random((60, 4)) ** 3 * [1, 2, 5, 20]
    masses[7] = 0
    for rounds, within in ((1, 10), (5, 0.1), (100, 1e-6)):
        found = balanced(masses, rounds)
        np.testing.assert_allclose(np.delete(found, 7, 0).sum(1), 1)
        assert not found[7].any() and np.abs(found.sum(0) - 59 / 4).max() < within
    assert np.abs(balanced(masses, 1).sum(0) - 59 / 4).max() > 0.5


def test_the_graph_joins_each_image_with_its_nearest():
    """Also where all lie at one place; none is joined with itself."""
    for x in (blobs(60, 2.5, 0)[0], torch.ones(60, 3)):
        joined = normalised_graph(x, 4).toarray() > 0
        assert (joined == joined.T).all() and not joined.diagonal().any() and joined.sum(1).min() >= 4
    x = torch.nn.functional.normalize(blobs(60, 2.5, 0)[0], dim=1)
    nearest = (x @ x.T).fill_diagonal_(-2).argmax(1)
    assert (normalised_graph(x, 4).toarray() > 0)[range(60), nearest].all()


# --- fine-tuning ------------------------------------------------------------------------------------------------------------------------


def test_lower_layers_learn_more_slowly():
    network = Classifier(experiment().encoder, 10)
    scale = {p: group["lr_scale"] for group in layer_groups(network, 0.5) for p in group["params"]}
    assert len(scale) == len(list(network.parameters()))
    layers = {f"layers.{i}": 0.5 ** (len(network.encoder.layers) - i) for i in range(len(network.encoder.layers))}
    for name, parameter in network.named_parameters():
        assert scale[parameter] == (1.0 if name.startswith("head") else layers[".".join(name.split(".")[1:3])])


def test_the_learning_rate_rises_and_falls():
    factors = [lr_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:2] == [0.1, 0.2] and factors[9] == factors[10] == 1.0 and factors[55] == pytest.approx(0.5) and factors[-1] < 1e-3


def test_it_stops_where_the_held_out_loss_is_lowest(monkeypatch):
    """Of ten checks the third has the lowest loss: the network that is kept has made so many steps."""
    found, encoder = probe(
        "finetune", "evaluation.finetune.num_labels=[50]", "evaluation.finetune.num_draws=1", "evaluation.finetune.steps=20"
    )
    train, val = parts(encoder)
    steps, training = [], type(found).training

    def watched(self, *arguments):
        steps.append(0)
        for step in training(self, *arguments):
            steps[-1] = step
            yield step

    losses = iter([3.0, 2.0, 1.0, *[5.0] * 7])
    monkeypatch.setattr(type(found), "training", watched)
    monkeypatch.setattr(type(found), "logits", lambda self, network, images: torch.zeros(len(images), 10))
    monkeypatch.setattr(
        "ssl_mnist.evaluate.finetune.F.cross_entropy",
        lambda logits, labels: logits.sum() * 0 + next(losses) if len(labels) == 10 else logits.sum() * 0,
    )
    found.fit(train, val)
    assert steps == [20, 6]


def test_fine_tuning_begins_from_the_encoder_and_learns():
    """After no more than its head's steps it is the encoder; after some it fits its own images better than chance."""
    words = ("evaluation.finetune.num_labels=[50]", "evaluation.finetune.num_draws=1", "evaluation.finetune.head_steps=60")
    found, encoder = probe("finetune", *words, "evaluation.finetune.steps=60", "evaluation.finetune.batch_size=50", "augmentation=none")
    train, val = parts(encoder)
    drawn = found._drawn(train, 50, 0)
    fitted = found.fit(train, val)
    own = {"images": train.features["images"][drawn]}
    assert (fitted.predict(own)["finetune_50_labels"][0] == train.labels[drawn]).float().mean() > 0.3
    statistics = {name: value for name, value in fitted.tensors.items() if "running_mean" in name}
    assert statistics and all(
        torch.equal(value[0], encoder.state_dict()[name.partition("/encoder.")[2]]) for name, value in statistics.items()
    )


def test_a_loss_that_is_not_finite_is_one_line():
    found, encoder = probe("finetune", "evaluation.finetune.num_labels=[50]", "evaluation.finetune.optimizer.lr=1e30")
    with pytest.raises(UserError, match=r"evaluation\.finetune diverged"):
        found.fit(*parts(encoder))


# --- FixMatch ---------------------------------------------------------------------------------------------------------------------------


def test_fixmatchs_loss_is_the_papers():
    """By hand: four unlabelled images of which two are confident, the predictions aligned with a uniform distribution."""

    logits = [[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.3, 0.2, 0.1], [0.0, 0.0, 0.2], [1.0, 2.0, 3.0]]

    class Fixed(torch.nn.Module):
        """An image stands for a row, by its mean."""

        def forward(self, images):
            return torch.tensor(logits)[(images.mean((1, 2, 3)) * 10).round().long()]

    found, encoder = probe(
        "fixmatch", "evaluation.fixmatch.threshold=0.9", "evaluation.fixmatch.average=0.5", "evaluation.fixmatch.weight=2.0"
    )
    found.augment = found.augment_strongly = Augmentation(omit=None, padding="zeros", spec=encoder.spec)
    images = torch.arange(4).view(4, 1, 1, 1).expand(4, 1, 28, 28) / 10
    loss = Consistency(found, iter([images]), 3, torch.device("cpu"))
    views, targets = torch.full((1, 1, 28, 28), 0.4), torch.tensor([1])
    p = np.exp(logits[:4]) / np.exp(logits[:4]).sum(1, keepdims=True)
    aligned = p / (0.5 * np.full(3, 1 / 3) + 0.5 * p.mean(0))
    aligned /= aligned.sum(1, keepdims=True)
    confident = aligned.max(1) >= 0.9
    assert confident.tolist() == [True, True, False, False]
    expected = -math.log(np.exp(2) / np.exp([1, 2, 3]).sum()) + 2.0 * -np.log(p[[0, 1], [0, 1]]).sum() / 4
    assert loss(Fixed(), views, targets).item() == pytest.approx(expected, rel=1e-5)


def test_consistency_reaches_every_weight_in_bf16():
    """The weak view has no gradients, and is cast under the same autocast: its cached weights must not be what the strong view uses."""
    found, encoder = probe("fixmatch", "evaluation.fixmatch.threshold=0.0")
    network = Classifier(copy.deepcopy(encoder), 10).requires_grad_(True)
    images = torch.rand(8, 1, 28, 28)
    torch.nn.init.normal_(network.head.weight)
    loss = Consistency(found, iter([images]), 10, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        loss(network, images[:2], torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


# --- the curve --------------------------------------------------------------------------------------------------------------------------


def summary():
    scores = {}
    for num, accuracy in ((10, 0.5), (100, 0.8), (1000, 0.9)):
        scores[f"linear_{num}_labels"] = (f"linear probe, {num:,} labels", accuracy)
    scores |= {
        "linear": ("linear probe", 0.95),
        "knn_10_labels": ("k-NN, 10 labels", 0.4),
        "linear_all_labels": ("linear probe, all labels", 0.96),
    }
    flat = {f"test/{name}_accuracy": value for name, (_, value) in scores.items()} | {
        "test/linear_10_labels_std": 0.1,
        "data/train_size": 55_000,
    }
    about = {f"test/{name}_accuracy": {"title": title, "higher_is_better": True} for name, (title, _) in scores.items()}
    about["test/linear_10_labels_accuracy"]["draws"] = 5
    return flat | {"scores": about}


def test_a_curve_has_its_points_in_order_and_their_intervals():
    curves = label_curves(summary(), "test")
    assert list(curves) == ["linear probe"]
    assert [(point.num, point.accuracy) for point in curves["linear probe"]] == [(10, 0.5), (100, 0.8), (1000, 0.9), (55_000, 0.96)]
    assert curves["linear probe"][0].half_width == pytest.approx(
        2.776 * 0.1 / math.sqrt(5), rel=1e-3
    )  # Student's t of 4 degrees of freedom
    assert math.isnan(curves["linear probe"][1].half_width) and label_curves(summary(), "val") == {}


def test_the_figure_has_a_line_a_way():
    figure = plots.label_efficiency(
        {"a": [Point(10, 0.5, 0.1), Point(100, 0.6, math.nan)], "b": [Point(10, 0.4, 0.0), Point(100, 0.7, 0.1)]}, "t"
    )
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"] and axes.get_xscale() == "log"
    assert next(line.get_ydata().tolist() for line in axes.get_lines() if len(line.get_ydata()) == 2) == [0.5, 0.6]
