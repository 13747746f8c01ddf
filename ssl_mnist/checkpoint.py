"""An encoder on disk: its weights, where its class is found, the arguments to build it with, and a checksum over all of it."""

import dataclasses
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.files import ENCODER, SAFETENSORS, atomic_save, atomic_write

FORMAT = 2  # 1: version 0.1, without a spec and a checksum
PREFIX = "encoder."  # of an encoder's weights in a .safetensors file
ARTIFACT = re.compile(r"[\w.-]+(/[\w.-]+){1,2}:[\w.-]+")  # of W&B: [entity/]project/name:alias


def save_encoder(encoder: Encoder, path: Path, method: str, identity: str) -> str:
    """Write the file whole or not at all; returns its checksum.

    method, identity: of the run.
    """
    content, weights = described(encoder, method, identity), _weights(encoder)
    checksum = _checksum(content, weights)
    atomic_save(content | {"weights": weights, "sha256": checksum}, path)
    return checksum


def described(encoder: Encoder, method: str, identity: str) -> dict[str, Any]:
    """All that a file says of an encoder besides its weights, as JSON can hold it."""
    kind = type(encoder)
    return {
        "format": FORMAT,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "arguments": encoder.arguments,
        "spec": dataclasses.asdict(encoder.spec),
        "method": method,
        "identity": identity,
    }


def save_safetensors(encoder: Encoder, path: Path, content: Mapping[str, Any], others: Mapping[str, Tensor]) -> None:
    """Write an encoder as a .safetensors file, whole or not at all: its weights as `encoder.<name>`, what is described in the metadata.

    content: from `described`; others: further tensors, by names that begin otherwise.
    """
    from safetensors.torch import save

    weights = dict(sorted(_weights(encoder).items()))  # the checksum is of an order, which the format does not keep
    metadata = {"format": "pt", "ssl_mnist": json.dumps(dict(content)), "sha256": _checksum(dict(content), weights)}
    named = {f"{PREFIX}{name}": tensor for name, tensor in weights.items()} | {key: each.contiguous() for key, each in others.items()}
    atomic_write(path, save(named, metadata))


def load_encoder(path: str | Path, allow: tuple[str, ...] = ()) -> Encoder:
    """The encoder of a run's folder, of its `encoder.pt`, of an exported `model.safetensors`, or of a W&B artifact, frozen and in eval
    mode on the CPU.

    It takes images (B, C, H, W) in [0, 1] and returns embeddings (B, dim). path: of the folder or file, or, where there is none of this
    name, an artifact as `entity/project/name:alias`, which is downloaded. allow: top-level modules besides ssl_mnist from which an
    encoder's class may be imported, such as ("my_encoders",); importing a module runs its code. Raises UserError where the file is not
    an encoder, damaged, or of a class from elsewhere, or an artifact cannot be had; FileNotFoundError where there is no file.
    """
    if ARTIFACT.fullmatch(str(path)) and not Path(path).exists():
        from ssl_mnist.tracking import fetch

        with tempfile.TemporaryDirectory() as folder:
            return load_encoder(fetch(str(path), Path(folder)), allow)
    path = Path(path)
    if path.is_dir():
        names = (ENCODER, SAFETENSORS)
        path = next((path / name for name in names if (path / name).is_file()), path / ENCODER)
    refused = f"{path} is not an encoder saved by ssl_mnist"
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such encoder", str(path))
    try:
        saved = _read_safetensors(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
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
    return _checksum({}, _weights(encoder))[:16]


def _weights(encoder: Encoder) -> dict[str, Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}


def _read_safetensors(path: Path) -> dict[str, Any]:
    """What an encoder.pt holds, from a .safetensors file of `save_safetensors`."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise UserError(f"{path} needs safetensors: pip install -e '.[export]'") from None
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        names = sorted(name for name in file.keys() if name.startswith(PREFIX))  # noqa: SIM118  # no mapping
        weights = {name.removeprefix(PREFIX): file.get_tensor(name) for name in names}
    return json.loads(metadata["ssl_mnist"]) | {"weights": weights, "sha256": metadata["sha256"]}


def _checksum(content: dict[str, Any], weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
