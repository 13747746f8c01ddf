"""The protocol: probes that find what is there and nothing else, and a test set that is read last."""

import functools
import re
import statistics
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CPU, REPOSITORY, experiment, settings
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from ssl_mnist.build import check_objective, fitting, make_evaluation
from ssl_mnist.data import Dataset, ImageSpec, Split
from ssl_mnist.encoders import Encoder
from ssl_mnist.encoders.base import Features
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate import FeatureStore, Labelled, evaluate, extract, features, few_labels, kept, knn, linear, protocol, score_titles
from ssl_mnist.evaluate.few_labels import FewLabels, FewLabelsTunedOnVal
from ssl_mnist.evaluate.kmeans import ClusterProbe, cluster, nearest_name
from ssl_mnist.evaluate.knn import KNN
from ssl_mnist.evaluate.linear import Linear
from ssl_mnist.evaluate.protocol import applicable, cells_of, confusion_matrix, most_confused

L2 = [1e-1, 1e-2, 1e-3]
NUM_LABELS, NUM_DRAWS = [8, 80], 3
SCORES = ("linear", "knn", "kmeans", "linear_8_labels", "linear_80_labels")


def blobs(num, spread, seed, dim=8, classes=4):
    """Points around the first `classes` corners of a simplex: (num, dim), labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % classes
    return torch.eye(dim)[labels] * 4 + spread * torch.randn(num, dim, generator=draw), labels


def labelled(num, spread, seed, dim=8, classes=4) -> Labelled:
    points, labels = blobs(num, spread, seed, dim, classes)
    return Labelled({"embedding": points}, labels, classes)


def image_spec(classes=4) -> ImageSpec:
    return ImageSpec(1, 4, 4, [0.0], [1.0], [str(i) for i in range(classes)], [])


class Pixels(Encoder):
    """Returns the first 8 pixels, so that a test can write features into images."""

    dim = 8

    def features(self, images):
        return Features(self.normalise(images).flatten(1)[:, :8])


def dataset(spread, shuffle=False, read_test=None, classes=4) -> Dataset:
    def split(num, seed):
        x, y = blobs(num, spread, seed, classes=classes)
        if shuffle:
            y = y[torch.randperm(num, generator=torch.Generator().manual_seed(seed))]
        images = torch.zeros(num, 16, dtype=torch.uint8)
        images[:, :8] = (x * 20 + 100).clamp(0, 255)
        return Split(images.view(num, 1, 4, 4), y)

    return Dataset("blobs", image_spec(classes), split(800, 0), split(200, 1), read_test or (lambda: split(400, 2)), "0" * 16)


def named(**probes):
    for name, probe in probes.items():
        probe.name = name
    return probes


def all_probes():
    return named(linear=Linear(L2), knn=KNN(20, 0.07), kmeans=ClusterProbe(), few_labels=FewLabels(NUM_LABELS, NUM_DRAWS, L2))


def evaluated(data, tta=0, test=True, **probes):
    store = FeatureStore(Pixels(data.spec).eval(), set(), tta, None, "")
    return evaluate(named(**probes) or all_probes(), data, store, test)


# --- the probes -------------------------------------------------------------------------------------------------------------------------


def test_linear_probe_is_sklearns():
    x, y = blobs(400, 2.5, 0)
    l2 = 1e-2
    probe = linear.fit(x, y, 4, l2, tolerance=1e-4)
    theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=10000).fit(x.double().numpy(), y.numpy())
    assert probe.converged
    np.testing.assert_allclose(probe.weight.numpy(), theirs.coef_, atol=2e-3)
    assert (probe.predict(x).numpy() == theirs.predict(x.double().numpy())).mean() > 0.99


def test_linear_probe_forgets_its_start():
    x, y = blobs(400, 2.5, 0)
    strong = linear.fit(x, y, 4, 1.0)
    cold, warm = (linear.fit(x, y, 4, 1e-2, start=start, tolerance=1e-5) for start in (None, strong))
    torch.testing.assert_close(cold.weight, warm.weight, atol=2e-3, rtol=0)


def test_selection_takes_what_suits_val():
    """Of few points in many dimensions, where weak regularisation fits train best: the choice is scikit-learn's lowest loss on val."""
    x, y = blobs(60, 6.0, 0, dim=40)
    val_x, val_y = blobs(2000, 6.0, 1, dim=40)
    candidates = [1e1, 1e-1, 1e-3, 1e-6]
    probe = linear.select(x, y, val_x, val_y, 4, candidates)
    losses, accuracies = [], []
    for l2 in candidates:
        model = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-6, max_iter=10000).fit(x.double().numpy(), y.numpy())
        losses.append(log_loss(val_y.numpy(), model.predict_proba(val_x.double().numpy())))
        accuracies.append(model.score(val_x.double().numpy(), val_y.numpy()))
    chosen = int(np.argmin(losses))
    assert probe.l2 == candidates[chosen] and probe.l2 > 1e-6
    assert (probe.predict(val_x) == val_y).float().mean() == pytest.approx(accuracies[chosen], abs=5e-3)


def test_the_linear_probe_is_standardised_and_refitted():
    """Columns of any scale and place give the same classes; val's are predicted before, test's after val's labels served to fit."""
    train, val, test = (labelled(num, 2.5, seed) for seed, num in enumerate((400, 100, 200)))
    scale, shift = torch.logspace(-1, 2, 8), torch.linspace(-5, 5, 8)
    moved = [Labelled({"embedding": part.features["embedding"] * scale + shift}, part.labels, 4) for part in (train, val, test)]
    (probe,) = named(linear=Linear([1e-2])).values()
    plain, other = probe.fit(train, val), probe.fit(*moved[:2])
    assert torch.equal(plain.val["linear"], other.val["linear"])
    assert torch.equal(plain.predict(test.features)["linear"], other.predict(moved[2].features)["linear"])

    x, val_x, test_x = (part.features["embedding"].double().numpy() for part in (train, val, test))
    mean, std = x.mean(0), x.std(0)
    for inputs, y, asked, found in (
        (x, train.labels, val_x, plain.val["linear"]),
        (np.concatenate([x, val_x]), torch.cat([train.labels, val.labels]), test_x, plain.predict(test.features)["linear"]),
    ):
        model = LogisticRegression(C=1 / (1e-2 * len(y)), tol=1e-8, max_iter=10000).fit((inputs - mean) / std, y.numpy())
        assert (model.predict((asked - mean) / std) == found.numpy()).mean() >= 0.99


def test_an_l2_at_the_edge_is_warned_of():
    """Named by its probe; not where it lies between others, nor where there was one alone to choose."""
    train, val = labelled(60, 6.0, 0, dim=40), labelled(2000, 6.0, 1, dim=40)

    def warnings(*l2):
        (probe,) = named(mine=Linear(list(l2))).values()
        return probe.fit(train, val).warnings

    assert warnings(1e-3, 1e-5) == ["mine: the chosen L2 of 0.001 lies at the edge of its candidates"]
    best = linear.select(
        *(each for part in (train, val) for each in (part.features["embedding"], part.labels)), 4, [10**i for i in range(-4, 4)]
    ).l2
    assert warnings(best / 1000, best, best * 1000) == []
    assert warnings(best) == []


def test_a_probe_that_did_not_converge_is_warned_of(monkeypatch):
    monkeypatch.setattr(linear, "fit", functools.partial(linear.fit, max_iter=1))
    found = evaluated(dataset(2.0), test=False, mine=Linear([1e-4]), knn=KNN(5, 0.07))
    assert found.warnings == found.scores["warnings"] == ["mine: the probe did not converge"]
    assert found.scores["probe/mine_converged"] is False
    monkeypatch.undo()
    assert evaluated(dataset(2.0), test=False, mine=Linear([1e-4])).warnings == []


def test_knn_is_sklearns():
    x, y = blobs(300, 4.0, 0)
    queries, _ = blobs(100, 4.0, 1)
    ours = knn.predict(x, y, queries, 4, k=20, temperature=0.07, block=32)
    model = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)).fit(x.numpy(), y.numpy())
    assert (ours.numpy() == model.predict(queries.numpy())).mean() >= 0.99


def test_knn_weighs_by_temperature():
    """One neighbour at cosine 1 against two at 0.8: e^(0.2 / 0.07) = 17 outvotes 2, e^0.2 = 1.2 does not."""
    bank, labels = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]]), torch.tensor([0, 1, 1])
    found = [knn.predict(bank, labels, torch.tensor([[2.0, 0.0]]), 2, k=3, temperature=t).item() for t in (0.07, 1.0)]
    assert found == [0, 1]


@pytest.mark.parametrize("temperature", [1e-3, 1e-6])
def test_a_low_temperature_is_the_nearest_neighbour(temperature):
    """Where e^(cosine / temperature) overflows, and e^((cosine - 1) / temperature) of far neighbours underflows to 0."""
    bank, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    query = torch.tensor([[-1.0, -0.8]])  # far from both, from the second a little less: cosines -0.78 and -0.62
    assert knn.predict(bank, labels, query, 2, k=2, temperature=temperature).tolist() == [1]
    x, y = blobs(300, 4.0, 0)
    queries, _ = blobs(100, 4.0, 1)
    nearest = knn.predict(x, y, queries, 4, k=1, temperature=1.0)
    assert torch.equal(knn.predict(x, y, queries, 4, k=20, temperature=1e-6), nearest)


def test_knn_with_fewer_points_than_k():
    x, y = blobs(8, 0.1, 0)
    assert torch.equal(knn.predict(x, y, x, 4, k=20, temperature=0.07), y)


def test_labels_only_name_the_clusters():
    """Clusters that are the classes get each its class, whatever the labels are called; of two that share a class one keeps it."""
    x, y = blobs(400, 0.3, 0)
    assert torch.equal(nearest_name(cluster(x, y, 4), x), y)
    renamed = torch.tensor([2, 0, 3, 1])[y]
    assert torch.equal(nearest_name(cluster(x, renamed, 4), x), renamed)
    shared = torch.tensor([0, 0, 1, 2])[y]
    shared[y == 1] = torch.where(torch.arange(100) < 30, 3, 0)
    assert (nearest_name(cluster(x, shared, 4), x) == shared).sum() == 330


def test_clusters_are_of_directions():
    """Two directions, of whose points some are a hundred times as long as others."""
    y = torch.arange(200) % 2
    length = torch.where(torch.arange(200) % 4 < 2, 1.0, 100.0)
    x = torch.eye(2)[y] * length[:, None] + 0.01 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(nearest_name(cluster(x, y, 2), x), y)


# --- few labels -------------------------------------------------------------------------------------------------------------------------


def few(kind=FewLabels, num_labels=NUM_LABELS, num_draws=NUM_DRAWS, l2=L2):
    (probe,) = named(few_labels=kind(num_labels, num_draws, l2)).values()
    return probe


def test_draws_are_nested_balanced_and_the_same_for_all():
    train = labelled(800, 2.5, 0)
    for seed in range(3):
        small, large = (few()._drawn(train, num, seed) for num in (8, 80))
        assert set(small.tolist()) < set(large.tolist()) and len(set(large.tolist())) == 80
        assert train.labels[small].bincount().tolist() == [2] * 4 and train.labels[large].bincount().tolist() == [20] * 4
        other = Labelled({"embedding": torch.randn(800, 8)}, train.labels, 4)  # another encoder's embeddings
        assert torch.equal(small, few(FewLabelsTunedOnVal)._drawn(other, 8, seed))
    draws = [few()._drawn(train, 80, seed).tolist() for seed in range(3)]
    assert draws[0] != draws[1] != draws[2]


def test_few_labels_are_sklearns():
    """L2 by five-fold cross-validation inside the n labels, features standardised by the n images."""
    train, val, test = (labelled(num, 3.5, seed, dim=20) for seed, num in enumerate((800, 200, 400)))
    candidates = [1e1, 1e-1, 1e-3]
    probe = few(num_labels=[80], num_draws=2, l2=candidates)
    found = probe.fit(train, val).predict(test.features)["linear_80_labels"]
    for seed in range(2):
        drawn = probe._drawn(train, 80, seed)
        x = train.features["embedding"][drawn].double().numpy()
        mean, std, y = x.mean(0), x.std(0), train.labels[drawn].numpy()
        search = GridSearchCV(
            LogisticRegression(max_iter=1000),
            {"C": [1 / (l2 * 64) for l2 in candidates]},  # 64 of 80 in each fold
            scoring="neg_log_loss",
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
            refit=False,
        ).fit((x - mean) / std, y)
        l2 = candidates[search.best_index_]
        model = LogisticRegression(C=1 / (l2 * 80), max_iter=1000).fit((x - mean) / std, y)
        theirs = model.predict((test.features["embedding"].double().numpy() - mean) / std)
        assert (theirs == found[seed].numpy()).mean() >= 0.995


@pytest.mark.parametrize("kind,num,blind", [(FewLabels, 8, True), (FewLabels, 80, True), (FewLabelsTunedOnVal, 80, False)])
def test_few_labels_are_no_more_labels(kind, num, blind, monkeypatch):
    """All labels but the n drawn are shuffled, val's included, and the drawn ones stay drawn: what is predicted for test stays the same.
    The one that says it is tuned on val does change."""
    train, val, test = (labelled(n, 3.5, seed, dim=20) for seed, n in enumerate((800, 200, 400)))
    candidates = [1e2, 1e-1, 1e-3]
    probe = few(kind, [num], 1, candidates)
    shuffle = torch.Generator().manual_seed(0)
    same = []
    for drawn in [probe._drawn(train, num, seed) for seed in range(NUM_DRAWS)]:
        labels = train.labels[torch.randperm(800, generator=shuffle)]
        labels[drawn] = train.labels[drawn]
        assert (labels != train.labels).sum() > 400
        others = Labelled(train.features, labels, 4)
        no_val = Labelled(val.features, val.labels[torch.randperm(200, generator=shuffle)], 4)
        with monkeypatch.context() as patch:
            patch.setattr(FewLabels, "_drawn", lambda self, train, num, seed, drawn=drawn: drawn)
            plain, found = (probe.fit(*splits).predict(test.features)[probe.score(num)] for splits in ((train, val), (others, no_val)))
        same.append(torch.equal(plain, found))
    assert all(same) == blind


def test_few_labels_leave_out_the_budgets_that_the_data_do_not_have():
    probe = FewLabels(num_labels=[20, 100, 500], num_draws=1, l2=[1.0])
    probe.name = "few_labels"
    with pytest.raises(UserError, match=r"at least 2 and at most 160, got 500"):
        probe.check([80, 90], [10, 10])
    assert probe.reduce([80, 90], [10, 10]) == "500 labels" and probe.num_labels == [20, 100]
    probe.check([80, 90], [10, 10])
    assert probe.reduce([5, 5], [10, 10]) is None and probe.num_labels == [20, 100]


def test_few_labels_see_no_other_image():
    """Nor do the features of the images that were not drawn, val's and test's included, change what the probe is."""
    train, val, test = (labelled(num, 3.5, seed) for seed, num in enumerate((800, 200, 400)))
    probe = few(num_labels=[80], num_draws=1)
    drawn = probe._drawn(train, 80, 0)
    noise = torch.randn(800, 8) * 50
    noise[drawn] = train.features["embedding"][drawn]
    found = [
        probe.fit(Labelled({"embedding": values}, train.labels, 4), val).predict(test.features)["linear_80_labels"]
        for values in (train.features["embedding"], noise)
    ]
    assert torch.equal(*found)


def test_fewer_labels_score_less_and_their_draws_differ():
    found = evaluated(dataset(2.5)).scores
    assert found["test/linear_8_labels_accuracy"] < found["test/linear_80_labels_accuracy"] < found["test/linear_accuracy"]
    assert 0 < found["test/linear_8_labels_std"] < 0.2


def test_scores_over_draws_are_their_mean_and_sample_standard_deviation():
    data = dataset(2.5)
    found = evaluated(data).scores
    store = FeatureStore(Pixels(data.spec).eval(), set(), 0, None, "")
    train, val, test = (
        Labelled(store(name, split.images), split.labels, 4)
        for name, split in (("train", data.train), ("val", data.val), ("test", data.read_test()))
    )
    fitted = few().fit(train, val)
    for split, predicted, labels in (("val", fitted.val, val.labels), ("test", fitted.predict(test.features), test.labels)):
        for num in NUM_LABELS:
            each = (predicted[f"linear_{num}_labels"] == labels).double().mean(1).numpy()
            assert each.shape == (NUM_DRAWS,)
            assert found[f"{split}/linear_{num}_labels_accuracy"] == pytest.approx(each.mean())
            assert found[f"{split}/linear_{num}_labels_std"] == pytest.approx(each.std(ddof=1))
    assert "test/linear_std" not in found and "test/knn_std" not in found


@pytest.mark.parametrize(
    "num,words",
    [(15, "multiples of 4"), (804, "at most 800, got 804"), (0, "whole numbers above 0"), (10, "multiples of 4")],
)
def test_budgets_that_cannot_be_drawn_are_refused(num, words):
    with pytest.raises(UserError, match=words):
        fitting({"few_labels": few(num_labels=[num])}, dataset(2.5), [f"evaluation.few_labels.num_labels=[{num}]"])
    if num == 0:
        return
    probes = {"few_labels": few(num_labels=[num]), "knn": KNN(20, 0.07)}
    found, (reason,) = fitting(probes, dataset(2.5), ["evaluation.few=1", "evaluation.knn.k=20"])  # where the command does not name it
    assert list(found) == ["knn"] and re.search(words, reason)


@pytest.mark.parametrize("classes", [2, 3])
def test_other_numbers_of_classes(classes):
    """All probes, on classes that are easy to tell; of two, the few-label probe still is scikit-learn's."""
    eighty = 80 // classes * classes
    found = evaluated(
        dataset(0.1, classes=classes),
        linear=Linear(L2),
        knn=KNN(20, 0.07),
        kmeans=ClusterProbe(),
        few_labels=FewLabels([eighty], 2, L2),
        tuned=FewLabelsTunedOnVal([eighty], 2, L2),
    )
    names = [name for name in found.scores if name.endswith("_accuracy") and "per_class" not in name]
    assert len(names) == 10 and all(found.scores[name] == 1 for name in names)
    assert found.confusion.shape == (classes, classes)
    train, val, test = (labelled(num - num % classes, 2.5, seed, classes=classes) for seed, num in enumerate((800, 200, 400)))
    probe = few(num_labels=[eighty], num_draws=1, l2=[1e-2])
    x, y = (values[probe._drawn(train, eighty, 0)] for values in (train.features["embedding"], train.labels))
    mean, std = x.mean(0), x.std(0, correction=0)
    model = LogisticRegression(C=1 / (1e-2 * eighty), max_iter=1000).fit(((x - mean) / std).double().numpy(), y.numpy())
    theirs = model.predict(((test.features["embedding"] - mean) / std).double().numpy())
    ours = probe.fit(train, val).predict(test.features)[f"linear_{eighty}_labels"][0]
    assert (theirs == ours.numpy()).all() and 0.5 < (ours == test.labels).float().mean() < 1


# --- the protocol -----------------------------------------------------------------------------------------------------------------------


def test_confusion():
    matrix = confusion_matrix(torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert most_confused(matrix) == (2, 0, 2)


def test_separable_features_give_one():
    found = evaluated(dataset(0.1)).scores
    assert all(found[f"{split}/{score}_accuracy"] == 1 for split in ("val", "test") for score in ("linear", "knn", "kmeans"))
    assert found["test/per_class_accuracy"] == [1.0] * 4 and found["test/most_confused"] == "none"
    assert not any("linear_map" in name for name in found)


def test_shuffled_labels_give_chance():
    found = evaluated(dataset(0.1, shuffle=True)).scores
    assert 0.15 < found["test/linear_accuracy"] < 0.35 and 0.15 < found["test/knn_accuracy"] < 0.35


def watched_fits(monkeypatch):
    """Whatever is fitted in any probe writes "fit" into the list returned."""
    events = []

    def watch(home, name):
        original = getattr(home, name)
        monkeypatch.setattr(home, name, lambda *a, **k: events.append("fit") or original(*a, **k))

    watch(linear, "fit")
    watch(few_labels, "_regression")
    watch(protocol.Labelled, "__init__")  # the features of train and val, which are not test's
    watch(KMeans, "fit_predict")
    return events


@pytest.mark.parametrize("tta", [0, 1])
def test_test_is_read_once_after_the_last_choice(tta, monkeypatch):
    """Every fit, and with it every choice, is done when the test set is first asked for; scores on val do not depend on it."""
    plain = dataset(1.0)
    events = watched_fits(monkeypatch)

    def read_test():
        events.append("test")
        return plain.read_test()

    found = evaluated(dataset(1.0, read_test=read_test), tta).scores
    few_fits = sum(NUM_DRAWS * (len(L2) * min(5, num // 4) + 1) for num in NUM_LABELS)
    assert events == ["fit"] * (2 + len(L2) + 1 + 1 + few_fits) + ["test"]
    monkeypatch.undo()

    def nonsense():
        test = plain.read_test()
        return Split(test.images, (test.labels + 1) % 4)

    other = evaluated(dataset(1.0, read_test=nonsense), tta).scores
    chosen = [name for name in found if not name.startswith("test/")]
    assert {name: found[name] for name in chosen} == {name: other[name] for name in chosen}
    end = "_tta1" if tta else ""
    for score in SCORES:
        right, wrong = (scores[f"test/{score}{end}_accuracy"] for scores in (found, other))
        assert right > 0.4 > wrong, score  # 0.25 is chance


def test_test_is_not_read_where_it_is_not_wanted():
    """evaluation.test=false: the same scores on val, none on test, and figures of val."""

    def never():
        raise AssertionError("test was read")

    data = dataset(2.0, read_test=never)
    found, whole = evaluated(data, test=False), evaluated(dataset(2.0))
    assert found.split == "val" and found.shown is data.val and len(found.embeddings) == len(data.val)
    assert not any(name.startswith("test/") for name in [*found.scores, *found.scores["scores"]])
    assert found.confusion.sum() == len(data.val)
    accuracies = {name: value for name, value in whole.scores.items() if name.startswith("val/")}
    assert len(accuracies) == 7 and accuracies.items() <= found.scores.items()
    assert found.confusion.diagonal().sum() / 200 == pytest.approx(found.scores["val/linear_accuracy"])


@pytest.mark.parametrize("tta", [0, 1])
def test_what_the_protocol_says_reaches_the_probes(tta, monkeypatch):
    """L2 is chosen by val, the last fit has it and train + val, and so has the k-NN's bank for test; each split's features are extracted
    once."""
    seen = {"extract": [], "select": [], "refit": [], "knn": []}
    extract_, select, fit, votes = features.extract, linear.select, linear.fit, knn.votes
    data, chosen = dataset(2.0), []

    def watch_select(x, y, val_x, val_y, num_classes, l2):
        seen["select"].append((len(x), torch.equal(val_y, data.val.labels), len(val_x), l2))
        monkeypatch.setattr(linear, "fit", fit)  # its own fits are not the last one
        found = select(x, y, val_x, val_y, num_classes, l2)
        chosen.append(found.l2)
        monkeypatch.setattr(linear, "fit", watch_fit)
        return found

    def watch_fit(x, y, num_classes, l2, start=None):
        seen["refit"].append((len(x), len(y), l2))
        return fit(x, y, num_classes, l2, start=start)

    def watch_knn(bank, labels, queries, num_classes, k, temperature):
        seen["knn"].append((len(bank), len(labels), len(queries), k, temperature))
        return votes(bank, labels, queries, num_classes, k, temperature)

    def watch_extract(encoder, images, cells, tta):
        seen["extract"].append((len(images), tta))
        return extract_(encoder, images, cells, tta)

    monkeypatch.setattr(features, "extract", watch_extract)
    monkeypatch.setattr(linear, "select", watch_select)
    monkeypatch.setattr(linear, "fit", watch_fit)
    monkeypatch.setattr(knn, "votes", watch_knn)
    evaluated(data, tta)
    assert seen["select"] == [(800, True, 200, L2)]
    assert seen["refit"] == [(1000, 1000, chosen[0])]
    assert seen["knn"] == [(800, 800, 200, 20, 0.07), (1000, 1000, 400, 20, 0.07)]
    assert seen["extract"] == [(num, tta) for num in (800, 200, 400)]


def test_accuracy_of_a_class_is_its_recall(monkeypatch):
    """Of a class's images, the share named rightly; here all of class 1 are named 0."""
    named = torch.tensor([0, 0, 2, 3])
    monkeypatch.setattr(Linear, "predict", lambda self, tensors, features: {self.score: named.repeat(len(features["embedding"]) // 4)})
    found = evaluated(dataset(0.1))
    assert found.scores["test/per_class_accuracy"] == [1.0, 0.0, 1.0, 1.0]
    assert found.scores["test/most_confused"] == "1 taken for 0, 100 times"


@pytest.mark.parametrize("name", ["conv", "conv_deep", "mlp"])
def test_probing_leaves_the_encoder_alone(name):
    """Every bit of it and of the projector, BatchNorm's buffers included; its map is probed where it has one."""
    built = experiment(f"encoder={name}", "evaluation=full", "evaluation.few_labels.num_labels=[20]",
                       "evaluation.few_labels_tuned_on_val.num_labels=[20]")  # fmt: skip
    built.method.eval()
    encoder = built.encoder.train()
    before = {key: value.clone() for key, value in built.method.state_dict().items()}
    store = FeatureStore(encoder, cells_of(built.probes), 0, None, "", built.method.project)
    found = evaluate(built.probes, built.dataset, store, True).scores
    assert len(before) > 5 and before.keys() == built.method.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in built.method.state_dict().items())
    assert not encoder.training and all(p.grad is None for p in encoder.parameters())
    assert ("test/linear_map_accuracy" in found) == (name != "mlp")
    assert {"test/linear_20_labels_tuned_on_val_accuracy", "test/projector_linear_accuracy"} <= found.keys()


def test_scores_know_their_titles():
    """One for every accuracy, test's before val's; the first probe's stands behind the figures."""
    found = evaluated(dataset(2.0))
    accuracies = {name for name in found.scores if name.endswith("_accuracy") and "per_class" not in name}
    assert set(found.scores["scores"]) == accuracies and len(accuracies) == 10
    assert list(found.scores["scores"])[:2] == ["test/linear_accuracy", "test/knn_accuracy"]
    titles = ["linear probe", "k-NN, k = 20", "k-means, matched to classes", "linear probe, 8 labels", "linear probe, 80 labels"]
    assert [about["title"] for about in found.scores["scores"].values()] == titles * 2
    assert all(about["higher_is_better"] is True for about in found.scores["scores"].values())
    assert found.scores["primary"] == "linear"


def test_the_objective_is_a_val_score_that_the_probes_give():
    probes = make_evaluation(settings())[0]
    check_objective("val/linear_accuracy", probes, 0)
    check_objective("val/linear_100_labels_accuracy", probes, 0)
    check_objective("val/knn_tta1_accuracy", probes, 1)
    with pytest.raises(UserError, match="objective must be a val score, got test/linear_accuracy"):
        check_objective("test/linear_accuracy", probes, 0)
    for objective, tta, given in (
        ("val/linear_accuracy", 1, "val/linear_tta1_accuracy, "),
        ("val/linear_acuracy", 0, "val/linear_accuracy, val/linear_map_accuracy, val/knn_accuracy, val/kmeans_accuracy, val/linear_100"),
        ("val/linear_20_labels_accuracy", 0, "val/linear_accuracy, "),
    ):
        with pytest.raises(UserError, match=f"objective must be one of {given}.*, got {objective}"):
            check_objective(objective, probes, tta)
    encoder = experiment("encoder=mlp").encoder
    with pytest.raises(UserError, match="got val/linear_map_accuracy"):
        check_objective("val/linear_map_accuracy", applicable(probes, encoder, CPU), 0)
    with pytest.raises(UserError, match="objective must be one of val/linear_accuracy, val/knn_accuracy, got val/kmeans_accuracy"):
        experiment("evaluation=quick", "objective=val/kmeans_accuracy")


def test_probes_without_their_features_are_named():
    with pytest.raises(UserError, match="no probe fits this encoder, which has no feature map"):
        experiment("encoder=mlp", "evaluation=standard", "~evaluation.linear", "~evaluation.knn", "~evaluation.kmeans",
                   "~evaluation.few_labels", "objective=val/linear_map_accuracy")  # fmt: skip


# --- features ---------------------------------------------------------------------------------------------------------------------------


def digits(num=3):
    """Images with a black border of 4 pixels."""
    images = torch.zeros(num, 1, 28, 28, dtype=torch.uint8)
    images[..., 4:-4, 4:-4] = torch.randint(256, (num, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return images


def test_map_features_are_the_map_pooled():
    encoder = experiment().encoder.eval()
    images = digits(5)
    found = extract(encoder, images, {1, 3}, batch_size=2)
    feature_map = encoder.feature_map(images.float() / 255)
    torch.testing.assert_close(found["embedding"], encoder(images.float() / 255), atol=1e-5, rtol=1e-4)
    assert set(found) == {"embedding", "map_1", "map_3"}
    for cells in (1, 3):
        pooled = torch.nn.functional.adaptive_max_pool2d(feature_map, cells).flatten(1)
        torch.testing.assert_close(found[f"map_{cells}"], pooled, atol=1e-5, rtol=1e-4)


def test_tta_features_are_means_over_moved_images():
    """By two pixels each way: 25 images, here rolled, which is the same for digits with black around them."""
    encoder = experiment().encoder.eval()
    images = digits()
    moved = [torch.roll(images, (down, right), (2, 3)) for down in range(-2, 3) for right in range(-2, 3)]
    plain = [extract(encoder, each, {3}) for each in moved]
    found = extract(encoder, images, {3}, tta=2)
    for name in ("embedding", "map_3"):
        torch.testing.assert_close(found[name], torch.stack([each[name] for each in plain]).mean(0))


def test_what_moves_in_is_black():
    images = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    found = extract(Pixels(image_spec()).eval(), images, set(), tta=1)["embedding"]
    torch.testing.assert_close(found, torch.tensor([[4, 6, 6, 4, 6, 9, 9, 6]]) / 9)  # of 9 images, those in which the pixel is white


def test_scores_with_tta_say_so_in_their_names():
    """Every score and fact has its twin, and no score without tta shares a name with one with it."""
    plain, moved = (evaluated(dataset(0.1), tta).scores for tta in (0, 1))
    about_probes = [name for name in plain if name.rpartition("_")[2] in ("accuracy", "std", "l2", "converged") and "per_class" not in name]
    assert len(about_probes) == 16
    twins = {"_tta1_".join(name.rsplit("_", 1)) for name in about_probes}
    assert twins == {name for name in moved if "tta" in name}
    assert not twins & set(plain) and not set(about_probes) & set(moved)
    assert moved["primary"] == "linear_tta1"
    assert moved["scores"]["val/knn_tta1_accuracy"]["title"] == "k-NN, k = 20, averaged over shifts of 1 pixel"
    assert score_titles(all_probes(), 2)["linear_tta2"] == "linear probe, averaged over shifts of 2 pixels"


@pytest.fixture
def extractions(monkeypatch):
    """How many images each call of `extract` was given."""
    calls, original = [], features.extract
    monkeypatch.setattr(features, "extract", lambda *arguments: calls.append(len(arguments[1])) or original(*arguments))
    return calls


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_features_are_computed_once(tmp_path, extractions):
    """A second store of the same encoder and data reads what the first one kept; a new size of cells is computed for itself."""
    encoder = experiment().encoder
    images = digits()
    first = FeatureStore(encoder, {3}, 0, tmp_path / "features", "a")("val", images)
    assert extractions == [3] and len(list((tmp_path / "features").iterdir())) == 2
    assert equal(first, FeatureStore(encoder, {3}, 0, tmp_path / "features", "a")("val", images)) and extractions == [3]
    more = FeatureStore(encoder, {2, 3}, 0, tmp_path / "features", "a")("val", images)
    assert extractions == [3, 3] and set(more) == {"embedding", "map_2", "map_3"}


@pytest.mark.parametrize("change", ["identity", "tta", "split", "number"])
def test_features_of_another_are_not_used(change, tmp_path, extractions):
    encoder = experiment().encoder
    FeatureStore(encoder, {3}, 0, tmp_path, "a")("val", digits())
    identity, tta, split = ("b" if change == "identity" else "a"), int(change == "tta"), "test" if change == "split" else "val"
    images = digits(4 if change == "number" else 3)
    found = FeatureStore(encoder, {3}, tta, tmp_path, identity)(split, images)
    assert extractions == [3, len(images)]
    assert equal(found, extract(encoder, images, {3}, tta))


@pytest.mark.parametrize("content", [b"", b"not a tensor", "half", "no tensor"])
def test_a_torn_file_is_computed_again_and_replaced(content, tmp_path, extractions, caplog):
    encoder = experiment().encoder
    images = digits()
    first = FeatureStore(encoder, set(), 0, tmp_path, "a")("val", images)
    (path,) = tmp_path.iterdir()
    if content == "no tensor":
        torch.save({"a": 1}, path)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    assert equal(first, FeatureStore(encoder, set(), 0, tmp_path, "a")("val", images)) and extractions == [3, 3]
    assert content == "no tensor" or f"{path} cannot be read; its features are computed again" in caplog.text
    assert equal(first, FeatureStore(encoder, set(), 0, tmp_path, "a")("val", images)) and extractions == [3, 3]


@pytest.mark.parametrize("cause", ["a file in its place", "read-only"])
def test_features_that_cannot_be_kept_are_warned_of_once(cause, tmp_path, monkeypatch, caplog):
    encoder = experiment().encoder
    folder = tmp_path / "features"
    if cause == "read-only":  # as root, to whom no folder is read-only

        def refuse(*arguments):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(kept, "atomic_save", refuse)
    else:
        folder.write_text("")
    store = FeatureStore(encoder, {3}, 0, folder, "a")
    assert equal(store("train", digits()), extract(encoder, digits(), {3})) and equal(
        store("val", digits()), extract(encoder, digits(), {3})
    )
    assert [message.count("features are not kept") for message in caplog.messages] == [1]
    assert not folder.is_dir() or not list(folder.iterdir())


def test_the_settings_say_whether_features_are_kept(tmp_path):
    from ssl_mnist.pipeline import probe

    built = experiment()
    for cache in (False, True):
        probe(
            built.encoder.eval(),
            built.probes,
            built.dataset,
            settings("evaluation=quick", f"evaluation.cache={cache}"),
            tmp_path,
        )
        assert {path.name.split("-")[0] for path in tmp_path.glob("features/*")} == ({"train", "val", "test"} if cache else set())
        assert {path.name.split("-")[0] for path in tmp_path.glob("probes/*")} == ({"linear"} if cache else set())


def test_a_fitted_probe_is_not_fitted_again(tmp_path, monkeypatch):
    """Read from the run's folder it gives the same scores; another encoder, other data or another hash are fitted anew."""

    def scores(identity="a", fits="1", spread=2.5):
        data = dataset(spread)
        store = FeatureStore(Pixels(data.spec).eval(), set(), 0, tmp_path / "features", f"{identity}{spread}")
        return evaluate(all_probes(), data, store, True, dict.fromkeys(all_probes(), fits)).scores

    first, fitted = scores(), []
    for kind in (Linear, ClusterProbe, FewLabels):
        monkeypatch.setattr(kind, "fit", lambda self, train, val, fit=kind.fit: fitted.append(self.name) or fit(self, train, val))
    assert scores() == first and fitted == []
    for other in ({"identity": "b"}, {"fits": "2"}, {"spread": 0.5}):
        scores(**other)
        assert fitted == ["linear", "kmeans", "few_labels"]
        fitted.clear()
    for path in tmp_path.glob("probes/few_labels-*-1.pt"):
        path.write_bytes(b"")
    assert scores() == first and fitted == ["few_labels"]


def test_a_collapsed_encoder_is_drawn():
    """All images at one point, which scikit-learn's start from PCA divides by zero, and then crashes the process."""
    code = "import torch; from ssl_mnist.evaluate.project import project; print(project(torch.ones(60, 16), 0)['tsne'].points.shape)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "(60, 2)\n"), result.stderr


def test_statistics_is_what_a_score_over_draws_is_made_with():
    labels = torch.zeros(4, dtype=torch.long)
    found = protocol._accuracies("val", {"x": torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])}, labels, "")
    assert found == {"val/x_accuracy": 0.5, "val/x_std": statistics.stdev([1.0, 0.5, 0.0])} and found["val/x_std"] == 0.5
