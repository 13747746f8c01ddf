"""ONNX (https://onnx.ai): run by onnxruntime, in a browser by onnxruntime-web, without PyTorch."""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.export.model import Exported
from ssl_mnist.export.torch_export import exported
from ssl_mnist.files import atomically

OPSET = 18  # the lowest that torch.onnx writes by itself; onnxruntime-web reads up to 21


def to_onnx(encoder: Encoder, path: Path, probe: Mapping[str, Tensor] | None = None) -> None:
    """Write an encoder, with a probe its probabilities too, as an ONNX file, whole or not at all.

    Input `images`: float32 (B, C, H, W) in [0, 1], any B; outputs `embedding` (B, D) and, with a probe, `probabilities` (B, K). The
    model's metadata hold `classes`, a JSON list of their names. The file is run by onnxruntime first, and its outputs compared with
    PyTorch's. Raises UserError where the packages are not installed, or for an encoder that cannot be exported.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # by which torch writes the file
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}: pip install -e '.[export]'") from None
    model = Exported(encoder, probe)
    try:
        with _quiet():
            program = torch.onnx.export(
                exported(model), dynamo=True, opset_version=OPSET, input_names=["images"], output_names=model.outputs, verbose=False
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"{type(encoder).__name__} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    if probe:
        program.model.metadata_props["classes"] = json.dumps(encoder.spec.classes)

    def write(scratch: Path) -> None:
        program.save(scratch)
        session = onnxruntime.InferenceSession(scratch, providers=["CPUExecutionProvider"])
        model.verify(lambda images: session.run(None, {"images": images.numpy()}))

    atomically(path, write)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter and onnxscript say to their developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
