"""Decode image files to one size, in processes of their own: `python decode.py` reads a JSON task from standard input.

Run by its path, so that a worker imports Pillow and numpy, and neither torch nor this package. The task holds `target`, a file of
uint8 images (C, H, W) one after the other, which is there already in its full size, `size` [H, W], `channels`, `resize`, `folder`, and
`chunks`, pairs of a first row in the file and the images, relative to the folder, that become this row and those after it. For every chunk
one line of JSON is printed, a list: for each image null, or why it cannot be used.
"""

import json
import os
import sys
import warnings

import numpy as np
from PIL import Image, ImageOps

SMALLEST = 8  # pixels a side


def decode(path: str, size: tuple[int, int], channels: int, resize: str) -> np.ndarray:
    """(C, H, W) uint8 of the first frame of an image file, the right way up (EXIF), grey (1 channel) or RGB (3).

    resize: squash to the size, centre-crop to its aspect ratio, or pad with black. 16-bit values are divided by 257, transparent parts
    lie on white. Raises OSError or ValueError, whose text says why, for a file that cannot be used.
    """
    height, width = size
    with Image.open(path) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * width, 2 * height))  # decodes large photographs at 1/2, 1/4 or 1/8 of their size
        if min(image.size) < SMALLEST:
            raise ValueError(f"is {image.width} x {image.height} pixels, fewer than {SMALLEST} a side")
        picture = to_picture(image, channels)
    if resize == "crop":
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    elif resize == "pad":
        picture = ImageOps.pad(picture, (width, height), Image.Resampling.BILINEAR)
    elif picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return to_pixels(picture)


def to_picture(image: Image.Image, channels: int) -> Image.Image:
    """8-bit grey (1 channel) or RGB (3), the right way up (EXIF); the image itself is turned."""
    ImageOps.exif_transpose(image, in_place=True)
    return _to_mode(image, "L" if channels == 1 else "RGB")


def to_pixels(picture: Image.Image) -> np.ndarray:
    """(C, H, W) uint8 of an 8-bit grey or RGB image."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """8-bit grey or RGB."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits a pixel
        values = np.asarray(image, np.float64)
        top = values.max(initial=0.0)
        scale = 255 if image.mode == "F" and top <= 1 else 1 / 257 if top > 255 or image.mode.startswith("I;16") else 1
        image = Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert(mode)


def main() -> None:
    task = json.load(sys.stdin)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module="PIL.(?!Image$)")
    (height, width), channels = task["size"], task["channels"]
    num_bytes = channels * height * width
    with open(task["target"], "r+b", buffering=0) as target:
        for first, names in task["chunks"]:
            problems: list[str | None] = []
            for row, name in enumerate(names, first):
                path = os.path.join(task["folder"], name)
                try:
                    pixels = decode(path, (height, width), channels, task["resize"]).tobytes()
                except Exception as error:  # whatever a broken file makes Pillow say
                    problems.append((str(error) or type(error).__name__).replace(path, "").splitlines()[0])
                else:
                    target.seek(row * num_bytes)
                    target.write(pixels)
                    problems.append(None)
            print(json.dumps(problems), flush=True)


if __name__ == "__main__":
    main()
