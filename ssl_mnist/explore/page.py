"""explore.html: what is known of the images, the encoders and the program that shows them, in one file."""

import base64
import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ssl_mnist.errors import UserError
from ssl_mnist.explore.points import Points
from ssl_mnist.explore.sheet import Sheet
from ssl_mnist.pages.environment import render

NAME = "explore.html"
MAX_BYTES = 15 * 2**20
GENERATOR = "ssl_mnist explore"  # by which a page of ours is told from a user's own file
SCRIPTS = ("data", "camera", "colour", "scatter", "svg", "overlay", "pane", "drawing", "model", "panel", "main")


def check_place(folder: Path) -> None:
    """Raises UserError where the page would replace a file of the user's own."""
    path = folder / NAME
    if path.is_dir() or (path.is_file() and f'content="{GENERATOR}"' not in path.read_bytes()[:2000].decode(errors="replace")):
        raise UserError(f"{path} is there and not a page of ssl_mnist.explore; move it")


def packed(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as one compressed text, and where each lies in it, aligned to its type, little endian."""
    content, places = bytearray(), {}
    for name, array in arrays.items():
        content += bytes(-len(content) % 8)
        places[name] = {"type": array.dtype.name, "at": len(content), "shape": list(array.shape)}
        content += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return {"arrays": places, "data": compressed(bytes(content))}


def compressed(data: bytes) -> str:
    """gzip and base64, as the page's DecompressionStream reads it; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def arrays_of(points: Points) -> dict[str, np.ndarray]:
    """By the names that data.js reads them by; places in [-1, 1] as 16-bit numbers."""
    found = {"neighbours": points.neighbours, "codes": points.codes.values, "steps": points.codes.steps, "directions": points.codes.directions}
    for layout in points.layouts:
        found[f"{layout.name}{layout.points.shape[1]}"] = np.round(layout.points * 32767).astype("int16")
        if layout.axes is not None and layout.mean is not None:
            found |= {"axes": layout.axes, "mean": layout.mean}
    if points.predicted is not None and points.confidence is not None:
        found |= {"predicted": points.predicted.astype("uint16"), "confidence": np.round(points.confidence * 255).astype("uint8")}
    return found


def runtime() -> dict[str, str]:
    """onnxruntime-web: its program as it is, its WebAssembly compressed."""
    vendor = files("ssl_mnist.explore") / "vendor"
    wasm = (vendor / "ort-wasm-simd-threaded.wasm.gz").read_bytes()
    return {
        "program": compressed((vendor / "ort.wasm.bundle.min.mjs").read_bytes()),
        "wasm": base64.b64encode(wasm).decode(),
    }


def page(meta: Mapping[str, Any], blobs: Mapping[str, str], title: str, about: str, remarks: list[str]) -> str:
    """meta: what data.js reads, a JSON object; blobs: base64 texts by the id of the element that holds them; remarks: lines for the top."""
    markup = {name: Markup(blob) for name, blob in blobs.items()}
    texts = {"title": title, "about": about, "remarks": remarks, "sections": [], "generator": GENERATOR}
    return render("explore.html", "ssl_mnist.explore", meta=meta, blobs=markup, scripts=SCRIPTS, **texts)


def picture(found: Sheet) -> str:
    return base64.b64encode(found.data).decode()
