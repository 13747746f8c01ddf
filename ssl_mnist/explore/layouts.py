"""Places for embeddings in two and three dimensions: PCA and t-SNE by scikit-learn, UMAP by umap-learn where it is installed.

Shapes: N points, D width of an embedding.
"""

import importlib.util
import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsRegressor
from threadpoolctl import threadpool_limits

from ssl_mnist.errors import UserError

TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
NUM_COMPONENTS = 50  # of the embeddings, from which t-SNE and UMAP start
MAX_TSNE_3D = 2500  # points


class Layout(NamedTuple):
    """points fill [-1, 1] along their longest side. PCA also says where any embedding e lies: at (e - mean) @ axes."""

    name: str
    points: np.ndarray  # (N, 2 or 3) float32
    axes: np.ndarray | None = None  # (D, 3) float32
    mean: np.ndarray | None = None  # (D,) float32
    shares: tuple[float, ...] = ()  # of the variance, by axis


def choose(wanted: Sequence[str]) -> list[str]:
    """These layouts, or all that are installed where none is wanted. Raises UserError for one that is not."""
    if unknown := [name for name in wanted if name not in TITLES]:
        raise UserError(f"{unknown[0]} is no layout; there are {', '.join(TITLES)}")
    has_umap = importlib.util.find_spec("umap") is not None
    if "umap" in wanted and not has_umap:
        raise UserError("UMAP is not installed: pip install -e '.[umap]'")
    return [name for name in TITLES if (name in wanted if wanted else name != "umap" or has_umap)]


def layouts(embeddings: Sequence[np.ndarray], names: list[str], seeds: Sequence[int], num_processes: int) -> list[list[Layout]]:
    """Of the embeddings (N, D) of each method: PCA in three dimensions, whose first two are PCA in two, and the others in two and in three.

    Each process computes with one thread, so that the places do not depend on how many there are.
    """
    components, found = [], []
    for each, seed in zip(embeddings, seeds, strict=True):
        fitted = PCA(n_components=min(NUM_COMPONENTS, *each.shape), random_state=seed)
        with threadpool_limits(1):
            components.append(fitted.fit_transform(each))
        found.append([_pca(fitted, components[-1])] if "pca" in names else [])
    others = [(name, dims) for name in names if name != "pca" for dims in (2, 3)]
    tasks = [(i, name, dims) for name, dims in others for i in range(len(components))]  # what takes long first
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped")  # one whose memory has grown, in whose place another is started
        placed = Parallel(num_processes)(delayed(_placed)(name, components[i], dims, seeds[i]) for i, name, dims in tasks)
    places = dict(zip(tasks, placed, strict=True))
    return [pca + [Layout(name, _fitted(places[i, name, dims])[0]) for name, dims in others] for i, pca in enumerate(found)]


def _placed(name: str, components: np.ndarray, dims: int, seed: int) -> np.ndarray:
    with threadpool_limits(1):
        return (_tsne if name == "tsne" else _umap)(components, dims, seed)


def _pca(fitted: PCA, components: np.ndarray) -> Layout:
    num = min(3, components.shape[1])
    places, axes = np.zeros((len(components), 3)), np.zeros((fitted.mean_.size, 3))
    places[:, :num], axes[:, :num] = components[:, :num], fitted.components_[:num].T
    points, middle, extent = _fitted(places)
    mean = fitted.mean_ + axes @ middle
    shares = tuple(np.nan_to_num(fitted.explained_variance_ratio_[:num]).tolist())  # not a number where there is no variance
    return Layout("pca", points, (axes / extent).astype("float32"), mean.astype("float32"), shares)


def _tsne(components: np.ndarray, dims: int, seed: int) -> np.ndarray:
    """As evaluate/project.py makes it: started from PCA unless all points are one, perplexity 30, or a third of the points.

    In three dimensions, where a point costs several times as much, of at most MAX_TSNE_3D points; each other one is put between the ten
    of them that are nearest to it, weighted by 1 / distance.
    """
    every = math.ceil(len(components) / MAX_TSNE_3D) if dims == 3 else 1
    taken = components[::every]
    init = "pca" if components.shape[1] >= dims and taken[:, 0].std() > 0 else "random"
    places = TSNE(dims, init=init, perplexity=min(30, (len(taken) - 1) / 3), random_state=seed).fit_transform(taken)
    return places if every == 1 else KNeighborsRegressor(10, weights="distance").fit(taken, places).predict(components)


def _umap(components: np.ndarray, dims: int, seed: int) -> np.ndarray:
    import umap

    neighbours = min(15, len(components) - 1)
    return umap.UMAP(n_components=dims, n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(components)


def _fitted(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(N, dims) float32 in [-1, 1], and the middle (dims,) and the length that became 0 and 1."""
    middle = (places.min(0) + places.max(0)) / 2
    extent = float(np.abs(places - middle).max()) or 1.0
    return ((places - middle) / extent).astype("float32"), middle, extent
