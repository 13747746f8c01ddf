"""An encoder on disk: its weights, the name of its class in `encoders.py`, and the plain arguments to build it with."""

import os
from pathlib import Path
from typing import Any

import torch

from ssl_mnist import encoders
from ssl_mnist.encoders import Encoder


def save_encoder(encoder: Encoder, arguments: dict[str, Any], path: Path) -> None:
    """Write the file whole or not at all. arguments: those `encoder` was built with."""
    scratch = path.with_suffix(".tmp")
    weights = {name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    torch.save({"class": type(encoder).__name__, "arguments": arguments, "weights": weights}, scratch)
    os.replace(scratch, path)


def load_encoder(path: str | Path) -> Encoder:
    """The encoder of a run's `encoder.pt`, in eval mode on the CPU: images (B, C, H, W) in [0, 1] -> embeddings (B, dim).

    No code in the file is run. Raises ValueError where it is not such a file, FileNotFoundError where it is not there.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        kind = getattr(encoders, saved["class"])
        if not (isinstance(kind, type) and issubclass(kind, Encoder)):
            raise TypeError(f"{saved['class']} is no encoder")
        encoder = kind(**saved["arguments"])
        encoder.load_state_dict(saved["weights"])
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not an encoder saved by ssl_mnist: {error}") from error
    return encoder.eval()
