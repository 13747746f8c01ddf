"""Errors one can look at: which images are shown, what a run keeps of its predictions, and what the comparison counts of them."""

import json
import sys

import numpy as np
import pytest
import torch
from conftest import TINY, command, summary_of
from synthetic_sweep import finished_run

from ssl_mnist import plots
from ssl_mnist.compare import compare_runs, read, write
from ssl_mnist.compare.__main__ import main
from ssl_mnist.compare.errors import Errors, errors_of, mean, pairs_table
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.errors import confused_pairs, furthest

DIGITS = [str(digit) for digit in range(10)]


# which images


def test_the_most_confused_pairs_are_those_of_the_confusion_matrix():
    draw = torch.Generator().manual_seed(0)
    labels, predicted = (torch.randint(4, (300,), generator=draw) for _ in range(2))
    pairs = confused_pairs(labels, predicted, 100)
    assert len(pairs) == 12 and [len(pair.images) for pair in pairs] == sorted((len(pair.images) for pair in pairs), reverse=True)
    for true, wrong, images in pairs:
        assert images.tolist() == [i for i in range(300) if labels[i] == true != wrong == predicted[i]]
    assert confused_pairs(labels, predicted, 3)[2].images.equal(pairs[2].images) and confused_pairs(labels, labels, 3) == []


def test_the_images_furthest_from_their_class_are_found():
    """Two classes around the two axes; image 1 lies on the other class's axis, image 3 halfway; lengths do not count."""
    bank, bank_labels = torch.tensor([[9.0, 1.0], [0.9, -0.1], [0.1, 2.0], [-1.0, 20.0]]), torch.tensor([0, 0, 1, 1])
    embeddings, labels = torch.tensor([[5.0, 0.0], [0.0, 1.0], [0.0, 0.1], [2.0, 2.0]]), torch.tensor([0, 0, 1, 1])
    found = furthest(embeddings, labels, bank, bank_labels, 2, 3)
    assert found.images.tolist()[:2] == [1, 3] and found.nearest.tolist()[0] == 0 ^ 1
    torch.testing.assert_close(found.distances[:2], torch.tensor([1.0, 1 - 0.5**0.5]), atol=1e-4, rtol=0)


# figures


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_a_pair_with_its_names_and_number(channels):
    long = "n01484850 great white shark, white shark, man-eater"
    pairs = [
        plots.Pair("4", "9", 1_212, torch.rand(10, channels, 8, 8)),
        plots.Pair(long, "9", 1, torch.rand(1, channels, 8, 8)),
    ]
    figure = plots.most_confused(pairs, "title")
    first, second = (" ".join(text.split()) for text in words(figure))
    assert first == "4 taken for 9, 1,212 times" and second.startswith("n01484850 great white") and second.endswith("… taken for 9, once")
    assert len(figure.axes[0].images) == 11
    figure.draw_without_rendering()
    assert all(text.get_window_extent().x0 >= 0 for text in figure.axes[0].texts)


def test_images_nearer_to_another_class_are_red():
    figure = plots.furthest(torch.rand(9, 1, 8, 8), ["cat"] * 9, ["cat", "dog", *["cat"] * 7], [0.5] * 9, "val")
    assert words(figure)[:2] == ["0.50 cat", "0.50 cat (dog?)"]
    assert [text.get_color() for text in figure.axes[0].texts][:3] == ["black", "#C00000", "black"]


def test_neighbours_of_another_class_are_red_and_counted():
    rows = [torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)]
    figure = plots.nearest_neighbours(rows, "test", [["4", "4", "9"], ["7", "7", "7"]])
    assert figure.get_suptitle().replace("\n", " ").endswith("3 of 4 are of the same class (others in red)")
    assert [text.get_color() for text in figure.axes[0].texts] == ["black", "black", "#C00000", "black", "black", "black"]
    assert not words(plots.nearest_neighbours(rows, "test"))


# a run


@pytest.mark.slow
def test_a_run_keeps_what_its_scores_are_made_of(tmp_path):
    """predictions.json gives the accuracy of the first probe and the most confused pair; nothing of it without labels."""
    result = command(*TINY, "evaluation.cache=true", "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary, kept = summary_of(tmp_path / "run"), json.loads((tmp_path / "run" / "predictions.json").read_text())
    true, predicted = np.array(kept["true"]), np.array(kept["predicted"])
    assert (kept["split"], kept["score"]) == ("test", "linear") and len(true) == summary["data/test_size"]
    assert (true == predicted).mean() == summary["test/linear_accuracy"]
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert {"most_confused", "furthest_from_class", "nearest_neighbours"} <= figures and "could not be drawn" not in result.stdout
    (found,) = read(tmp_path).runs
    (pair, count), *_ = sorted(found.predictions.errors.items(), key=lambda one: (-one[1], one[0]))
    assert summary["test/most_confused"] == f"{pair[0]} taken for {pair[1]}, {count} times"
    assert (tmp_path / "run" / "representations.npz").stat().st_size < 2**20


# the comparison


def predictions(errors, split="test", score="linear", per_class=20):
    """Of ten classes; errors: how many of a true class are taken for another."""
    true = [k for k in range(10) for _ in range(per_class)]
    predicted = list(true)
    for (a, b), count in errors.items():
        for i in [i for i in range(len(true)) if true[i] == a == predicted[i]][:count]:
            predicted[i] = b
    return {"split": split, "score": score, "true": true, "predicted": predicted}


COUNTS = {"rotation": [{(3, 9): 4, (6, 9): 1}, {(3, 9): 6, (6, 9): 1}, {(3, 9): 8, (9, 3): 3, (6, 9): 1}], "simclr": [{(6, 9): 2}] * 3}


@pytest.fixture
def six_runs(tmp_path):
    for number, (method, seed) in enumerate((method, seed) for method in COUNTS for seed in range(3)):
        folder = finished_run(tmp_path, f"{number}", [f"method={method}", f"seed={seed}"], 0.9, **{"data/test_size": 200})
        (folder / "predictions.json").write_text(json.dumps(predictions(COUNTS[method][seed])))
    return tmp_path


def test_the_pairs_that_differ_most_stand_first(six_runs):
    found = errors_of(compare_runs(read(six_runs)))
    assert isinstance(found, Errors) and found.missing == "" and found.of.num == 200
    assert found.differing() == [(3, 9), (6, 9), (9, 3)]  # by 6, 1 and 1
    assert found.counts("rotation", 3, 9) == [4, 6, 8] and found.between("rotation", 9, 3) == [4, 6, 11]
    assert found.totals("rotation") == [5, 7, 12] and found.rank("rotation", 9, 3) == (1, 45) and found.rank("rotation", 6, 9) == (2, 45)
    assert found.rank("rotation", 0, 1) == (3, 45)
    write(six_runs)
    page = (six_runs / "comparison.html").read_text()
    table = page[page.index("aria-label='Errors by pair of classes'") :]
    assert table.index("3 taken for 9") < table.index("6 taken for 9") and "<td data-value=6>6.0 ± 5.0</td>" in table
    assert "Errors among 200 test images by the linear probe" in page


def test_counts_have_the_interval_of_their_seeds():
    assert mean([4]) == "4" and mean([4, 1_000]) == "4 and 1,000"
    assert mean([4, 6, 8]) == f"6.0 ± {4.302653 * 2 / 3**0.5:.1f}"


def command_line(monkeypatch, *arguments):
    """`python -m ssl_mnist.compare <arguments>`, in this process."""
    monkeypatch.setattr(sys, "argv", ["ssl_mnist.compare", *map(str, arguments)])
    main()


def test_a_pair_is_counted_by_its_names(six_runs, monkeypatch, capsys):
    found = errors_of(compare_runs(read(six_runs)))
    rows = pairs_table(found, ["9,3"])
    assert rows[1] == ["9,3", "rotation", "3", "1.0 ± 4.3", "6.0 ± 5.0", "7.0 ± 9.0", "87.5 % of 8.0 ± 9.0", "1 of 45"]
    command_line(monkeypatch, six_runs, "--pairs", "3,9", "6,9")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5].startswith("classes  configuration") and lines[-4].startswith("3,9      rotation") and "87.5 % of" in lines[-4]
    with pytest.raises(SystemExit, match="ssl_mnist: 3,b is not two classes with a comma between them; the classes are 0, 1, "):
        command_line(monkeypatch, six_runs, "--pairs", "3,b")
    with pytest.raises(UserError, match="3,3 is not two classes"):
        pairs_table(found, ["3,3"])


GOOD = predictions({})
DAMAGED = {
    "": "is cut short or not JSON",
    '{"split": "test", ': "is cut short or not JSON",
    "[5]": "does not say whose predictions it holds",
    json.dumps(GOOD | {"split": "train"}): "does not say whose predictions it holds",
    json.dumps(GOOD | {"predicted": [0]}): "does not hold two equally long lists",
    json.dumps(GOOD | {"predicted": [10] * 200}): "holds numbers that are no classes of the data",
    json.dumps(GOOD | {"true": ["a"] * 200}): "holds numbers that are no classes of the data",
    json.dumps(GOOD | {"true": [True] * 200}): "holds numbers that are no classes of the data",
    json.dumps({"split": "test", "score": "linear", "true": [0], "predicted": [0]}): "is of another number of images",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_predictions_cost_the_runs_errors_and_one_warning(text, six_runs):
    (six_runs / "0" / "predictions.json").write_text(text)
    found = read(six_runs)
    assert found.warnings == [f"0/predictions.json {DAMAGED[text]}; the run's errors are left out"] and len(found.runs) == 6
    assert errors_of(compare_runs(found)).missing.startswith("5 of 6 runs: ")


def test_predictions_that_are_a_folder_or_missing(six_runs):
    (six_runs / "0" / "predictions.json").unlink()
    (six_runs / "0" / "predictions.json").mkdir()
    (six_runs / "1" / "predictions.json").unlink()
    found = read(six_runs)
    assert found.warnings == ["0/predictions.json is not a file; the run's errors are left out"]
    assert errors_of(compare_runs(found)).missing.startswith("4 of 6 runs: ")


def test_predictions_of_another_split_or_probe_are_not_mixed(six_runs):
    (six_runs / "4" / "predictions.json").write_text(json.dumps(predictions({}, split="val", per_class=500)))
    (six_runs / "5" / "predictions.json").write_text(json.dumps(predictions({}, score="knn")))
    found = errors_of(compare_runs(read(six_runs)))
    assert {name: len(seeds) for name, seeds in found.predictions.items()} == {"rotation": 3, "simclr": 1}


def test_without_predictions_the_page_says_why_and_names_the_pair_that_each_run_confuses(tmp_path, monkeypatch):
    finished_run(tmp_path, "0", ["seed=0"], 0.9)
    with pytest.raises(SystemExit, match=r"ssl_mnist: --pairs: no run holds predictions\.json"):
        command_line(monkeypatch, tmp_path, "--pairs", "3,9")
    page = (tmp_path / "comparison.html").read_text()
    assert "No table: no run holds predictions.json" in page and "seed 0: 4 taken for 9, 3 times" in page
