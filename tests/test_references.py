"""Floors and ceilings: encoders without a weight, training with labels and who may see them, what is kept and stands beside a sweep."""

import copy
import dataclasses
import json
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from conftest import CPU, METHODS, REFERENCES, REPOSITORY, SPEC, TINY, command, experiment, noise, settings
from sklearn.decomposition import PCA as Sklearns
from synthetic_sweep import finished_run

from ssl_mnist import compose, load_encoder, references
from ssl_mnist.checkpoint import save_encoder
from ssl_mnist.compare import read, report
from ssl_mnist.compare.references import References, find, names
from ssl_mnist.compare.sections.labels import section as label_section
from ssl_mnist.data import Split
from ssl_mnist.data.stored import Stored
from ssl_mnist.encoders import MLP, PCA, Pixels, fixed
from ssl_mnist.errors import UserError
from ssl_mnist.methods import Method
from ssl_mnist.methods.base import losses
from ssl_mnist.training.loop import pretrain

IMAGES = noise().train.images


def stored(images, path):
    """The same images in a file."""
    path.write_bytes(images.numpy().tobytes())
    return Stored(path, tuple(images.shape), torch.device("cpu"))


# --- encoders without a weight ----------------------------------------------------------------------------------------------------------


def test_pixels_are_the_image_itself():
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(Pixels(SPEC).eval()(images), images.flatten(1))


@pytest.mark.parametrize("max_matrix", [4096, 100], ids=["covariance", "randomised"])
def test_components_are_scikit_learns(max_matrix, tmp_path, monkeypatch):
    """Up to their sign, by both ways, of images in memory and in a file. The spectrum falls as that of images does."""
    monkeypatch.setattr(fixed, "MAX_MATRIX", max_matrix)
    draw = torch.Generator().manual_seed(0)
    factors = torch.randn(1500, 12, generator=draw) * 40 * 0.7 ** torch.arange(12)
    images = (factors @ torch.linalg.qr(torch.randn(784, 12, generator=draw))[0].T * 3 + 128).clamp(0, 255).byte().view(-1, 1, 28, 28)
    encoder, other = PCA(6, SPEC).eval(), PCA(6, SPEC).eval()
    assert encoder(images[:2].float() / 255).isnan().all()  # nothing is known yet
    encoder.prepare(images)
    other.prepare(stored(images, tmp_path / "images.u8"))
    torch.testing.assert_close(encoder(images.float() / 255), other(images.float() / 255))
    expected = Sklearns(6, svd_solver="full").fit(images.flatten(1).double().numpy() / 255)
    cosines = (encoder.components.double() * torch.from_numpy(expected.components_)).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(6, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.pixel_mean.double(), torch.from_numpy(expected.mean_), atol=1e-5, rtol=0)


def test_large_images_have_components_too_and_come_back_from_disk(tmp_path):
    """3 x 96 x 96 pixels, whose covariance would be 3 GB."""
    spec = dataclasses.replace(SPEC, channels=3, height=96, width=96, mean=[0.5] * 3, std=[0.2] * 3)
    encoder, images = PCA(8, spec), torch.randint(256, (40, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoder.prepare(images)
    gram = encoder.components @ encoder.components.T
    torch.testing.assert_close(gram, torch.eye(8), atol=1e-5, rtol=0)
    encoder.arguments = {"num_components": 8}
    save_encoder(encoder, tmp_path / "encoder.pt", "pca", "0" * 16)
    floats = images.float() / 255
    assert torch.equal(load_encoder(tmp_path)(floats), encoder.eval()(floats))


@pytest.mark.parametrize("option", ["pixels", "pca"])
def test_an_untrained_one_is_itself(option):
    """For the probe that trains the same network from scratch."""
    encoder = experiment(f"encoder={option}").encoder.eval()
    encoder.prepare(IMAGES)
    images = IMAGES[:3].float() / 255
    assert torch.equal(encoder.untrained().eval()(images), encoder(images))


def test_few_pixels_have_as_many_components():
    assert PCA(128, dataclasses.replace(SPEC, height=4, width=5)).dim == 20
    with pytest.raises(UserError, match=r"encoder.num_components must be in 2\.\.4,096, got 1"):
        PCA(1, SPEC)


@pytest.mark.parametrize(("method", "kind"), [("raw_pixels", Pixels), ("pca", PCA)])
def test_a_method_brings_its_encoder(method, kind):
    """Whatever the command line says of the encoder, so that experiment=references takes any."""
    composed = compose(f"method={method}", "encoder=resnet18")
    assert composed["choices"]["encoder"] == kind.__name__.lower() and "encoder" not in composed["method"]
    assert type(experiment(f"method={method}", "encoder=resnet18").encoder) is kind
    assert compose("method=pca", "method.encoder.num_components=9")["encoder"]["num_components"] == 9


def test_components_are_found_before_the_first_step_and_no_step_is_taken():
    built = experiment("method=pca", "pretrain.epochs=3")
    assert list(pretrain(built)) == [] and built.num_steps == 0
    assert built.encoder.eval()(IMAGES[:4].float() / 255).isfinite().all()


def test_untrained_is_where_every_method_begins():
    first, second = (experiment(f"method={name}", "seed=5").encoder.state_dict() for name in ("untrained", "simclr"))
    assert all(torch.equal(first[name], second[name]) for name in first)


# --- who may see labels -----------------------------------------------------------------------------------------------------------------


class Spy(Method):
    """Remembers the outputs that its loss was handed, with the batch among them."""

    num_views = 1

    def __init__(self):
        super().__init__(MLP([4], SPEC))
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, images, views):
        return {"loss": self.weight * 1.0, "images": images}

    def loss(self, outputs):
        self.seen.append(outputs)
        return {"loss": outputs["loss"]}


class SupervisedSpy(Spy):
    supervised = True


def spied(kind, train, unlabelled=None):
    """What a method sees in two epochs."""
    dataset = dataclasses.replace(noise(), train=train, unlabelled=unlabelled)
    built = experiment("augmentation=none", "pretrain.epochs=2", dataset=dataset)
    method = kind()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    list(pretrain(dataclasses.replace(built, method=method, optimizer=optimizer, schedule=schedule)))
    return method.seen


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_supervised_method_gets_the_label_of_each_image_and_no_other_gets_any(in_a_file, tmp_path):
    """Every image is as grey as its label says."""
    labels = torch.arange(130) % 10
    images = (labels.byte() * 20).view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous()
    train = Split(stored(images, tmp_path / "images.u8") if in_a_file else images, labels)
    seen = spied(SupervisedSpy, train, unlabelled=IMAGES)
    assert len(seen) == 12
    for outputs in seen:
        assert (outputs["images"][:, 0, 0, 0] * 255 / 20).round().long().tolist() == outputs["labels"].tolist()
    assert sum(len(set(outputs["labels"].tolist())) for outputs in seen) > 60  # in an order at random
    assert all(set(outputs) == {"loss", "images"} for outputs in spied(Spy, train))


def test_labels_are_refused_where_the_class_does_not_say_supervised():
    images = torch.rand(4, 1, 28, 28)
    with pytest.raises(ValueError, match="labels are for supervised methods, and for them alone"):
        losses(Spy(), images, (images,), CPU.autocast(), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="supervised is True"):
        losses(SupervisedSpy(), images, (images,), CPU.autocast())
    classes = {name: composed_for(name)["method"]["_target_"].rpartition(".") for name in (*METHODS, *REFERENCES)}
    kinds = {name: getattr(import_module(module), kind) for name, (module, _, kind) in classes.items()}
    assert {name for name, kind in kinds.items() if kind.supervised} == {"supervised"}
    assert {name for name, kind in kinds.items() if kind.reference} == set(REFERENCES) == set(names())
    assert not experiment("method=simclr").labels and experiment("method=supervised").labels is not None


@pytest.mark.parametrize("method", [*METHODS, "pca", "supervised"])
def test_shuffled_labels_change_what_is_supervised_and_nothing_else(method):
    data = noise()
    shuffled = dataclasses.replace(data, train=Split(data.train.images, data.train.labels.roll(1)))
    first, second = (experiment(f"method={method}", "pretrain.epochs=1", dataset=each) for each in (data, shuffled))
    rows = [list(pretrain(built)) for built in (first, second)]
    weights = [built.method.state_dict() for built in (first, second)]
    same = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert same == (method != "supervised")
    assert [row["pretrain/loss"] for row in rows[0]] == [row["pretrain/loss"] for row in rows[1]] or method == "supervised"


def test_supervised_learns_labels():
    """Cross-entropy of the head on one view: it falls from that of guessing."""
    built = experiment("method=supervised", "pretrain.epochs=12", "augmentation=none", "optimizer.lr=1e-2")
    rows = list(pretrain(built))
    assert rows[0]["pretrain/loss"] == pytest.approx(2.3, abs=0.5) and rows[-1]["pretrain/loss"] < 1.5
    assert rows[-1]["pretrain/accuracy"] > 0.5


def test_images_without_labels_are_refused_in_a_line():
    data = noise()
    spec = dataclasses.replace(SPEC, classes=None)
    bare = dataclasses.replace(data, spec=spec, train=Split(data.train.images, None), val=Split(data.val.images, None))
    with pytest.raises(UserError, match=r"^method=supervised needs labels, and these images have none"):
        experiment("method=supervised", dataset=bare)


def test_comparing_methods_leaves_the_references_out():
    content = yaml.safe_load((REPOSITORY / "conf" / "experiment" / "compare_methods.yaml").read_text())
    assert content["hydra"]["sweeper"]["params"]["method"] == f"glob(*,exclude=[{','.join(REFERENCES)}])"


# --- what is kept and stands beside a sweep ---------------------------------------------------------------------------------------------

ACCURACY = {"raw_pixels": 0.917, "pca": 0.905, "untrained": 0.93, "supervised": 0.995}


def composed_for(method: str) -> dict:
    return settings("evaluation=quick", f"method={method}")  # composed once a method


def job(sweep: Path, place: str, accuracy: float, made: dict, *overrides: str, code: str = "1", summary=None, **record) -> Path:
    """The folder of a finished run of these settings, which was never run. record: changes of run.json."""
    content = {
        "settings": {key: value for key, value in made.items() if key not in ("choices", "overrides")},
        "choices": made["choices"],
        "identity_parts": {"settings": {}, "code": {"evaluate/linear.py": code, "methods/simclr.py": code}, "versions": {"torch": "2"}},
    }
    weights = 0 if made["encoder"]["_target_"].endswith(("PCA", "Pixels")) else 9
    facts = {"pretrain/steps": 0 if made["method"]["_target_"].endswith("Untrained") else 100, "model/parameters": weights}
    return finished_run(sweep, place, list(overrides), accuracy, content | record, **facts | (summary or {}))


def method_job(sweep: Path, method: str, seed: int = 0, accuracy: float = 0.96, changes=None, **more) -> Path:
    """Of a method; changes: values by dotted key."""
    made = copy.deepcopy(composed_for(method)) | {"seed": seed}
    for key, value in (changes or {}).items():
        *groups, last = key.split(".")
        node = made
        for group in groups:
            node = node[group]
        node[last] = value
    words = ["evaluation=quick", f"method={method}", f"seed={seed}", *(f"{key}={value}" for key, value in (changes or {}).items())]
    return job(sweep, str(len(list(sweep.glob("*")))), accuracy, made, *words, **more)


def reference(folder: Path, method: str, seed: int = 0, changes=None, summary=None, **more) -> None:
    """Have one kept."""
    kind = {"reference": "ceiling" if method == "supervised" else "floor"}
    assert references.keep(method_job(folder, method, seed, ACCURACY[method], changes, summary=kind | (summary or {}), **more))


@pytest.fixture
def methods(tmp_path):
    """A sweep of two methods, two seeds each."""
    for method, accuracy in (("rotation", 0.96), ("simclr", 0.97)):
        for seed in (0, 1):
            method_job(tmp_path / "sweep", method, seed, accuracy)
    return tmp_path / "sweep"


def found_for(sweep: Path) -> References:
    return find(read(sweep).runs, None)


def beside(sweep: Path, **options) -> list[str]:
    """What stands beside a sweep in its files."""
    report(sweep, **options)
    return [row["configuration"] for row in json.loads((sweep / "comparison.json").read_text())["references"]]


def test_references_stand_beside_a_sweep_and_are_not_part_of_it(methods, tmp_path, capsys):
    """In the console, the CSV file, the JSON file, the page's tables and its plot; neither ranked, marked as best nor judged."""
    report(methods)
    before = capsys.readouterr().out
    assert "references not yet made" in before
    assert "\n  python -m ssl_mnist experiment=references data=mnist_5k evaluation=quick\n" in before
    for method in REFERENCES:
        reference(tmp_path / "made", method)
    reference(tmp_path / "made", "untrained", seed=1)
    comparison, _ = report(methods)
    printed = capsys.readouterr().out
    table = printed[printed.index("configuration") :]
    assert "not yet made" not in printed and "99.50*" not in table and "97.00" in table
    order = [line.split()[0] for line in table.splitlines() if line.split() and line.split()[0] in (*METHODS, *REFERENCES)]
    assert order == ["rotation", "simclr", *REFERENCES] and "\nreferences ---" in table
    assert comparison.answer.startswith("simclr is ahead") and comparison.ranking == ["simclr", "rotation"]
    content = json.loads((methods / "comparison.json").read_text())
    assert [row["configuration"] for row in content["configurations"]] == ["rotation", "simclr"]
    found = {row["configuration"]: row for row in content["references"]}
    assert list(found) == list(REFERENCES) and found["untrained"]["n"] == 2 and found["supervised"]["reference"] == "ceiling"
    assert found["raw_pixels"]["test/linear_accuracy mean"] == pytest.approx(0.917)
    assert {name for verdict in content["verdicts"] for name in (verdict["first"], verdict["second"])} == {"rotation", "simclr"}
    lines = (methods / "comparison.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["rotation", ""], ["simclr", ""], *([name, found[name]["reference"]] for name in REFERENCES)
    ]  # fmt: skip
    page = (methods / "comparison.html").read_text()
    body = page[page.index("<tbody class=references>") :]
    assert all(name in body[: body.index("</tbody>")] for name in REFERENCES) and "class=best" not in body[: body.index("</tbody>")]
    shapes = page[page.index("Accuracy against time") :]
    assert all(f"{name} {100 * accuracy:.2f}" in shapes for name, accuracy in ACCURACY.items())


def budgets(*ways: str) -> dict:
    """Scores of three label budgets in a summary."""
    found = {f"test/{way}_{num}_labels_accuracy": (f"{way}, {num} labels", 0.5 + num / 1000) for way in ways for num in (10, 50, 100)}
    titles = {key: {"title": title, "higher_is_better": True} for key, (title, _) in found.items()}
    linear = {"title": "linear probe", "higher_is_better": True}
    return {key: value for key, (_, value) in found.items()} | {"scores": titles | {"test/linear_accuracy": linear}}


def test_curves_of_label_budgets_have_dashed_lines_of_the_references(tmp_path):
    """Of the ways that the sweep has, and no others."""
    method_job(tmp_path / "sweep", "simclr", summary=budgets("spreading"))
    reference(tmp_path / "made", "pca", summary=budgets("spreading", "tuning"))
    comparison, _ = report(tmp_path / "sweep")
    (panels, _) = label_section(comparison).parts
    assert list(panels.plots) == ["spreading"]
    drawn = panels.plots["spreading"].markup
    assert drawn.count('"name":"pca (reference)"') == drawn.count('"name":"simclr"') == 1 and '"dash":"dash"' in drawn


def test_references_can_be_left_out(methods, tmp_path, capsys):
    reference(tmp_path / "made", "pca")
    assert beside(methods) == ["pca"] and beside(methods, references=False) == []
    method_job(tmp_path / "without", "simclr", changes={"compare.references": False})
    capsys.readouterr()
    assert beside(tmp_path / "without") == [] and "not yet made" not in capsys.readouterr().out


def test_what_the_sweep_holds_itself_is_shown_once(methods, tmp_path):
    for method in ("pca", "untrained"):
        reference(tmp_path / "made", method)
    method_job(methods, "untrained", 0, 0.94, summary={"reference": "floor"})
    assert beside(methods) == ["pca"]
    page = (methods / "comparison.html").read_text()
    assert "untrained 94.00" in page and "floor: no training" in page  # a line for it as well


FLOORS = {"raw_pixels", "pca", "untrained"}


@pytest.mark.parametrize(
    ("changes", "still"),
    [
        ({"encoder": {"_target_": "ssl_mnist.encoders.MLP", "widths": [4]}}, {"raw_pixels", "pca"}),
        ({"evaluation.knn.k": 5}, set()),
        ({"evaluation.tta": 1}, set()),
        ({"data.num_val": 7}, set()),
        ({"evaluation.kmeans": {"_target_": "ssl_mnist.evaluate.kmeans.ClusterProbe"}}, set(REFERENCES)),  # a probe more than the sweep has
        ({"evaluation.num_points": 60, "pretrain.log_every": 3, "device": "cpu", "evaluation.test": False}, set(REFERENCES)),
        ({"pretrain.epochs": 3}, FLOORS),
        ({"augmentation": {"_target_": "ssl_mnist.augment.Augmentation"}}, FLOORS),
        ({"optimizer.lr": 1.0}, FLOORS),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_only_what_was_made_in_the_same_way_stands_beside(changes, still, methods, tmp_path):
    for method in REFERENCES:
        own = {key: value for key, value in changes.items() if key != "encoder" or method in ("untrained", "supervised")}
        reference(tmp_path / "made", method, changes=own)
    assert set(found_for(methods).runs) == still


def test_one_with_fewer_probes_stands_beside_until_one_with_all_is_kept(methods, tmp_path):
    more = {"evaluation.kmeans": {"_target_": "ssl_mnist.evaluate.kmeans.ClusterProbe"}}
    method_job(tmp_path / "more", "simclr", changes=more)
    reference(tmp_path / "made", "pca")
    found = found_for(tmp_path / "more")
    assert list(found.runs) == ["pca"] and "pca" in found.missing and "experiment=references" in found.command  # which makes it with all
    assert found.line == "not yet made for this data, encoder and evaluation: raw_pixels, untrained, supervised; " \
        "evaluated with fewer probes: pca; to make them:"  # fmt: skip
    reference(tmp_path / "made", "pca", changes=more)
    found = found_for(tmp_path / "more")
    assert list(found.runs) == ["pca"] and "pca" not in found.missing and "fewer" not in found.line
    assert "evaluation.kmeans._target_" in found.runs["pca"][0].settings


def test_other_data_is_not_even_read(methods, tmp_path, monkeypatch):
    """Whatever is kept for other data, a look at the folder of this data is all."""
    reference(tmp_path / "made", "pca")
    reference(tmp_path / "made", "raw_pixels", summary={"data/fingerprint": "e" * 16})
    read = []
    monkeypatch.setattr(references, "read_json", lambda path: read.append(path) or json.loads(path.read_text()))
    assert list(found_for(methods).runs) == ["pca"]
    assert [path.parent.name for path in read] == ["d" * 16] and read[0].is_relative_to(tmp_path / "home" / "cache")


def test_what_is_damaged_or_foreign_is_named_and_left_out(methods, tmp_path, capsys):
    for method in ("pca", "raw_pixels", "untrained"):
        reference(tmp_path / "made", method)
    folder = references.home() / ("d" * 16)
    pca, raw = folder.glob("pca-*"), folder.glob("raw_pixels-*")
    next(pca).write_text("{")
    path = next(raw)
    path.write_text(path.read_text().replace("0.917", "0.999"))  # no longer what its checksum says
    (folder / "notes.json").write_text('{"format": 1}')
    (folder / "notes.txt").write_text("mine")
    assert beside(methods) == ["untrained"]
    printed = capsys.readouterr().out
    assert printed.count("is damaged, or not ours; it is left out") == 3 and "notes.txt" not in printed


def test_a_place_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSL_MNIST_REFERENCES", str(tmp_path / "file"))
    made = method_job(tmp_path / "made", "pca", summary={"reference": "floor"})
    assert references.keep(made) is None and "is not kept for later comparisons" in caplog.text
    assert references.keep(method_job(tmp_path / "made", "simclr")) is None  # no reference


def test_what_other_code_made_is_shown_with_a_note(methods, tmp_path):
    """Code of another method is none of it; and what today's code made takes the place of what yesterday's did."""
    other = {"code": {"evaluate/linear.py": "1", "methods/simclr.py": "x"}, "versions": {"torch": "2"}}
    reference(tmp_path / "made", "pca", identity_parts=other)
    reference(tmp_path / "made", "untrained", code="0", identity="old", started="2027-01-01T00:00:00+00:00")
    found = found_for(methods)
    assert list(found.runs) == ["pca", "untrained"]
    assert found.notes == {"untrained": "made with other code or versions (code of evaluate/linear.py)"}
    reference(tmp_path / "made", "untrained", identity="new")
    found = found_for(methods)
    assert found.notes == {} and [run.record["identity"] for run in found.runs["untrained"]] == ["new"]


def test_one_method_in_two_ways_has_a_row_each(tmp_path):
    for epochs in (3, 1):
        method_job(tmp_path / "sweep", "simclr", changes={"pretrain.epochs": epochs})
        reference(tmp_path / "made", "supervised", changes={"pretrain.epochs": epochs})
    assert list(found_for(tmp_path / "sweep").runs) == ["supervised pretrain.epochs=1", "supervised pretrain.epochs=3"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=autoencoder"],
        ["method=simclr", "experiment=best", "seed=3", "method.temperature=0.5"],
        [
            "method=rotation",
            "experiment=[compare_methods,smoke]",
            "encoder.widths=[8,16]",
            "encoder.strides=[2,2]",
            "tracking.mode=disabled",
        ],
        ["method=simclr", "data=digits_8x8", "augmentation=digits", "augmentation.omit=null", "evaluation.knn.k=7", "device=cpu"],
    ],
)
def test_the_command_makes_what_is_missing(overrides, tmp_path):
    """Composed, it has the run's data, encoder, evaluation and recipe."""
    wanted = settings("evaluation=quick", *overrides)
    job(tmp_path / "sweep", "0", 0.9, wanted, "data=mnist_5k", "evaluation=quick", *overrides)
    found = found_for(tmp_path / "sweep")
    assert found.missing == list(REFERENCES)
    words = shlex.split(found.command)
    assert words[:3] == ["python", "-m", "ssl_mnist"] and not any(word.startswith(("method", "seed", "tracking")) for word in words)
    composed = compose(*words[3:], "method=supervised")
    for group in ("data", "encoder", "evaluation", "augmentation", "optimizer", "pretrain"):
        assert composed[group] == wanted[group], group


@pytest.mark.nightly
def test_the_experiment_makes_them_and_a_later_sweep_shows_them(tmp_path):
    """A sweep without -m; raw pixels and PCA once for all seeds; then they stand beside a sweep, and resume= takes one job."""
    made = command("experiment=[references,smoke]", *TINY[1:], "seed=0,1", "hydra.sweep.dir=all", cwd=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "references not yet made" not in made.stdout
    kept = sorted(path.name[: path.name.index("-s") + 3] for path in (tmp_path / "home" / "cache").rglob("references/*/*.json"))
    assert kept == ["pca-s0", "raw_pixels-s0", "supervised-s0", "supervised-s1", "untrained-s0", "untrained-s1"]
    sweep = command("-m", "method=simclr", *TINY, "hydra.sweep.dir=methods", cwd=tmp_path)
    content = json.loads((tmp_path / "methods" / "comparison.json").read_text())
    assert sweep.returncode == 0 and [row["configuration"] for row in content["references"]] == list(REFERENCES)
    untrained = next(row for row in content["references"] if row["configuration"] == "untrained")
    assert untrained["test/linear_accuracy mean"] != content["configurations"][0]["test/linear_accuracy mean"]  # of two seeds
    first = next((tmp_path / "all").glob("*-untrained"))
    again = command(f"resume={first}", cwd=tmp_path)
    assert again.returncode == 0 and "done    already in" in again.stdout and not (tmp_path / "outputs" / "sweeps").exists()
