"""An encoder on disk: its weights, where its class is found, the arguments to build it with, and a checksum over all of it."""

import dataclasses
import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.files import atomic_save

FORMAT = 2  # 1: version 0.1, without a spec and a checksum


def save_encoder(encoder: Encoder, path: Path, method: str, identity: str) -> str:
    """Write the file whole or not at all; returns its checksum.

    method, identity: of the run.
    """
    weights = {name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    kind = type(encoder)
    content = {
        "format": FORMAT,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "arguments": encoder.arguments,
        "spec": dataclasses.asdict(encoder.spec),
        "method": method,
        "identity": identity,
    }
    checksum = _checksum(content, weights)
    atomic_save(content | {"weights": weights, "sha256": checksum}, path)
    return checksum


def load_encoder(path: str | Path, allow: tuple[str, ...] = ()) -> Encoder:
    """The encoder of a run's `encoder.pt`, or of a run's folder, frozen and in eval mode on the CPU.

    It takes images (B, C, H, W) in [0, 1] and returns embeddings (B, dim). allow: top-level modules besides ssl_mnist from which an
    encoder's class may be imported, such as ("my_encoders",); importing a module runs its code. Raises UserError where the file is not
    an encoder, damaged, or of a class from elsewhere; FileNotFoundError where it is not there.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "encoder.pt"
    refused = f"{path} is not an encoder saved by ssl_mnist"
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such encoder", str(path))
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a foreign file makes torch say, which also advises to load it unsafely
        raise UserError(f"{refused}, or it is damaged") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise UserError(f"{refused} 0.2 or later; one of version 0.1 has to be trained again")
    content = {key: value for key, value in saved.items() if key not in ("weights", "sha256")}
    try:
        weights = saved["weights"]
        intact = _checksum(content, weights) == saved["sha256"]
    except (KeyError, TypeError, AttributeError):  # parts are missing or of other types
        raise UserError(f"{refused}, or it is damaged") from None
    if not intact:
        raise UserError(f"{path} is damaged: its content does not match its checksum")
    module, _, name = saved["class"].rpartition(".")
    top = module.partition(".")[0]
    if top != "ssl_mnist" and top not in allow:
        raise UserError(f"{path} holds an encoder of the class {saved['class']}; load_encoder(..., allow=({top!r},)) imports it")
    kind = getattr(import_module(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, Encoder)):
        raise UserError(f"{refused}: {saved['class']} is no encoder")
    encoder = kind(**kind.arguments_to_load(saved["arguments"]), spec=ImageSpec(**saved["spec"]))
    encoder.load_state_dict(weights)
    encoder.arguments = saved["arguments"]
    return encoder.requires_grad_(False).eval()


def encoder_hash(encoder: Encoder) -> str:
    """16 hex digits that tell an encoder's weights and buffers."""
    return _checksum({}, {name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()})[:16]


def _checksum(content: dict[str, Any], weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
