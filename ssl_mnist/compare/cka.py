"""How alike encoders are: linear centred kernel alignment (Kornblith et al. 2019, https://arxiv.org/abs/1905.00414, section 3).

    CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)

for centred X (n, p) and Y (n, q), two embeddings of the same n images. It is 1 where one is the other up to rotation and scale, and takes
no notice of either. Two that have nothing in common come close to 0, the closer the more images there are for each direction in which
the embeddings vary.
"""

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run
from ssl_mnist.files import REPRESENTATIONS

MAX_RUNS, MAX_LAYERED = 30, 4  # encoders in the one heat map, configurations whose layers are in the other


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """x (n, p), y (n, q): embeddings of the same n images, not centred. nan where one does not vary."""
    x, y = (values.astype(np.float64) - values.mean(0, dtype=np.float64) for values in (x, y))
    norm = math.sqrt(np.square(x.T @ x).sum() * np.square(y.T @ y).sum())
    return float(np.square(y.T @ x).sum() / norm) if norm else math.nan


def cka_matrix(embeddings: list[np.ndarray]) -> np.ndarray:
    """Linear CKA (R, R) of each two of R embeddings, (n, D) each with D of its own."""
    centred = [values.astype(np.float32) - values.mean(0, dtype=np.float32) for values in embeddings]
    scaled = []
    for values in centred:
        norm = np.sqrt(np.linalg.norm(values.T @ values))
        scaled.append(values / norm if norm else np.full_like(values, math.nan))
    found = np.empty((len(scaled), len(scaled)))
    for i, x in enumerate(scaled):
        for j, y in enumerate(scaled[: i + 1]):
            found[i, j] = found[j, i] = np.square(y.T @ x).sum(dtype=np.float64)
    return found


@dataclass(frozen=True)
class Similarity:
    """Linear CKA of what a comparison's encoders make of the same images; either matrix is None where there is less than two to compare."""

    num: int  # images
    runs: list[tuple[str, int]]  # configuration and seed
    encoders: np.ndarray | None  # (runs, runs)
    layers: list[tuple[str, str]]  # configuration, of its first seed, and layer
    between_layers: np.ndarray | None  # (layers, layers)
    left_out: list[str]  # which runs, and why

    def within(self, name: str) -> list[float]:
        """Of each two seeds of a configuration."""
        assert self.encoders is not None
        mine = [i for i, (configuration, _) in enumerate(self.runs) if configuration == name]
        return [float(self.encoders[i, j]) for i in mine for j in mine if j < i]

    def between(self) -> list[float]:
        """Of each two runs of different configurations."""
        assert self.encoders is not None
        pairs = [(i, j) for i in range(len(self.runs)) for j in range(i) if self.runs[i][0] != self.runs[j][0]]
        return [float(self.encoders[i, j]) for i, j in pairs]


def similarity(comparison: Comparison) -> Similarity | str:
    """Of the runs whose representations.npz holds the same images as the first one's; why there is nothing to say, where that is so."""
    ranking = comparison.ranking or list(comparison.groups)
    runs = [(name, run) for name in ranking for run in comparison.groups[name]]
    if len(runs) > MAX_RUNS:  # first one seed of every configuration
        runs = [(name, comparison.groups[name][0]) for name in ranking][:MAX_RUNS]
    found: list[tuple[str, Run, dict[str, np.ndarray]]] = []
    images, missing, others, broken = None, 0, 0, []
    for name, run in runs:
        path = run.folder / REPRESENTATIONS
        if not path.is_file():
            missing += 1
            continue
        try:
            content = read_representations(path)
        except ValueError as error:
            broken.append(f"{run.place}/{REPRESENTATIONS} {error}")
            continue
        same = (run.data, str(content.pop("images")), len(content["embedding"]))
        images = images or same
        if same == images:
            found.append((name, run, content))
        else:
            others += 1
    left_out = [f"{missing} without {REPRESENTATIONS}"] if missing else []
    left_out += [f"{others} with other images"] if others else []
    left_out += broken
    if not found:
        return f"no run holds {REPRESENTATIONS}, which is written unless evaluation.cache=false" if not broken else "; ".join(broken)
    order = {name: i for i, name in enumerate(comparison.groups)}
    found.sort(key=lambda one: (order[one[0]], one[1].seed))
    layers: list[tuple[str, str]] = []
    columns: list[np.ndarray] = []
    layered = [name for name in ranking if any(name == configuration for configuration, _, _ in found)][:MAX_LAYERED]
    for name in sorted(layered, key=order.__getitem__):
        content = next(each for configuration, _, each in found if configuration == name)
        layers += [(name, layer) for layer in content]
        columns += content.values()
    encoders = cka_matrix([content["embedding"] for _, _, content in found]) if len(found) > 1 else None
    between = cka_matrix(columns) if len(columns) > 1 else None
    return Similarity(len(found[0][2]["embedding"]), [(name, run.seed) for name, run, _ in found], encoders, layers, between, left_out)


def read_representations(path: Path) -> dict[str, np.ndarray]:
    """`images`, then each layer's embedding (n, D) of the same n images. Raises ValueError, in words that go on from the file's name."""
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError("is damaged or cannot be read") from error
    images, embeddings = content.get("images"), {name: values for name, values in content.items() if name != "images"}
    if images is None or images.ndim or "embedding" not in embeddings:
        raise ValueError("does not say what it holds")
    num = embeddings["embedding"].shape[:1]
    if not all(
        values.ndim == 2 and values.shape[:1] == num and values.dtype.kind == "f" and np.isfinite(values).all()
        for values in embeddings.values()
    ):
        raise ValueError("holds other arrays than embeddings of the same images")
    return content
