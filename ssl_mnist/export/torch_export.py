"""PyTorch's own exported programs (.pt2): run by `torch.export.load(path).module()`, without ssl_mnist."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.export.model import Exported
from ssl_mnist.files import atomically


def exported(model: Exported) -> torch.export.ExportedProgram:
    """The program of a model, for any number of images. Raises UserError for an encoder that cannot be exported."""
    try:
        return torch.export.export(model, (model.examples(2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # whatever the exporter makes of an encoder's code
        reason = next(iter(str(error).strip().splitlines()), "")
        raise UserError(f"{type(model.encoder).__name__} cannot be exported: {reason}") from error


def to_torch_export(encoder: Encoder, path: Path, probe: Mapping[str, Tensor] | None = None) -> None:
    """Write an encoder, with a probe its probabilities too, whole or not at all. Inputs and outputs are those of `to_onnx`.

    The file is loaded first, and its outputs compared with the encoder's. Raises UserError for an encoder that cannot be exported.
    """
    model = Exported(encoder, probe)
    program = exported(model)

    def write(scratch: Path) -> None:
        with scratch.open("wb") as file:
            torch.export.save(program, file)
        with scratch.open("rb") as file:
            loaded: Any = torch.export.load(file).module()
        model.verify(loaded)

    atomically(path, write)
