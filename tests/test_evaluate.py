"""The protocol: probes that find what is there and nothing else, and a test set that is read last."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from hydra.utils import instantiate
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier

from ssl_mnist import compose, evaluate
from ssl_mnist.data import Dataset, Split
from ssl_mnist.encoders import MLP
from ssl_mnist.evaluate import confusion_matrix, knn, linear, most_confused
from ssl_mnist.evaluate.clusters import Clusters
from ssl_mnist.evaluate.features import extract

CLASSES = [str(i) for i in range(4)]
L2 = [1e-1, 1e-2, 1e-3]


def blobs(num, spread, seed, dim=8, classes=4):
    """Points around the first `classes` corners of a simplex: (num, dim), labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % classes
    return torch.eye(dim)[labels] * 4 + spread * torch.randn(num, dim, generator=draw), labels


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
    probe, accuracy = linear.select(x, y, val_x, val_y, 4, candidates)
    losses, accuracies = [], []
    for l2 in candidates:
        model = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-6, max_iter=10000).fit(x.double().numpy(), y.numpy())
        losses.append(log_loss(val_y.numpy(), model.predict_proba(val_x.double().numpy())))
        accuracies.append(model.score(val_x.double().numpy(), val_y.numpy()))
    chosen = int(np.argmin(losses))
    assert probe.l2 == candidates[chosen] and probe.l2 > 1e-6
    assert accuracy == pytest.approx(accuracies[chosen], abs=5e-3)


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


def test_knn_with_fewer_points_than_k():
    x, y = blobs(8, 0.1, 0)
    assert torch.equal(knn.predict(x, y, x, 4, k=20, temperature=0.07), y)


def test_fewer_labels_score_less_and_their_draws_differ():
    found = scores(dataset(2.5))
    assert found["test/linear_8_labels_accuracy"] < found["test/linear_80_labels_accuracy"] < found["test/linear_accuracy"]
    assert 0 < found["test/linear_8_labels_std"] < 0.2


def test_labels_only_name_the_clusters():
    """Clusters that are the classes get each its class, whatever the labels are called; of two that share a class one keeps it."""
    x, y = blobs(400, 0.3, 0)
    assert torch.equal(Clusters(x, y, 4).predict(x), y)
    renamed = torch.tensor([2, 0, 3, 1])[y]
    assert torch.equal(Clusters(x, renamed, 4).predict(x), renamed)
    shared = torch.tensor([0, 0, 1, 2])[y]
    shared[y == 1] = torch.where(torch.arange(100) < 30, 3, 0)
    assert (Clusters(x, shared, 4).predict(x) == shared).sum() == 330


def test_clusters_are_of_directions():
    """Two directions, of whose points some are a hundred times as long as others."""
    y = torch.arange(200) % 2
    length = torch.where(torch.arange(200) % 4 < 2, 1.0, 100.0)
    x = torch.eye(2)[y] * length[:, None] + 0.01 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Clusters(x, y, 2).predict(x), y)


def test_confusion():
    matrix = confusion_matrix(torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert most_confused(matrix) == (2, 0, 2)


class Pixels(MLP):
    """Returns the first 8 pixels, so that a test can write features into images."""

    def __init__(self):
        super().__init__(widths=[8], channels=1, size=4, mean=[0.0], std=[1.0])

    def forward(self, images):
        return images.flatten(1)[:, :8]


def dataset(spread, shuffle=False, read_test=None) -> Dataset:
    def split(num, seed):
        x, y = blobs(num, spread, seed)
        if shuffle:
            y = y[torch.randperm(num, generator=torch.Generator().manual_seed(seed))]
        images = torch.zeros(num, 16, dtype=torch.uint8)
        images[:, :8] = (x * 20 + 100).clamp(0, 255)
        return Split(images.view(num, 1, 4, 4), y)

    return Dataset("blobs", split(800, 0), split(200, 1), read_test or (lambda: split(400, 2)))


PROBE = {"l2": L2, "map_size": 3, "shift": 0, "knn_k": 20, "knn_temperature": 0.07, "few_labels": [8, 80], "num_draws": 3}


def scores(data, shift=0):
    return evaluate.evaluate(Pixels(), data, CLASSES, **(PROBE | {"shift": shift})).scores


PROBES = ("linear", "knn", "kmeans", "linear_8_labels", "linear_80_labels")


def test_separable_features_give_one():
    found = scores(dataset(0.1))
    assert all(found[f"{split}/{probe}_accuracy"] == 1 for split in ("val", "test") for probe in ("linear", "knn", "kmeans"))
    assert found["test/per_class_accuracy"] == [1.0] * 4 and found["test/most_confused"] == "none"
    assert not any("linear_map" in name for name in found)


def test_shuffled_labels_give_chance():
    found = scores(dataset(0.1, shuffle=True))
    assert 0.15 < found["test/linear_accuracy"] < 0.35 and 0.15 < found["test/knn_accuracy"] < 0.35


@pytest.mark.parametrize("shift", [0, 1])
def test_test_is_read_once_after_the_last_choice(shift, monkeypatch):
    """Every fit, and with it the choice of L2, is done when the test set is first asked for; scores on val do not depend on it."""
    events = []
    fit, plain = linear.fit, dataset(2.0)

    def read_test():
        events.append("test")
        return plain.read_test()

    monkeypatch.setattr(linear, "fit", lambda *a, **k: events.append("fit") or fit(*a, **k))
    found = scores(dataset(2.0, read_test=read_test), shift)
    fits = len(L2) + 1 + len(PROBE["few_labels"]) * PROBE["num_draws"] * len(L2)
    assert events == ["fit"] * fits * (1 + shift) + ["test"]
    monkeypatch.undo()

    def nonsense():
        test = plain.read_test()
        return Split(test.images, (test.labels + 1) % 4)

    other = scores(dataset(2.0, read_test=nonsense), shift)
    chosen = [name for name in found if not name.startswith("test/")]
    assert {name: found[name] for name in chosen} == {name: other[name] for name in chosen}
    assert all(found[f"test/{probe}_accuracy"] > 0.5 > other[f"test/{probe}_accuracy"] for probe in PROBES)


@pytest.mark.parametrize("shift", [0, 1])
def test_what_the_protocol_says_reaches_the_probes(shift, monkeypatch):
    """L2 is chosen by val, the last fit has it and train + val, and so has the k-NN's bank for test; features are moved where asked."""
    seen = {"extract": [], "select": [], "refit": [], "knn": []}
    extract_, select, fit, predict = evaluate.extract, linear.select, linear.fit, knn.predict
    data, chosen = dataset(2.0), []

    def watch_select(x, y, val_x, val_y, num_classes, l2):
        seen["select"].append((len(x), torch.equal(val_y, data.val.labels), len(val_x), l2))
        monkeypatch.setattr(linear, "fit", fit)  # its own fits are not the last one
        found = select(x, y, val_x, val_y, num_classes, l2)
        chosen.append(found[0].l2)
        monkeypatch.setattr(linear, "fit", watch_fit)
        return found

    def watch_fit(x, y, num_classes, l2, start=None):
        seen["refit"].append((len(x), len(y), l2))
        return fit(x, y, num_classes, l2, start=start)

    def watch_knn(bank, labels, queries, num_classes, k, temperature):
        seen["knn"].append((len(bank), len(labels), len(queries), k, temperature))
        return predict(bank, labels, queries, num_classes, k, temperature)

    def watch_extract(encoder, images, map_size, pixels):
        seen["extract"].append((len(images), pixels))
        return extract_(encoder, images, map_size, pixels)

    monkeypatch.setattr(evaluate, "extract", watch_extract)
    monkeypatch.setattr(linear, "select", watch_select)
    monkeypatch.setattr(linear, "fit", watch_fit)
    monkeypatch.setattr(knn, "predict", watch_knn)
    scores(data, shift)
    few = [(num, True, 200, L2) for num in PROBE["few_labels"] for _ in range(PROBE["num_draws"])]
    assert seen["select"] == [(800, True, 200, L2), *few] * (1 + shift)
    assert seen["refit"] == [(1000, 1000, l2) for l2 in chosen[:: 1 + len(few)]]
    assert seen["knn"] == [(800, 800, 200, 20, 0.07)] * (1 + shift) + [(1000, 1000, 400, 20, 0.07)] * (1 + shift)
    assert seen["extract"] == [(num, pixels) for num in (1000, 400) for pixels in range(1 + shift)]


def test_accuracy_of_a_class_is_its_recall(monkeypatch):
    """Of a class's images, the share named rightly; here all of class 1 are named 0."""
    monkeypatch.setattr(linear.LinearProbe, "predict", lambda self, x: torch.tensor([0, 0, 2, 3]).repeat(len(x) // 4))
    assert scores(dataset(0.1))["test/per_class_accuracy"] == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["conv", "conv_deep", "mlp"])
def test_probing_leaves_the_encoder_alone(name):
    """Every bit of it, BatchNorm's buffers included; its map is probed where it has one."""
    encoder = instantiate(compose(f"encoder={name}").encoder, channels=1, size=28, mean=[0.1], std=[0.3]).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}

    def split(num):
        return Split(torch.randint(256, (num, 1, 28, 28), dtype=torch.uint8), torch.arange(num) % 4)

    found = evaluate.evaluate(
        encoder, Dataset("noise", split(80), split(40), lambda: split(40)), CLASSES, **(PROBE | {"few_labels": [4]})
    ).scores
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert not encoder.training
    assert ("test/linear_map_accuracy" in found) == (name != "mlp")


def test_map_features_are_the_map_pooled():
    encoder = instantiate(compose().encoder, channels=1, size=28, mean=[0.1], std=[0.3]).eval()
    images = torch.randint(256, (5, 1, 28, 28), dtype=torch.uint8)
    features = extract(encoder, images, map_size=3, batch_size=2)
    feature_map = encoder.feature_map(images.float() / 255)
    torch.testing.assert_close(features.embedding, encoder(images.float() / 255), atol=1e-5, rtol=1e-4)
    assert features.map.shape == (5, feature_map.shape[1] * 9)
    pooled = torch.nn.functional.adaptive_max_pool2d(feature_map, 3).flatten(1)
    torch.testing.assert_close(features.map, pooled, atol=1e-5, rtol=1e-4)


def test_shifted_features_are_means_over_moved_images():
    """By two pixels each way: 25 images, here rolled, which is the same for digits with black around them."""
    encoder = instantiate(compose().encoder, channels=1, size=28, mean=[0.1], std=[0.3]).eval()
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    images[..., 4:-4, 4:-4] = torch.randint(256, (3, 1, 20, 20), dtype=torch.uint8)
    moved = [torch.roll(images, (down, right), (2, 3)) for down in range(-2, 3) for right in range(-2, 3)]
    plain = [extract(encoder, each, map_size=3) for each in moved]
    features = extract(encoder, images, map_size=3, shift=2)
    torch.testing.assert_close(features.embedding, torch.stack([each.embedding for each in plain]).mean(0))
    torch.testing.assert_close(features.map, torch.stack([each.map for each in plain]).mean(0))


def test_scores_over_shifts_stand_beside_the_others_and_change_none():
    plain = scores(dataset(0.1))
    both = scores(dataset(0.1), shift=1)
    assert {name: both[name] for name in plain} == plain
    of_probes = [name for name in plain if name.rpartition("_")[2] in ("accuracy", "std", "l2", "converged") and "per_class" not in name]
    assert len(of_probes) == 14
    twins = {"_shifts_".join(name.rsplit("_", 1)) for name in of_probes}
    assert set(both) - set(plain) == twins


def test_a_collapsed_encoder_is_drawn():
    """All images at one point, which scikit-learn's start from PCA divides by zero, and then crashes the process."""
    code = "import torch; from ssl_mnist.evaluate.project import project; print(project(torch.ones(60, 16), 0)['tsne'].points.shape)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "(60, 2)\n"), result.stderr
