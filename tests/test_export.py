"""Exported models compute what the encoder and its probe do, in the program that reads them."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, SPEC, TINY, command, experiment, summary_of
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch.nn import functional as F

from ssl_mnist import compose, load_encoder
from ssl_mnist.data import as_float, packaged_5k
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.__main__ import evaluate_again
from ssl_mnist.export.__main__ import FORMATS, export, main
from ssl_mnist.export.model import Exported
from ssl_mnist.export.onnx import to_onnx
from ssl_mnist.export.probe import kept_probe
from ssl_mnist.export.torch_export import to_torch_export
from ssl_mnist.pipeline import run

onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {  # each class of encoders in a size that exports in a second or two
    **{f"resnet{depth}": ["encoder.width=8"] for depth in (9, 18, 34, 50)},
    "vit_tiny": ["encoder.dim=48", "encoder.depth=2", "encoder.mlp_dim=96"],
    "mlp": ["encoder.widths=[32,16]"],
    "pca": ["method=pca"],
    "pixels": ["method=raw_pixels"],
}
ENCODERS = sorted(path.stem for path in (REPOSITORY / "conf" / "encoder").glob("*.yaml"))


def encoder_of(name: str) -> Encoder:
    """One encoder a file of conf/encoder, its BatchNorm statistics not those of its start."""
    if name == "timm":
        pytest.importorskip("timm")
    chosen = [] if name in ("pca", "pixels") else [f"encoder={name}"]
    torch.manual_seed(0)
    made = experiment(*chosen, *SMALL.get(name, []))
    made.encoder.prepare(made.images)
    made.encoder.train()(torch.rand(64, 1, 28, 28))
    return made.encoder.requires_grad_(False).eval()


def probe_for(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {"mean": torch.randn(encoder.dim), "std": torch.rand(encoder.dim) + 0.5,
            "weight": torch.randn(10, encoder.dim) / encoder.dim, "bias": torch.randn(10)}  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
def test_onnx_computes_what_the_encoder_and_the_probe_do(name, tmp_path):
    """For any batch size, to 1e-4; the probe's by its formula, softmax(W (x - mean) / std + b)."""
    encoder = encoder_of(name)
    probe = probe_for(encoder)
    to_onnx(encoder, tmp_path / "model.onnx", probe)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [each.name for each in session.get_outputs()] == ["embedding", "probabilities"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == SPEC.classes
    for num in (1, 3, 64):
        images = torch.rand(num, 1, 28, 28)
        embedding, probabilities = session.run(None, {"images": images.numpy()})
        expected = encoder(images)
        logits = F.linear((expected - probe["mean"]) / probe["std"], probe["weight"], probe["bias"])
        assert np.abs(embedding - expected.numpy()).max() < 1e-4
        assert np.abs(probabilities - logits.softmax(1).numpy()).max() < 1e-4


def test_a_model_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    encoder = encoder_of("conv")
    before = tmp_path / "model.onnx"
    before.write_text("a user's own")
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda self, names, inputs: [np.zeros((len(inputs["images"]), encoder.dim))])
    with pytest.raises(UserError, match="Conv cannot be exported: the exported model's embedding differs by"):
        to_onnx(encoder, tmp_path / "model.onnx")
    assert before.read_text() == "a user's own" and list(tmp_path.iterdir()) == [before]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of no epoch, whose probes are kept."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(compose(*TINY, "evaluation.test=true", "evaluation.cache=true"), folder)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def accuracy_of(probe, encoder):
    test = packaged_5k(500, 500, SPEC, torch.device("cpu")).read_test()
    probabilities = Exported(encoder, probe)(as_float(test.images))[1]
    return (probabilities.argmax(1) == test.labels).float().mean().item()


def test_the_probe_is_the_one_of_the_runs_scores(folder):
    """Its accuracy on test is the summary's, though a later evaluation fitted another one."""
    (first,) = (folder / "probes").glob("linear-*")
    evaluate_again(folder, ["evaluation=quick", "evaluation.linear.l2=[10.0]", "evaluation.num_points=50"])
    assert len(list((folder / "probes").glob("linear-*"))) == 2
    encoder = load_encoder(folder)
    own = accuracy_of(kept_probe(folder, encoder), encoder)
    assert own == pytest.approx(summary_of(folder)["test/linear_accuracy"])
    first.unlink()
    assert accuracy_of(kept_probe(folder, encoder), encoder) < own


def test_a_probe_of_another_encoder_is_not_taken(folder):
    encoder = load_encoder(folder)
    encoder.get_parameter("layers.0.0.weight").add_(1)
    with pytest.raises(UserError, match=r"run keeps no linear probe; python -m ssl_mnist.evaluate .*run fits one"):
        kept_probe(folder, encoder)


def read_onnx(place, images):
    session = onnxruntime.InferenceSession(place / "model.onnx")
    return session.run(None, {"images": images.numpy()})


def read_torch_export(place, images):
    return [each.detach().numpy() for each in torch.export.load(place / "model.pt2").module()(images)]


def read_safetensors(place, images):
    embedding = load_encoder(place)(images)
    probe = load_file(place / "model.safetensors")
    logits = F.linear((embedding - probe["probe.mean"]) / probe["probe.std"], probe["probe.weight"], probe["probe.bias"])
    return [embedding.numpy(), logits.softmax(1).numpy()]


READ = {"onnx": read_onnx, "torch_export": read_torch_export, "safetensors": read_safetensors, "hub": read_safetensors}
WEIGHTS = "model.safetensors"
FILES = {"onnx": {"model.onnx"}, "torch_export": {"model.pt2"}, "safetensors": {WEIGHTS}, "hub": {WEIGHTS, "config.json"}}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_in_every_format(kind, folder):
    """What the folder holds gives the run's embeddings and its probe's probabilities, and its card is one that the Hub reads."""
    place = export(folder, kind, with_probe=True)
    assert place == folder / "export" / f"{kind}-with-probe"
    assert {path.name for path in place.iterdir()} == FILES[kind] | {"README.md"}
    test = packaged_5k(500, 500, SPEC, torch.device("cpu")).read_test()
    embedding, probabilities = READ[kind](place, as_float(test.images))
    assert np.abs(embedding - load_encoder(folder)(as_float(test.images)).numpy()).max() < 1e-4
    score = summary_of(folder)["test/linear_accuracy"]
    assert (probabilities.argmax(1) == test.labels.numpy()).mean() == pytest.approx(score)
    card = ModelCard.load(place / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "ssl_mnist"
    results = {result.metric_name: result for result in card.data.eval_results}
    assert results["linear probe"].metric_value == score and results["linear probe"].dataset_split == "test"
    assert f"| linear probe, % | {100 * summary_of(folder)['val/linear_accuracy']:.2f} | {100 * score:.2f} |" in card.text
    assert str(folder) not in card.content and "tracking" not in card.content


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_the_cards_code_runs(kind, folder, monkeypatch):
    monkeypatch.chdir(export(folder, kind))
    code = Path("README.md").read_text().partition("```python\n")[2].partition("```")[0]
    images = torch.rand(3, 1, 28, 28)
    names = {"images": images.numpy() if kind == "onnx" else images}
    exec(code, names)
    assert names["embedding"].shape == (3, 256)


@pytest.mark.parametrize("name", ["conv", "conv_deep", "resnet9", "vit_tiny", "mlp", "pixels", "pca"])
def test_torch_export_computes_what_the_encoder_does(name, tmp_path):
    encoder = encoder_of(name)
    to_torch_export(encoder, tmp_path / "model.pt2")
    model = torch.export.load(tmp_path / "model.pt2").module()
    for num in (1, 9):
        images = torch.rand(num, 1, 28, 28)
        assert (model(images)[0] - encoder(images)).abs().max() < 1e-4


def test_a_users_files_are_not_written_over(folder):
    place = folder / "export" / "safetensors"
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"export/safetensors is there already; --output names another folder$"):
        export(folder, "safetensors")
    (place / "mine.txt").unlink()
    assert {path.name for path in export(folder, "safetensors").iterdir()} == {"model.safetensors", "README.md"}


def test_a_failure_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr("ssl_mnist.export.card.model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(folder, "safetensors")
    assert not list((folder / "export").iterdir())


def broken(name, content=b"no model"):
    return lambda folder: (folder / name).write_bytes(content) and folder


BAD = {
    "format": (lambda folder: folder, ["--format", "pdf"], "--format must be one of onnx, torch_export, safetensors, hub, got pdf"),
    "no encoder": (lambda folder: (folder / "encoder.pt").unlink() or folder, [], ".*run holds no encoder.pt, which a run writes .*"),
    "a sweep": (lambda folder: folder.parent, [], ".* holds no encoder.pt, .*; it holds 1 runs, name one of them, such as .*run"),
    "no folder": (lambda folder: folder / "none", [], ".*none holds no encoder.pt, which a run writes once it is trained"),
    "no model": (broken("encoder.pt"), [], ".*encoder.pt is not an encoder saved by ssl_mnist, or it is damaged"),
    "another file": (lambda folder: folder / "run.json", [], ".*run.json is not an encoder saved by ssl_mnist, or it is damaged"),
    "no record": (broken("run.json"), [], ".*run is not the folder of a complete run: run.json or summary.json cannot be read"),
    "no probe": (lambda folder: shutil.rmtree(folder / "probes") or folder, ["--with-probe"], ".*run keeps no linear probe; .* fits one"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_1(name, folder, monkeypatch):
    change, words, message = BAD[name]
    monkeypatch.setattr(sys, "argv", ["export", str(change(folder)), "--format", "onnx", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert re.fullmatch(f"ssl_mnist: {message}", str(ended.value.code)) and not list(folder.parent.rglob("model.onnx"))


@pytest.mark.parametrize("missing", ["onnxruntime", "onnxscript"])
def test_without_the_extra_it_is_one_line(missing, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=rf"^ONNX needs {missing}: pip install -e '.\[export\]'$"):
        export(folder, "onnx")


def test_the_command(folder):
    result = command("run", "--format", "onnx", cwd=folder.parent, module="ssl_mnist.export")
    assert result.returncode == 0 and result.stdout == "export  run/export/onnx: README.md, model.onnx\n", result.stdout + result.stderr
    assert not result.stderr
