"""explore.html: what is known of the images, the encoders and the program that shows them, in one file."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ssl_mnist.errors import UserError
from ssl_mnist.explore.layouts import Layout
from ssl_mnist.explore.points import Points
from ssl_mnist.files import EXPLORER
from ssl_mnist.pages.environment import render

MAX_BYTES = 15 * 2**20
FRAME_BYTES = 2**18  # of the page without its blobs: template, style, scripts, numbers of the images
GENERATOR = "ssl_mnist explore"  # by which a page of ours is told from a user's own file
SCRIPTS = ("data", "camera", "colour", "scatter", "svg", "overlay", "pane", "drawing", "model", "panel", "main")


def check_place(folder: Path) -> None:
    """Raises UserError where the page would replace a file of the user's own."""
    path = folder / EXPLORER
    if path.exists() and not (path.is_file() and f'content="{GENERATOR}"'.encode() in path.read_bytes()):
        raise UserError(f"{path} is there and not a page of ssl_mnist.explore; move it")


class Page:
    """meta: what data.js reads, a JSON object; blobs: base64 texts by the id of the element that holds them; remarks: lines for the top."""

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}
        self.blobs: dict[str, str] = {}
        self.remarks: list[str] = []

    def add(self, blobs: Mapping[str, str]) -> bool:
        """Take texts in, all or none; whether there is room for them."""
        fits = FRAME_BYTES + sum(map(len, [*self.blobs.values(), *blobs.values()])) <= MAX_BYTES
        if fits:
            self.blobs |= blobs
        return fits

    def html(self, title: str) -> str:
        blobs = {name: Markup(blob) for name, blob in self.blobs.items()}
        texts = {"title": title, "remarks": self.remarks, "sections": [], "generator": GENERATOR}
        return render("explore.html", "ssl_mnist.explore", meta=self.meta, blobs=blobs, scripts=SCRIPTS, **texts)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def compressed(data: bytes) -> str:
    """gzip and base64, as the page's DecompressionStream reads it; the same bytes give the same text."""
    return text_of(gzip.compress(data, 9, mtime=0))


def packed(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], str]:
    """Where each array lies, aligned and little endian, and all of them as one compressed text."""
    content, places = bytearray(), {}
    for name, array in arrays.items():
        content += bytes(-len(content) % 8)
        places[name] = {"type": array.dtype.name, "at": len(content), "shape": list(array.shape)}
        content += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return places, compressed(bytes(content))


def arrays_of(points: Points, layouts: Sequence[Layout]) -> dict[str, np.ndarray]:
    """By the names that data.js reads them by; places in [-1, 1] as 16-bit numbers."""
    codes = points.codes
    scaled = np.round(codes.directions * 32767).astype("int16")
    found = {"neighbours": points.neighbours, "codes": codes.values, "directions": scaled}
    for layout in layouts:
        found[f"{layout.name}{layout.points.shape[1]}"] = np.round(layout.points * 32767).astype("int16")
        if layout.axes is not None and layout.mean is not None:
            found |= {"axes": layout.axes, "mean": layout.mean}
    if points.predicted is not None and points.confidence is not None:
        found |= {"predicted": points.predicted.astype("uint16"), "confidence": np.round(points.confidence * 255).astype("uint8")}
    return found


def runtime() -> dict[str, str]:
    """onnxruntime-web: its program, and its WebAssembly, which is kept compressed."""
    vendor = files("ssl_mnist.explore") / "vendor"
    program, wasm = (vendor / name for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz"))
    return {"program": compressed(program.read_bytes()), "wasm": text_of(wasm.read_bytes())}
