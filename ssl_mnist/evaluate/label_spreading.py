"""Label spreading (Zhou et al. 2004, "Learning with local and global consistency", section 2) over the k-NN graph of train's embeddings.

scikit-learn's LabelSpreading solves the same equation, but builds the graph anew for each draw, which takes most of the time on 55,000
images. Here it is built once, and the linear system is solved by conjugate gradients.

Shapes: N images of train, D columns, K classes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Labelled
from ssl_mnist.evaluate.budgets import BudgetProbe
from ssl_mnist.evaluate.knn import check, nearest

if TYPE_CHECKING:
    from scipy.sparse import csr_array

VOTED = 500  # images at a time, each of whose neighbours' classes are a row of K


class LabelSpreading(BudgetProbe):
    """n labels spread to all of train, whose other images are used without theirs; other images are answered by the k-NN's vote over train.

    F = (I - alpha S)^-1 Y, with S the normalised adjacency of the symmetric graph that joins each image with its k nearest by cosine.
    The columns of F are scaled to the same mass, as of classes that are equally large (class mass normalisation, Zhu, Ghahramani and
    Lafferty 2003, section 4), and its rows to one; repeated (Sinkhorn and Knopp 1967), no class takes over images of another.
    """

    title, stem = "label spreading", "label_spreading"

    def __init__(self, num_labels: list[int], num_draws: int, k: int, alpha: float, balance: int, vote_k: int, temperature: float) -> None:
        """k: neighbours in the graph; alpha: how far labels spread; balance: how often masses are normalised; vote_k, temperature: of the
        k-NN's vote."""
        super().__init__(num_labels, num_draws)
        check(k, temperature)
        check(vote_k, temperature)
        if not 0 < alpha < 1:
            raise UserError(f"alpha must be above 0 and below 1, got {alpha}")
        if not 1 <= balance <= 1000:
            raise UserError(f"balance must be in 1..1,000, got {balance}")
        self.k, self.alpha, self.balance, self.vote_k, self.temperature = k, alpha, balance, vote_k, temperature

    def prepare(self, train: Labelled) -> "csr_array":
        return normalised_graph(train.features["embedding"], self.k)

    def shared_tensors(self, train: Labelled) -> dict[str, Tensor]:
        return {"bank": train.features["embedding"]}

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: Any, seed: int) -> dict[str, Tensor]:
        seeds = np.zeros((len(train.labels), train.num_classes))
        labels = train.labels[drawn].cpu().numpy()
        seeds[drawn.cpu().numpy(), labels] = 1
        found = balanced(spread(shared, seeds, self.alpha), self.balance)
        return {"targets": torch.from_numpy(found).float().to(drawn.device)}

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        """The neighbours in train are the same for all draws, and found once."""
        found = nearest(tensors["all/bank"], features["embedding"], self.vote_k, self.temperature)
        weight, positions = map(torch.cat, zip(*found, strict=True))
        return super().predict(tensors, features | {"weight": weight, "positions": positions})

    def predict_draw(self, tensors: dict[str, Tensor], features: Features) -> Tensor:
        neighbours = zip(features["weight"].split(VOTED), features["positions"].split(VOTED), strict=True)
        return torch.cat([(weight[:, :, None] * tensors["targets"][rows]).sum(1).argmax(1) for weight, rows in neighbours])


def normalised_graph(embeddings: Tensor, k: int) -> "csr_array":
    """S (N, N) = D^-1/2 W D^-1/2, where W_ij is 1 if i is among the k nearest of j (N, D) by cosine, or j among those of i."""
    from scipy.sparse import csr_array

    num, k = len(embeddings), min(k, len(embeddings) - 1)
    found = torch.cat([positions for _, positions in nearest(embeddings, embeddings, k + 1, temperature=1.0)])  # (N, k + 1)
    every = torch.arange(num, device=found.device)[:, None].expand_as(found)
    others = found != every
    others[:, -1] &= others.sum(1) == k  # where k + 1 others lie at the same place as the image itself, the last is dropped
    rows, columns = every[others].cpu().numpy(), found[others].cpu().numpy()
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(num, num))
    graph = graph.maximum(graph.T)
    scale = 1 / np.sqrt(graph.sum(1))
    return csr_array(graph.multiply(scale[:, None]).multiply(scale[None, :]))


def spread(graph: "csr_array", seeds: np.ndarray, alpha: float, tolerance: float = 1e-6, max_iter: int = 1000) -> np.ndarray:
    """F (N, K) with (I - alpha S) F = Y, for the normalised graph S (N, N) and labels Y (N, K), by conjugate gradients, column by column.

    The residual of each column is at most `tolerance` of its Y's length.
    """
    found, residual = np.zeros_like(seeds), seeds.copy()
    direction, energy = residual.copy(), (seeds**2).sum(0)
    enough = tolerance**2 * energy
    for _ in range(max_iter):
        product = direction - alpha * (graph @ direction)
        step = energy / np.maximum((direction * product).sum(0), 1e-300)
        found += step * direction
        residual -= step * product
        before, energy = energy, (residual**2).sum(0)
        if (energy <= enough).all():
            break
        direction = residual + energy / np.maximum(before, 1e-300) * direction
    return np.maximum(found, 0)  # the exact solution has no negative entry


def balanced(masses: np.ndarray, rounds: int) -> np.ndarray:
    """Masses (N, K), not negative, whose columns and then rows were scaled to equal sums, `rounds` times; a row of zeros stays one."""
    for _ in range(rounds):
        masses = masses / masses.sum(0, keepdims=True)
        masses = masses / np.maximum(masses.sum(1, keepdims=True), 1e-300)
    return masses
