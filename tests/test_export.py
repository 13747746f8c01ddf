"""Exported models compute what the encoder and its probe do, in the program that reads them."""

import json

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, SPEC, experiment
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.export.onnx import to_onnx

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
