"""Embeddings to look at: in two dimensions by PCA and t-SNE, both scikit-learn's, and by their nearest neighbours."""

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor
from torch.nn import functional as F


class Projection(NamedTuple):
    title: str
    points: np.ndarray  # (N, 2)
    axis_names: tuple[str, str]


def project(embeddings: Tensor, seed: int) -> dict[str, Projection]:
    """(N, D) -> `pca` and `tsne`, which is started from PCA unless all points are one, on at most 50 principal components.

    Its perplexity is 30, or a third of the points where they are fewer than 90.
    """
    values = embeddings.float().cpu().numpy()
    pca = PCA(n_components=min(50, *values.shape), random_state=seed)
    components = pca.fit_transform(values)
    shares = np.nan_to_num(pca.explained_variance_ratio_[:2])  # not a number where there is no variance
    names = [f"component {i + 1} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares)]
    init = "pca" if components[:, 0].std() > 0 else "random"  # of a collapsed encoder, which scikit-learn would divide by
    tsne = TSNE(init=init, perplexity=min(30, (len(values) - 1) / 3), random_state=seed)
    return {
        "pca": Projection("PCA", components[:, :2], (names[0], names[1])),
        "tsne": Projection("t-SNE", tsne.fit_transform(components), ("", "")),
    }


def nearest(queries: Tensor, bank: Tensor, num: int) -> Tensor:
    """(Q, num) positions of the embeddings in the bank (N, D) nearest to each query (Q, D) by cosine, the nearest first."""
    return (F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T).topk(min(num, len(bank)), dim=1).indices
