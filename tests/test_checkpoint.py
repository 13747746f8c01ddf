"""Encoders on disk: what comes back is what was saved, and nothing else comes back."""

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ssl_mnist import compose, load_encoder
from ssl_mnist.checkpoint import save_encoder


@pytest.mark.parametrize("name", ["conv", "conv_deep", "mlp"])
def test_round_trip(name, tmp_path):
    arguments = OmegaConf.to_container(compose(f"encoder={name}").encoder)
    arguments = {k: v for k, v in arguments.items() if not k.startswith("_")} | {"channels": 1, "size": 28, "mean": [0.1], "std": [0.3]}
    encoder = instantiate(compose(f"encoder={name}").encoder, channels=1, size=28, mean=[0.1], std=[0.3])
    images = torch.rand(8, 1, 28, 28)
    encoder(images)  # moves BatchNorm's statistics, which must be saved too
    save_encoder(encoder, arguments, tmp_path / "encoder.pt")
    loaded = load_encoder(tmp_path / "encoder.pt")
    assert not loaded.training and loaded.dim == encoder.dim
    assert torch.equal(loaded(images), encoder.eval()(images))
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.pt"]


class _Code:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a checkpoint was run')",))


@pytest.mark.parametrize(
    "content",
    [
        {"class": "nn", "arguments": {}, "weights": {}},
        {"class": "Tensor", "arguments": {}, "weights": {}},
        {"class": "os.system", "arguments": {}, "weights": {}},
        {"class": "MLP", "arguments": {"widths": [4]}, "weights": {}},
        {"weights": {}},
        _Code(),
    ],
    ids=["module", "tensor", "elsewhere", "arguments", "no class", "code"],
)
def test_anything_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt is not an encoder saved by ssl_mnist"):
        load_encoder(tmp_path / "bad.pt")


def test_no_file_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_encoder(tmp_path / "encoder.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="not an encoder"):
        load_encoder(tmp_path / "text.pt")
