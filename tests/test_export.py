"""Exported models compute what the encoder and its probe do, in the program that reads them."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, SPEC, TINY, experiment, summary_of
from torch.nn import functional as F

from ssl_mnist import compose, load_encoder
from ssl_mnist.data import as_float, packaged_5k
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.__main__ import evaluate_again
from ssl_mnist.export.model import Exported
from ssl_mnist.export.onnx import to_onnx
from ssl_mnist.export.probe import kept_probe
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
