"""What the figures show: every series, class and point, numbers against their formulas, and no text cut off or over another."""

import math
import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Annotation, Text

from ssl_mnist import plots
from ssl_mnist.evaluate.project import Projection
from ssl_mnist.intervals import wilson

DIGITS = [str(digit) for digit in range(10)]
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
LAND = ["annual crop", "forest", "herbaceous vegetation", "highway", "industrial buildings", "pasture", "permanent crop land", "lake"]
CLASSES = {
    "2": ["cat", "dog"],
    "10 short": DIGITS,
    "10 long": FASHION,
    "8 longer": LAND,
    "20": [f"aquarium_fish {k}" for k in range(20)],
    "100": [f"pickup_truck {k}" for k in range(100)],
    "1000": [f"n{k:08d} great white shark, white shark, man-eater, man-eating shark" for k in range(1000)],
    "dollars": ["$5", "$5 to $10", "_over $10_", r"$\frac$"],  # not formulas, and the last not even a valid one
}


def made(classes):
    """A confusion matrix with 50 to 100 images a class and about a tenth of them mistaken, accuracies and counts."""
    generator = np.random.default_rng(0)
    number = len(classes)
    confusion = np.diag(generator.integers(45, 90, number))
    for true in range(number):
        confusion[true, (true + generator.integers(1, number)) % number] += generator.integers(1, 10)
    counts = confusion.sum(1)
    return confusion, np.diag(confusion) / counts, counts


def evaluated(classes, split="val"):
    confusion, accuracy, counts = made(classes)
    generator = np.random.default_rng(1)
    labels = generator.integers(0, len(classes), 500)
    points = generator.normal(size=(len(classes), 2))[labels] + generator.normal(size=(500, 2))
    projections = {"pca": Projection("PCA", points, ("component 1", "component 2")), "tsne": Projection("t-SNE", points, ("", ""))}
    overall = float(np.trace(confusion) / confusion.sum())
    confused = f"{classes[1]} taken for {classes[0]}, 3 times"
    wrong = generator.random(500) < 0.05
    head = f"Linear probe on {split}: {100 * overall:.2f} %"
    figures = {
        "per_class_accuracy": plots.per_class_accuracy(accuracy, counts, classes, head),
        "confusion_matrix": plots.confusion_matrix(confusion, classes, f"{head}\nmost confused: {confused}"),
    }
    for name, projection in projections.items():
        title = f"{projection.title} of {len(projection.points):,} {split} embeddings"
        figures[name] = plots.scatter(projection.points, labels, classes, title, projection.axis_names, wrong)
    return figures


def heading(figure):
    return figure.get_suptitle()


def texts(figure):
    """The texts one sees, drawn at a resolution that `savefig` uses."""
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def overlap(one, other):
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 0.5 and min(one.y1, other.y1) - max(one.y0, other.y0) > 0.5


def assert_nothing_is_cut_off(figure):
    shown = set(texts(figure))
    beyond = {label for axes in figure.axes for label in beyond_the_limits(axes)}  # matplotlib makes them and does not draw them
    for text in shown - beyond:
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, text.get_text()


def beyond_the_limits(axes):
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        yield from (tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high)


def assert_x_names_are_apart(axes):
    """By bounding boxes, or, where names are rotated, by the distance of their base lines."""
    axes.figure.draw_without_rendering()
    labels = axes.get_xticklabels()
    if not labels[0].get_rotation():
        boxes = [label.get_window_extent() for label in labels]
        assert not any(overlap(*pair) for pair in combinations(boxes, 2))
        return
    apart = np.diff(axes.transData.transform([(x, 0) for x in axes.get_xticks()])[:, 0]).min()
    for label in labels:
        angle = math.radians(label.get_rotation())
        label.set_rotation(0)
        assert label.get_window_extent().height <= apart * math.sin(angle)


# ---- curves


def test_every_series_is_drawn_and_told_apart():
    series = {f"term {k}": ([k, k + 1, k + 2.5], [0.5, 0.2, 1 + k / 100]) for k in range(25)}
    figure = plots.curves(series, "25 terms", "value")
    (axes,) = figure.axes
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines] == [tuple(map(list, one)) for one in series.values()]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 25
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(series)
    assert_nothing_is_cut_off(figure)
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1, "the legend lies over the lines"


def test_terms_missing_in_some_rows_keep_their_own_epochs():
    history = [
        {"step": 1, "epoch": 0.5, "pretrain/loss": 2.0, "pretrain/lr": 0.1, "pretrain/images_per_second": 9.0, "pretrain/accuracy": 0.2},
        {"step": 2, "epoch": 1.0, "pretrain/loss": 1.0, "pretrain/lr": 0.2, "pretrain/health_rank": 50.0, "pretrain/epoch_loss": 1.5},
        {"step": 3, "epoch": 1.5, "pretrain/loss": 0.5, "pretrain/lr": 0.3, "pretrain/accuracy": 0.9, "pretrain/lr_teacher": 0.4},
    ]
    figures = plots.of_training(history, {"accuracy": 0.25})
    drawn = {
        name: {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for axes in figure.axes for line in axes.lines}
        for name, figure in figures.items()
    }
    assert drawn["loss"] == {"loss": ([0.5, 1.0, 1.5], [2.0, 1.0, 0.5])}
    assert drawn["learning_rate"] == {"learning rate": ([0.5, 1.0, 1.5], [0.1, 0.2, 0.3])}
    assert drawn["pretext_metrics"] == {
        "accuracy": ([0.5, 1.5], [0.2, 0.9]),
        "health rank": ([1.0], [50.0]),
        "lr teacher": ([1.5], [0.4]),
        "chance: 0.25": ([0, 1], [0.25, 0.25]),  # across the axes
    }
    accuracies, rank = figures["pretext_metrics"].axes
    (guess,) = [line for line in accuracies.lines if line.get_label() == "chance: 0.25"]
    assert guess.get_linestyle() == ":"
    assert [line.get_label() for line in rank.lines] == ["health rank"] and rank.get_ylabel() == "health rank"


def test_a_history_without_rows_or_without_a_learning_rate():
    assert plots.of_training([]) == {}
    assert set(plots.of_training([{"epoch": 1.0, "pretrain/loss": 1.0}])) == {"loss"}


def test_a_panel_a_measure_of_health_with_the_projection_beside_it():
    rows = [{"epoch": 0.5, "pretrain/loss": 1.0}]
    rows += [{"epoch": e, "health/rank": 40.0 + e, "health/projection_rank": 9.0, "health/std": 0.2} for e in (1.0, 2.0)]
    figure = plots.health(rows, {"rank": "effective rank", "std": "deviation", "knn": "k-NN"})
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["effective rank", "deviation"]
    lines = [{line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines} for axes in shown]
    assert lines[0] == {"embedding": ([1.0, 2.0], [41.0, 42.0]), "projection": ([1.0, 2.0], [9.0, 9.0])}
    assert lines[1] == {"embedding": ([1.0, 2.0], [0.2, 0.2])}
    assert [axes.get_legend() is not None for axes in shown] == [True, False]


def test_series_share_a_panel_up_to_a_factor_of_ten():
    tops = {"a": 0.1, "similarity": 1.0, "b": 0.099, "nan": math.nan, "zero": 0.0}
    series = {name: ([0, 1], [-top, top / 2]) for name, top in tops.items()}
    panels = [[line.get_label() for line in axes.lines] for axes in plots.curves(series, "", "value").axes]
    assert panels == [["a", "similarity"], ["b", "nan", "zero"]]


# ---- classes


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_no_text_is_cut_off_or_over_another_whatever_the_classes(classes):
    _, _, counts = made(classes)
    figures = evaluated(classes) | {"distribution": plots.class_distribution({"train": list(counts), "test": list(counts[::-1])}, classes)}
    for name, figure in figures.items():
        assert_nothing_is_cut_off(figure)
        (axes,) = figure.axes
        if name in ("per_class_accuracy", "confusion_matrix") or (name == "distribution" and len(classes) <= 20):
            assert_x_names_are_apart(axes)
        if name in ("per_class_accuracy", "confusion_matrix"):
            boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
            assert not any(overlap(*pair) for pair in combinations(boxes, 2))
        if name in ("pca", "tsne"):
            names = [text.get_window_extent() for text in axes.texts if text.get_text()]
            assert len(names) == len(classes) if len(classes) <= 20 else 5 <= len(names) <= 20
            assert not any(overlap(*pair) for pair in combinations(names, 2))


def test_class_distribution_draws_shares_and_tells_the_imbalance():
    figure = plots.class_distribution({"train": [30, 10], "test": [0, 5]}, ["cat", "dog"])
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [0.75, 0.25, 0.0, 1.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "train: 40 images, largest class 3.00 times the smallest",
        "test: 5 images, 1 without an image",
    ]


def test_class_distribution_of_many_classes_is_sorted_by_the_first_split():
    train, test = np.arange(1, 101), np.arange(100, 0, -1)
    (axes,) = plots.class_distribution({"train": list(train), "test": list(test)}, CLASSES["100"]).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), train[::-1] / 5050)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), test[::-1] / 5050)


@pytest.mark.parametrize(("right", "count"), [(95, 100), (0, 7), (10, 10), (981, 1000)])
def test_the_interval_is_wilsons(right, count):
    z, p = 1.959963984540054, right / count
    middle = (p + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    assert wilson(p, count) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_per_class_bars_their_intervals_and_an_axis_that_says_where_it_begins():
    figure = plots.per_class_accuracy([0.9, 1.0, math.nan], [100, 50, 0], ["a", "b", "c"], "title")
    (axes,) = figure.axes
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches] == [(0, 0.9), (1, 1.0)]
    bars = axes.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in bars], [wilson(0.9, 100), wilson(1.0, 50)])
    assert [text.get_text() for text in axes.texts] == ["90.0", "100.0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.get_legend().get_texts()[0].get_text() == "mean of the classes: 95.0 %"
    start = axes.get_ylim()[0]
    assert 0.7 < start < wilson(0.9, 100)[0]
    assert " ".join(axes.get_ylabel().split()) == f"accuracy, with 95 % interval (axis begins at {100 * start:.0f} %)"

    (axes,) = plots.per_class_accuracy([0.3, 1.0], [100, 50], ["a", "b"], "title").axes
    assert axes.get_ylim()[0] == 0 and " ".join(axes.get_ylabel().split()) == "accuracy, with 95 % interval"


def test_of_many_classes_the_worst_twenty_are_sorted_bars():
    accuracy = np.random.default_rng(0).permutation(100) / 100
    figure = plots.per_class_accuracy(accuracy, [200] * 100, CLASSES["100"], "title")
    (axes,) = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], np.arange(20) / 100)
    worst = [CLASSES["100"][k] for k in np.argsort(accuracy)[:20]]
    assert [label.get_text() for label in axes.get_yticklabels()] == worst
    low, high = axes.get_ylim()
    assert low > high, "the worst class is at the top"
    assert heading(figure) == "title\nthe 20 classes with the lowest accuracy, of 100"
    assert axes.get_legend().get_texts()[0].get_text() == "mean of all classes: 49.5 %"


def test_confusion_matrix_writes_every_count_and_colours_mistakes_alone():
    confusion = np.array([[1200, 3, 0], [4, 900, 1], [0, 0, 800]])
    (axes,) = plots.confusion_matrix(confusion, ["a", "b", "c"], "title").axes
    written = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1,200", (0, 1): "3", (1, 0): "4", (1, 1): "900", (1, 2): "1", (2, 2): "800"}
    colours = axes.images[0].get_array()
    assert np.isnan(np.ma.filled(colours, np.nan).diagonal()).all() and colours[1, 0] == 4 and axes.images[0].get_clim() == (0, 4)


def test_of_many_classes_the_most_confused_are_shown():
    confusion = np.diag(np.full(100, 50))
    for k in range(10):
        confusion[10 * k, 99 - 10 * k] = 3 + k  # 0 and 99, 10 and 89, ...
    confusion[1, 2] = 2  # rarer than any of those
    figure = plots.confusion_matrix(confusion, CLASSES["100"], "title")
    (axes,) = figure.axes
    shown = sorted({10 * k for k in range(10)} | {99 - 10 * k for k in range(10)})
    assert [label.get_text() for label in axes.get_yticklabels()] == [CLASSES["100"][k] for k in shown]
    assert sum(text.get_text() == "50" for text in axes.texts) == 20 and len(axes.texts) == 30
    assert heading(figure) == "title\nthe 20 classes of the most frequent confusions, of 100"


# ---- projections


@pytest.mark.parametrize("number", [2, 10, 20, 100])
def test_scatter_draws_every_point_in_its_classs_colour(number):
    labels = np.random.default_rng(0).integers(0, number, 300)
    points = np.random.default_rng(1).normal(size=(300, 2))
    (axes,) = plots.scatter(points, labels, [f"class {k}" for k in range(number)], "title").axes
    drawn = {}
    for collection in axes.collections:
        for point, colour in zip(collection.get_offsets(), collection.get_facecolors(), strict=True):
            drawn[tuple(point)] = to_hex(colour).upper()
    assert drawn == {tuple(point): plots.COLOURS[label % 10] for point, label in zip(points, labels, strict=True)}
    names = [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
    assert names == ([f"class {k}" for k in range(number)] if number <= 20 else [])


def test_scatter_names_the_largest_of_many_classes_at_their_medians():
    sizes = np.concatenate([np.full(20, 12), np.full(30, 3)])
    labels = np.repeat(np.arange(50), sizes)
    points = np.stack([labels % 4 * 10.0, labels // 4 * 10.0], 1)  # far apart
    (axes,) = plots.scatter(points, labels, [f"c{k}" for k in range(50)], "title").axes
    assert {text.get_text(): tuple(text.xy) for text in axes.texts if text.get_text()} == {
        f"c{k}": (k % 4 * 10.0, k // 4 * 10.0) for k in range(20)
    }


def test_names_at_one_median_move_apart_and_are_joined_to_it():
    labels = np.repeat(np.arange(10), 20)
    points = np.tile(np.random.default_rng(0).normal(size=(20, 2)), (10, 1))
    figure = plots.scatter(points, labels, FASHION, "title")
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in axes.texts if text.get_text()) == sorted(FASHION)
    lines = [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch is not None]
    assert len(lines) == 9
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert not any(overlap(*pair) for pair in combinations(boxes, 2))


def test_crosses_lie_on_the_misclassified_points():
    points = np.random.default_rng(0).normal(size=(40, 2))
    wrong = np.arange(40) % 8 == 0
    (axes,) = plots.scatter(points, np.arange(40) % 2, ["a", "b"], "title", wrong=wrong).axes
    np.testing.assert_array_equal(axes.collections[-1].get_offsets(), points[wrong])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "misclassified (5)"]


def test_points_without_classes_are_drawn_in_one_colour():
    figure = plots.scatter(np.random.default_rng(0).normal(size=(40, 2)), None, None, "PCA")
    (axes,) = figure.axes
    assert len(axes.collections[0].get_offsets()) == 40 and len(axes.collections[0].get_facecolors()) == 1
    assert not axes.texts and axes.get_legend() is None


@pytest.mark.parametrize("split", ["val", "test"])
def test_titles_quote_the_probe_and_the_split(split):
    figures = evaluated(DIGITS, split)
    confusion, _, _ = made(DIGITS)
    percent = f"{100 * np.trace(confusion) / confusion.sum():.2f}"
    assert {name: heading(figure) for name, figure in figures.items()} == {
        "per_class_accuracy": f"Linear probe on {split}: {percent} %",
        "confusion_matrix": f"Linear probe on {split}: {percent} %\nmost confused: 1 taken for 0, 3 times",
        "pca": f"PCA of 500 {split} embeddings",
        "tsne": f"t-SNE of 500 {split} embeddings",
    }


# ---- images


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 20, 60), (1, 60, 20), (2, 8, 8), (3, 224, 224)], ids=str)
def test_images_keep_their_pixels_and_proportions_and_titles_stay_apart(shape):
    rows = [torch.rand(4, *shape), torch.rand(3, *shape)]
    words = [["9 → 4", "Ankle boot → T-shirt/top", "herbaceous vegetation → permanent crop land and more", "1"]] * 2
    figure = plots.image_grid(rows, "A title that is far too long for one line " * 4, ["original", "a row with a rather long name"], words)
    (axes,) = figure.axes
    assert len(axes.images) == 7
    expected = rows[1][2] if shape[0] in (1, 3) else rows[1][2].mean(0, keepdim=True)
    np.testing.assert_allclose(axes.images[6].get_array(), expected.expand(3, -1, -1).permute(1, 2, 0).numpy(), atol=1e-6)
    assert_nothing_is_cut_off(figure)
    boxes = [image.get_window_extent() for image in axes.images]
    assert all(box.width / box.height == pytest.approx(shape[2] / shape[1], rel=1e-3) for box in boxes)
    boxes += [text.get_window_extent() for text in texts(figure)]
    assert len(boxes) == 7 + 7 + 2 + 1
    assert not any(overlap(*pair) for pair in combinations(boxes, 2))


def test_marked_titles_are_red():
    figure = plots.image_grid([torch.rand(2, 1, 8, 8)], "title", titles=[["right", "wrong"]], marked=[[False, True]])
    assert [text.get_color() for text in figure.axes[0].texts] == ["black", "#C00000"]


def test_views_of_any_size_stand_below_their_images_at_one_scale():
    images, whole, local = torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32), torch.rand(3, 3, 16, 16)
    figure = plots.augmented_views(images, [whole, local], ["view 1", "local view"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["image", "view 1", "local view"]
    shown = [image.get_window_extent() for image in axes.images]
    assert shown[6].width == pytest.approx(shown[0].width / 2) and shown[6].x0 + shown[6].x1 == pytest.approx(shown[0].x0 + shown[0].x1)
    np.testing.assert_allclose(axes.images[8].get_array(), local[2].permute(1, 2, 0).numpy(), atol=1e-6)


def test_faint_reconstructions_are_stretched_and_the_title_says_so():
    images = torch.linspace(0, 1, 4 * 64).reshape(4, 1, 8, 8)
    figure = plots.reconstructions(images, 0.25 * images + 0.1)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["original", "reconstructed"]
    np.testing.assert_allclose(axes.images[5].get_array(), axes.images[1].get_array(), atol=1e-5)
    assert " ".join(heading(figure).split()) == "Images and their reconstructions (contrast of the reconstructions raised 4.0 times)"
    for as_it_is in (0.9 * images, torch.full_like(images, 0.4)):
        figure = plots.reconstructions(images, as_it_is)
        assert "contrast" not in heading(figure)
        np.testing.assert_allclose(figure.axes[0].images[5].get_array()[..., 0], as_it_is[1, 0].numpy(), atol=1e-6)


def test_figures_need_neither_pyplot_nor_the_users_backend(tmp_path):
    program = """
import sys
from ssl_mnist import plots
plots.curves({"a": ([0, 1], [1, 2])}, "title", "value").savefig("a.png")
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = os.environ | {"MPLBACKEND": "module://no_such_backend", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("backend", "kept"), [("nope", False), ("svg", True)])
def test_no_backend_is_needed(backend, kept):
    """One that matplotlib does not know ends nothing; one that it knows is still the one that pyplot takes."""
    code = "import ssl_mnist.plots, matplotlib; print(matplotlib.get_backend())"
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | {"MPLBACKEND": backend}, capture_output=True, text=True)
    assert result.returncode == 0 and (result.stdout.strip() == backend) == kept, result.stderr
