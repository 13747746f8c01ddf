"""Corrupted images, calibration and transfer: what the numbers are, and that they are the same whoever asks twice."""

import dataclasses
import json
import shutil

import pytest
import torch
from conftest import CPU, SPEC, TINY, noise, summary_of
from synthetic_sweep import finished_run
from test_compare import page_of
from torch.nn import functional as F

from ssl_mnist import compose, config, plots
from ssl_mnist.build import build, make_evaluation, read_others
from ssl_mnist.checkpoint import load_encoder
from ssl_mnist.compare import compare_runs, read
from ssl_mnist.console import score_table
from ssl_mnist.data import Dataset, Split
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate import FeatureStore, evaluate
from ssl_mnist.evaluate.__main__ import evaluate_again
from ssl_mnist.evaluate.calibration import reliability
from ssl_mnist.evaluate.corruptions import Blur, Contrast, Corruption, Noise, Occlusion, Rotation, Scale, Shift, Stroke
from ssl_mnist.evaluate.linear import Linear
from ssl_mnist.evaluate.robustness import accuracies, mean_corruption_error
from ssl_mnist.evaluate.study import Case, before_training
from ssl_mnist.evaluate.transfer import Transfer, suited
from ssl_mnist.intervals import sampling_error
from ssl_mnist.pipeline import run

NONE = [Noise([0]), Blur([0]), Shift([0]), Rotation([0]), Scale([1]), Stroke([0]), Occlusion([0]), Contrast([1])]
STRENGTHS = {
    name: node
    for name, node in compose("evaluation=robustness")["evaluation"]["robustness"].items()
    if isinstance(node, dict)
}  # fmt: skip


def digits() -> Split:
    """200 real digits."""
    from ssl_mnist.data.packaged import _packaged

    images, labels = _packaged()
    return Split(images[:200], labels[:200])


def copies(corruption: Corruption, images: torch.Tensor, strength: float) -> torch.Tensor:
    return torch.cat(list(corruption.batches(images, strength)))


@pytest.mark.parametrize("corruption", NONE, ids=lambda corruption: type(corruption).__name__)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 36)])
def test_no_strength_changes_no_pixel(corruption, shape):
    images = torch.randint(256, (6, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert corruption.none == corruption.strengths[0]
    assert torch.equal(copies(corruption, images, corruption.none), images)


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_corruption_grows_with_its_strength_and_repeats(name):
    """At the strengths of the YAML file: images differ the more from the originals, always by the same copies."""
    from hydra.utils import instantiate

    corruption, images = instantiate(STRENGTHS[name]), digits().images
    made = [copies(corruption, images, strength) for strength in corruption.strengths]
    distances = [(each.float() - images.float()).square().mean().sqrt().item() for each in made]
    assert len(distances) == 5 and distances == sorted(distances) and distances[0] > 2
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert torch.equal(made[2], copies(corruption, images, corruption.strengths[2]))
    assert torch.equal(before, torch.get_rng_state())  # and disturb nobody's random numbers


def test_corruptions_are_what_they_say():
    dot = torch.zeros(400, 1, 29, 29, dtype=torch.uint8)
    dot[:, :, 14, 20] = 255  # 6 right of the centre
    axis = torch.arange(29.0) - 14

    def centre(images):
        mass = images[:, 0].float()
        total = mass.sum((1, 2))
        return torch.stack([(mass.sum(1) * axis).sum(1), (mass.sum(2) * axis).sum(1)]) / total  # x, y: (2, N)

    x, y = centre(copies(Shift([5]), dot, 5.0))
    torch.testing.assert_close(((x - 6) ** 2 + y**2).sqrt(), torch.full((400,), 5.0), atol=0.1, rtol=0)
    assert x.min() < 2 and x.max() > 10  # in all directions
    x, y = centre(copies(Rotation([30]), dot, 30.0))
    torch.testing.assert_close(y.abs(), torch.full((400,), 3.0), atol=0.1, rtol=0)
    assert 100 < (y > 0).sum() < 300
    bar = torch.zeros(400, 1, 29, 29, dtype=torch.uint8)
    bar[:, :, 9:20, 9:20] = 255  # 11 pixels a side
    side = copies(Scale([1.5]), bar, 1.5).float().sum((1, 2, 3)).div(255).sqrt()
    assert set(side.round().long().tolist()) == {7, 16}  # 11 / 1.5 and 11 * 1.5
    thick = copies(Stroke([2]), bar, 2.0)[:, 0, 14].float().sum(1) / 255
    assert set(thick.tolist()) == {7, 15}  # two pixels on each side
    white = torch.full((400, 1, 20, 20), 255, dtype=torch.uint8)
    assert set((copies(Occlusion([0.5]), white, 0.5) == 0).sum((1, 2, 3)).tolist()) <= {100, 81, 90, 110, 121}
    half = copies(Contrast([0.5]), bar, 0.5).float()
    spread, mean = bar.float().std((1, 2, 3)), bar.float().mean((1, 2, 3))
    torch.testing.assert_close(half.std((1, 2, 3)) / spread, torch.full((400,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(half.mean((1, 2, 3)), mean, atol=0.5, rtol=0)
    grey = torch.full((40, 1, 29, 29), 128, dtype=torch.uint8)
    assert copies(Noise([0.1]), grey, 0.1).float().std().item() == pytest.approx(25.5, rel=0.03)
    spot = copies(Blur([1.5]), dot[:1], 1.5)[0, 0].float()
    assert ((spot.sum(0) * (axis - 6) ** 2).sum() / spot.sum()).sqrt().item() == pytest.approx(1.5, abs=0.1)


def test_accuracy_falls_where_the_corruption_takes_what_the_classes_differ_in():
    """Two classes, a bright left or right half: the accuracy falls from 1 to chance with the contrast of noise that grows."""
    images = torch.zeros(600, 1, 8, 8, dtype=torch.uint8)
    labels = torch.arange(600) % 2
    images[labels == 0, :, :, :4], images[labels == 1, :, :, 4:] = 30, 30

    class Sides(Linear):
        def predict(self, tensors, features):
            return {"linear": features["embedding"].argmax(1)}

    from ssl_mnist.evaluate.base import Fitted

    probe = Fitted(Sides([1.0]), {}, {})
    found = []
    for strength in (0.0, 0.5, 2.0, 10.0):
        pixels = copies(Noise([1]), images, strength).float()
        sums = torch.stack([pixels[..., :4].sum((1, 2, 3)), pixels[..., 4:].sum((1, 2, 3))], dim=1)
        found.append(accuracies({"linear": probe}, {"embedding": sums}, labels)["linear"])
    assert found[0] == 1 and found == sorted(found, reverse=True) and 0.4 < found[-1] < 0.75


def test_mean_corruption_error_is_hendryckss():
    """Errors 0.1 + 0.3 of 0.2 + 0.6, and 0.2 + 0.4 of 0.2 + 0.2: (0.5 + 1.5) / 2."""
    error, undefined = mean_corruption_error({"a": [0.9, 0.7], "b": [0.8, 0.6]}, {"a": [0.8, 0.4], "b": [0.8, 0.8]})
    assert error == pytest.approx(1.0) and undefined == []
    error, undefined = mean_corruption_error({"a": [0.9, 0.7], "b": [0.8, 0.6]}, {"a": [0.8, 0.4], "b": [1.0, 1.0]})
    assert error == pytest.approx(0.5) and undefined == ["b"]
    assert mean_corruption_error({"a": [1.0]}, {"a": [1.0]}) == (None, ["a"])


def test_ece_is_guos():
    """Of two bins, (0, 1/2] and (1/2, 1]: confidences 0.5, 0.5 of which one is right, gap 0; 0.9, 0.7, 0.6 of which one is right,
    gap 0.4; so 3/5 * 0.4. A confidence of 1 lies in the last bin."""
    confidence = torch.tensor([0.5, 0.5, 0.9, 0.7, 0.6])
    probabilities = torch.stack([confidence, 1 - confidence], dim=1)
    labels = torch.tensor([0, 1, 0, 1, 1])
    found = reliability(probabilities, labels, 2)
    assert found.num.tolist() == [2, 3] and found.ece == pytest.approx(3 / 5 * (2.2 / 3 - 1 / 3))
    assert reliability(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 15).num.tolist() == [0] * 14 + [1]
    lists = reliability(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 2).lists()
    assert lists == {"num": [0, 1], "accuracy": [None, 1.0], "confidence": [None, 1.0]}


def test_probabilities_that_are_true_are_calibrated():
    """Labels that are drawn from the probabilities themselves; those of a sharper distribution are not."""
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 10, generator=draw)
    labels = torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]
    assert reliability(logits.softmax(1), labels, 15).ece < 0.015 < 0.1 < reliability((3 * logits).softmax(1), labels, 15).ece


# --- end to end -------------------------------------------------------------------------------------------------------------------------

FAST = (
    "evaluation=robustness", "evaluation.linear.l2=[1.0e-2]", "evaluation.transfer.data=[digits_8x8]",
    "evaluation.robustness.num_images=100", "evaluation.robustness.probes=[linear]", "evaluation.transfer.probes=[linear]",
    *(f"~evaluation.robustness.{name}" for name in STRENGTHS if name not in ("noise", "shift")),
)  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A run of no epochs: the untrained encoder."""
    folder = tmp_path_factory.mktemp("untrained") / "run"
    run(compose(*TINY, *FAST, "evaluation.num_points=50", "seed=3"), folder)
    return folder


def test_the_untrained_encoder_against_itself_is_one(untrained):
    summary = summary_of(untrained)
    assert summary["test/linear_mce"] == 1.0
    assert summary["scores"]["test/linear_mce"]["higher_is_better"] is False
    found = summary["test/robustness"]
    assert list(found["corruptions"]) == ["noise", "shift"] and found["num_images"] == 100
    probe = found["probes"]["linear"]
    assert probe["accuracy"] == probe["untrained"] and probe["clean"] == probe["untrained_clean"]
    values = [value for values in probe["accuracy"].values() for value in values]
    assert len(values) == 10 and summary["test/linear_corrupted_accuracy"] == pytest.approx(sum(values) / 10)
    assert probe["accuracy"]["shift"][0] > probe["accuracy"]["shift"][-1]
    assert 0 < summary["test/linear_ece"] < 0.5 and summary["test/linear_on_digits_8x8_accuracy"] > 0.8
    assert summary["scores"]["test/linear_on_digits_8x8_accuracy"]["num_images"] == 180
    for name in ("robustness", "corruptions", "reliability"):
        assert (untrained / "figures" / f"{name}.png").stat().st_size > 5000


def test_evaluated_twice_it_has_the_same_bits_and_figures_beside_it(untrained, tmp_path):
    folder = shutil.copytree(untrained, tmp_path / "run")
    shutil.rmtree(folder / "figures")
    (file,) = evaluate_again(folder, [*FAST, "evaluation.num_points=50"])
    first, again = summary_of(untrained), json.loads(file.read_text())
    assert again["scores"] == first["scores"]
    for key in [*first["scores"], "test/robustness", "test/calibration"]:
        assert again[key] == first[key]
    assert {path.name for path in file.with_suffix("").iterdir()} == {"corruptions.png", "reliability.png", "robustness.png"}


def test_an_untrained_encoder_is_the_one_that_a_run_of_its_seed_begins_with(untrained):
    begun = build(compose("data=mnist_5k", "evaluation=quick", "seed=3"), CPU, noise()).encoder.state_dict()
    encoder = load_encoder(untrained)
    found, others = (before_training(encoder, seed).state_dict() for seed in (3, 4))
    weights = [name for name in begun if name.endswith("weight") and begun[name].ndim > 1]
    assert weights and all(torch.equal(begun[name], found[name]) and not torch.equal(begun[name], others[name]) for name in weights)


def test_where_test_is_not_read_the_labels_of_val_fit_no_probe():
    """Val's labels are shuffled after the features are made: the probes that are judged on val stay the same."""
    data = noise(400, dataclasses.replace(SPEC, classes=["a", "b"]))
    (probe,) = [Linear([1.0])]
    probe.name = "linear"
    encoder = build(compose("data=mnist_5k", "evaluation=quick"), CPU, noise()).encoder
    store = FeatureStore(encoder, set(), 0, None, "")

    def fitted(dataset: Dataset):
        case = Case(evaluate({"linear": probe}, dataset, store, read_test=False), dataset, store, lambda: store, lambda e, d: store, {}, {})
        return case.evaluation.fitted["linear"].tensors["weight"], case.fitted(["linear"], store)["linear"].tensors["weight"]

    assert data.val.labels is not None
    other = dataclasses.replace(data, val=Split(data.val.images, 1 - data.val.labels))
    (leaking, honest), (leaking_other, honest_other) = fitted(data), fitted(other)
    assert torch.equal(honest, honest_other) and not torch.equal(leaking, leaking_other)


# --- transfer ---------------------------------------------------------------------------------------------------------------------------


def test_other_sizes_are_resized_and_other_channels_left_out():
    small = noise(20, dataclasses.replace(SPEC, height=16, width=16))
    own = dataclasses.replace(noise(), fingerprint="1" * 16)
    found = suited(small, own)
    assert found.train.images.shape == (20, 1, 28, 28) and found.note == "images of 16 x 16 pixels, resized to 28 x 28"
    expected = F.interpolate(small.train.images.float(), (28, 28), mode="bilinear")
    torch.testing.assert_close(found.train.images.float(), expected, atol=0.51, rtol=0)
    assert len(found.read_test()) == 40
    assert suited(dataclasses.replace(own, fingerprint="2" * 16), own).note is None
    with pytest.raises(UserError, match="its images have 3 channels, the encoder takes 1"):
        suited(noise(20, dataclasses.replace(SPEC, channels=3, mean=[0.5] * 3, std=[0.5] * 3)), own)
    with pytest.raises(UserError, match="it is the data set that was evaluated"):
        suited(own, own)
    with pytest.raises(UserError, match="its images have no labels"):
        suited(dataclasses.replace(small, spec=dataclasses.replace(SPEC, classes=None)), own)


def test_what_is_not_there_is_left_out_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_MNIST_DATA", str(tmp_path / "empty"))  # into which a run would download
    transfer = Transfer(["linear"], ["kmnist", "mnist", "digits_8x8"])
    found, left_out = read_others({"transfer": transfer}, noise(), CPU)
    assert list(found) == ["digits_8x8"] and not (tmp_path / "empty").exists()
    assert [line.split(":")[0] for line in left_out] == ["transfer to kmnist", "transfer to mnist"] and "\n" not in "".join(left_out)


@pytest.mark.parametrize(
    "override,words",
    [
        ("+evaluation.robustness.fog=[1]", "there is no setting evaluation.robustness.fog"),
        ("+evaluation.robustness.fog._target_=ssl_mnist.evaluate.corruptions.Fog", "corruptions has no Fog"),
        ("evaluation.robustness.noise.std=[]", "evaluation.robustness.*strengths must be a list of numbers in"),
        ("evaluation.robustness.rotation.degrees=[200]", r"strengths must be a list of numbers in \[0, 180\], got \[200\]"),
        ("evaluation.robustness.num_images=0", "num_images must be 1 or more"),
        ("evaluation.robustness.probes=[kmeans]", "evaluation.robustness.probes names kmeans; the evaluation's probes are linear, knn"),
        ("evaluation.calibration.num_bins=0", "num_bins must be in"),
        ("evaluation.transfer.data=[nothing]", "evaluation.transfer.data names nothing: .*nothing"),
        ("evaluation.transfer.data=[image_folder]", "evaluation.transfer.data names image_folder: data.root has to be given"),
        ("~evaluation.knn", "evaluation.robustness.probes names knn; the evaluation's probes are linear"),
    ],
)
def test_what_cannot_be_is_one_line(override, words):
    with pytest.raises(UserError, match=words) as error:
        settings = compose("data=mnist_5k", "evaluation=robustness", override)
        config.check(settings)
        make_evaluation(settings)[1]
    assert "\n" not in str(error.value)


def test_images_without_labels_or_of_another_size(untrained, tmp_path):
    folder = shutil.copytree(untrained, tmp_path / "run")
    with pytest.raises(UserError, match="takes images of height 28, the data has 16"):
        evaluate_again(folder, ["data=digits_8x8", *FAST])
    unlabelled = noise(40)
    unlabelled = dataclasses.replace(
        unlabelled,
        spec=dataclasses.replace(SPEC, classes=None),
        train=Split(unlabelled.train.images, None),
        val=Split(unlabelled.val.images, None),
    )
    settings = compose("data=mnist_5k", "evaluation=robustness", "pretrain.batch_size=20")
    built = build(settings, CPU, unlabelled)
    assert built.studies == {} and built.left_out == [
        "linear, knn: the images have no labels",
        "robustness, calibration, transfer: the images have no labels",
    ]


# --- what shows it ----------------------------------------------------------------------------------------------------------------------

ABOUT = {"noise": {"strength": "standard deviation", "strengths": [0.1, 0.2], "none": 0.0}}


def found_by(accuracy: float) -> dict:
    probe = {"title": "linear probe", "clean": accuracy, "accuracy": {"noise": [accuracy - 0.1, accuracy - 0.2]}}
    return {
        "num_images": 10,
        "corruptions": ABOUT,
        "probes": {"linear": probe | {"untrained_clean": 0.5, "untrained": {"noise": [0.4, 0.3]}}},
    }


def test_figures_draw_what_they_are_given():
    figure = plots.robustness(ABOUT, found_by(0.9)["probes"], "title")
    trained, before = figure.axes[0].lines
    assert trained.get_ydata() == pytest.approx([90, 80, 70]) and before.get_ydata() == pytest.approx([50, 40, 30])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "0.1", "0.2"]
    found = reliability(torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0, 0]), 5)
    figure = plots.reliability({"linear": {"title": "linear probe", "ece": found.ece} | found.lists()}, "test")
    assert [(bar.get_x(), bar.get_height()) for bar in figure.axes[0].patches] == [(pytest.approx(0.6), 0.0), (pytest.approx(0.8), 1.0)]
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == pytest.approx(1)


def test_a_score_that_is_no_accuracy_is_no_percentage(untrained):
    lines = score_table(summary_of(untrained)).splitlines()
    at = lines.index("lower is better")
    assert [line.split("  ")[0] for line in lines[at + 1 : at + 4]] == [
        "linear probe, mCE",
        "linear probe, ECE",
        "k-NN, k = 20, ECE",
    ]
    assert lines[at + 1].endswith("1.0000") and any(line.startswith("linear probe, corrupted") for line in lines[:at])


def test_the_page_shows_corruptions_of_the_runs_that_have_them(tmp_path):
    about = {"test/linear_accuracy": {"title": "linear probe", "higher_is_better": True},
             "test/linear_mce": {"title": "linear probe, mCE", "higher_is_better": False},
             "test/linear_on_x_accuracy": {"title": "linear probe, on x", "higher_is_better": True, "num_images": 100}}  # fmt: skip
    for number, (method, mce) in enumerate((("a", 0.8), ("b", 0.6))):
        values = {"test/linear_mce": mce, "test/linear_on_x_accuracy": 0.5, "test/robustness": found_by(0.9 + 0.05 * number)}
        finished_run(tmp_path, f"{number}", [f"method={method}"], 0.9 + 0.05 * number, scores=about, **values)
    finished_run(tmp_path, "2", ["method=c"], 0.9)
    finished_run(tmp_path, "3", ["method=d"], 0.9, **{"test/robustness": {"corruptions": {"<b>": 5}, "probes": []}})
    page = page_of(tmp_path)
    section = page[page.index("<h2>Corrupted images</h2>") :]
    assert section.count("plotly-graph-div") >= 1 and "<h3>noise</h3>" in section and '"name":"untrained"' in section
    assert "Without c, d: not evaluated on these corruptions" in section
    assert "[95.0,85.0,75.0]" in section.replace("84.99999999999999", "85.0").replace("85.00000000000001", "85.0")
    comparison = compare_runs(read(tmp_path))
    (mce,) = [score for score in comparison.scores if score.key == "test/linear_mce"]
    assert comparison.best_rows(mce.key, mce.higher) == {"b"}
    row = next(row for row in comparison.table if row["configuration"] == "a")
    assert row["test/linear_on_x_accuracy sampling95"] == sampling_error(0.5, 100)  # of 100 images, not of the split's 10,000
