"""Did pretraining work? What the encoder makes of held-out images while it trains, and a verdict in words.

The loss does not say: one that falls may hide a collapse, where embeddings are all the same or lie on a few lines. Measured are

- effective rank: RankMe (Garrido et al. 2023, https://arxiv.org/abs/2210.02885, equations 1 and 2);
- alignment and uniformity (Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1, alpha = 2, t = 2);
- standard deviation a dimension of the l2-normalised embeddings (Chen and He 2021, https://arxiv.org/abs/2011.10566, section 4.1);
- dimensions: how many principal components carry 99 % of the variance;
- view retrieval, and how often two views of one image are told from a view of another one;
- k-NN accuracy among the images themselves. Their labels are used for looking alone: no training step sees them.

A collapse shows first in what the loss looks at, a projection or a code (`Method.project`), while the embedding before it may still be
good; so some are measured there too. Nothing here disturbs the training: the modes of all modules, BatchNorm's buffers and the state of
the random numbers stay as they were.

Shapes: N images, P pairs of views, D width of an embedding or a projection.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.data import Split, as_float, random_part
from ssl_mnist.evaluate.features import extract
from ssl_mnist.evaluate.knn import nearest
from ssl_mnist.training.seeds import seed_for

if TYPE_CHECKING:
    from ssl_mnist.build import Experiment

MIN_IMAGES = 20  # of val; fewer say nothing
BATCH = 256  # images that are embedded at a time
K, TEMPERATURE = 20, 0.07  # of the k-NN, as of the probe (conf/evaluation/probe/knn.yaml)
SHARE = 0.99  # of the variance
HEALTHY = "healthy"
MEASURES = {  # name -> title; those of a projection have `projection_` before their name
    "effective_rank": "effective rank",
    "dimensions": "dimensions with 99 % of the variance",
    "std": "standard deviation a dimension",
    "views_told_apart": "views told from other images",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "view_retrieval": "view retrieval",
    "knn_accuracy": "k-NN among val's images",
}
BEST = {"best_knn": "health/knn_accuracy", "best_rankme": "health/effective_rank"}  # what pretrain.keep goes by


class Verdict(NamedTuple):
    words: str  # HEALTHY, or what is wrong
    collapsed: bool


class Health:
    """Measures the encoder of an experiment at the ends of epochs, on the same images of val each time.

    every_epochs: 0: never; num_images: at random, stratified where there are labels; num_pairs: of these, whose augmented views are
    compared; all of val where it has fewer. stop_on_collapse: whether a collapse is a reason to stop.
    """

    def __init__(self, experiment: "Experiment", every_epochs: int, num_images: int, num_pairs: int, stop_on_collapse: bool) -> None:
        val = experiment.dataset.val
        self.experiment, self.stop_on_collapse = experiment, stop_on_collapse
        self.every = every_epochs if len(val) >= MIN_IMAGES else 0
        rows = random_part(val, num_images)
        self.images = val.images[rows]  # (N, C, H, W) uint8
        self.labels = None if val.labels is None else val.labels[rows]  # (N,)
        self.paired = random_part(Split(self.images, self.labels), num_pairs)

    def is_due(self, metrics: Mapping[str, float]) -> bool:
        """Whether a row of metrics ends an epoch after which it is measured: every so many, and the last one."""
        if not self.every or "pretrain/epoch_loss" not in metrics:
            return False
        return metrics["step"] == self.experiment.num_steps or round(metrics["epoch"]) % self.every == 0

    def measure(self, epoch: int) -> dict[str, float]:
        """By name, `health/<measure>` of the embedding and `health/projection_<measure>`; nan where an embedding is not finite."""
        method = self.experiment.method
        encoder = method.representation()
        with frozen(method, encoder), torch.random.fork_rng():
            torch.manual_seed(seed_for(self.experiment.seed, "health", epoch))
            embeddings = extract(encoder, self.images, set(), batch_size=BATCH)["embedding"]
            first, second = self._views(encoder)
            found = measures(embeddings, first, second, self.labels)
            if method.projects:
                projected = spread(*map(method.project, (embeddings, first, second)))
                found |= {f"projection_{name}": value for name, value in projected.items()}
        return {f"health/{name}": value for name, value in found.items()}

    def _views(self, encoder: nn.Module) -> tuple[Tensor, Tensor]:
        """Embeddings (P, D) of two augmented views of the images that are paired."""
        parts = []
        for batch in self.images[self.paired].split(BATCH):
            images = as_float(batch)
            parts.append([encoder(self.experiment.augmentation(images)) for _ in range(2)])
        first, second = (torch.cat(views) for views in zip(*parts, strict=True))
        return first, second

    def reason_to_stop(self, metrics: Mapping[str, float]) -> str | None:
        """One line, where the row of metrics that was measured tells a collapse and that ends a run."""
        found = self.verdict(metrics)
        if not (self.stop_on_collapse and found.collapsed):
            return None
        return f"{found.words} (epoch {metrics['epoch']:.0f}); with health.stop_on_collapse=false the run goes on"

    def verdict(self, numbers: Mapping[str, float]) -> Verdict:
        """Of what `measure` returned."""
        method = self.experiment.method
        encoder = method.representation()
        projection_dim = 0
        if method.projects:
            with frozen(method, encoder):
                projection_dim = method.project(torch.zeros(1, encoder.dim, device=encoder.mean.device)).shape[1]
        return verdict(numbers, encoder.dim, projection_dim, method.num_views > 1)


@contextlib.contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Modules in eval mode and without gradients; afterwards each of their parts is in the mode in which it was."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


# What a run is judged by. Set on the default encoder and recipes, seeds 0 to 2: on MNIST (every epoch of seed 0, the first two of the
# others) and on the 5,000 packaged digits, against SimCLR at temperature 100, an autoencoder with a code of 1 and optimizer.lr=10.
# In brackets, the lowest of the default recipes after any epoch, and the highest of what is to be told from them.
COLLAPSED_DIMENSIONS = 3  # that carry 99 % of the variance, or fewer, of more: a collapse (projection of SimCLR: 4; at temperature 100: 2)
COLLAPSED_RANK = 16  # effective, of an embedding of 128 dimensions or more; of fewer an eighth: below it a collapse (36; at lr 10: 14.4)
COLLAPSED_STD = 0.01  # a dimension: below it all images have nearly the same embedding (0.19; autoencoder at lr 10: 0.005)
TOLD_APART = 0.85  # of a method that compares views, in the end: below it they are not told apart (0.89; at temperature 100: 0.83)


def verdict(numbers: Mapping[str, float], dim: int, projection_dim: int, compares_views: bool) -> Verdict:
    """In words, of measures by name (`health/...`); dim, projection_dim: widths, 0 for no projection; compares_views: whether the method
    is trained to embed views of one image alike, and can be judged by that.
    """
    found, rank = [], numbers["health/effective_rank"]
    for prefix, width, place in (("", dim, ""), ("projection_", projection_dim, " of the projection")):
        if not width:
            continue
        num, std = numbers[f"health/{prefix}dimensions"], numbers[f"health/{prefix}std"]
        if math.isnan(num):
            found.append(f"some embeddings{place} are not finite")
        elif num == 1 or 0 < num <= COLLAPSED_DIMENSIONS < width:
            found.append(f"{num:.0f} of {width} dimension{'s' * (width > 1)}{place} carr{'y' if num > 1 else 'ies'} 99 % of the variance")
        elif num == 0 or std < COLLAPSED_STD:
            found.append(f"all images have nearly the same {'projection' if prefix else 'embedding'}")
        elif not prefix and rank < min(COLLAPSED_RANK, width / 8):
            found.append(f"the effective rank of {width} dimensions is {rank:.1f}")
    collapsed = bool(found)
    told = numbers["health/views_told_apart"]
    if compares_views and told < TOLD_APART:
        found.append(f"one view in {_number(1 / (1 - told))} is not told from another image")
    return Verdict(("collapsed: " if collapsed else "") + "; ".join(found) if found else HEALTHY, collapsed)


def _number(value: float) -> str:
    names = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}
    return names.get(round(value), f"{value:.0f}")


def described(numbers: Mapping[str, float]) -> str:
    """The measures that say most, in words."""
    words = (
        f"effective rank {numbers['health/effective_rank']:.1f}, {numbers['health/dimensions']:.0f} dimensions carry 99 % of the variance"
    )
    if "health/knn_accuracy" in numbers:
        words += f", k-NN on val {100 * numbers['health/knn_accuracy']:.2f} % (labels are used for looking alone)"
    return words


def better(keep: str, best: dict[str, Any] | None, numbers: Mapping[str, float], epoch: int, method: nn.Module) -> dict[str, Any] | None:
    """`best`, or the state of the method in this epoch where it is as good or better by what `keep` (pretrain.keep) goes by.

    As what a checkpoint holds: `epoch`, `value`, `method`. None where `keep` goes by nothing.
    """
    value = numbers.get(BEST.get(keep, ""), math.nan)
    if math.isnan(value) or (best is not None and value < best["value"]):
        return best
    state = {name: tensor.detach().clone() for name, tensor in method.state_dict().items()}
    return {"epoch": epoch, "value": value, "method": state}


def latest(history: Iterable[Mapping[str, float]], epoch: int | None) -> dict[str, float]:
    """The measures, by name, in the last row of metrics that has some, or in that of an epoch; {} where there are none."""
    found = [row for row in history if "health/std" in row and epoch in (None, round(row["epoch"]))]
    return {name: value for name, value in (found[-1] if found else {}).items() if name.startswith("health/")}


def measures(embeddings: Tensor, first: Tensor, second: Tensor, labels: Tensor | None) -> dict[str, float]:
    """All measures of embeddings (N, D), those of two views of some of the images (P, D), and labels (N,), if there are any."""
    z, z0, z1 = (F.normalize(values, dim=1) for values in (embeddings, first, second))
    cosine = z @ z.T
    found = spread(embeddings, first, second) | {
        "alignment": alignment(z0, z1),
        "uniformity": uniformity(cosine),
        "view_retrieval": view_retrieval(z0, z1),
    }
    if labels is not None:
        found["knn_accuracy"] = knn_accuracy(z, labels)
    return found if all(values.isfinite().all() for values in (embeddings, first, second)) else dict.fromkeys(found, math.nan)


def spread(embeddings: Tensor, first: Tensor, second: Tensor) -> dict[str, float]:
    """Those measures by which a collapse is told, of the same; nan where a number is not finite."""
    if not all(values.isfinite().all() for values in (embeddings, first, second)):
        return dict.fromkeys(("effective_rank", "dimensions", "std", "views_told_apart"), math.nan)
    return {
        "effective_rank": effective_rank(embeddings),
        "dimensions": principal_dimensions(embeddings),
        "std": deviation(F.normalize(embeddings, dim=1)),
        "views_told_apart": views_told_apart(F.normalize(first, dim=1), F.normalize(second, dim=1)),
    }


def effective_rank(embeddings: Tensor) -> float:
    """RankMe of (N, D): the exponential of the entropy of the singular values' shares. 1 to min(N, D); 0 where all is 0."""
    singular = _squared_singular_values(_double(embeddings)).sqrt()
    if not singular.sum():
        return 0.0
    shares = singular / singular.sum() + 1e-7  # the paper's epsilon
    return float((-(shares * shares.log()).sum()).exp())


def variance_shares(embeddings: Tensor) -> Tensor:
    """(min(N, D),) shares of the variance of (N, D) along its principal components, the largest first; all 0 where it does not vary."""
    exact = _double(embeddings)
    values = _squared_singular_values(exact - exact.mean(0)).flip(0)
    return values / values.sum() if values.sum() else values


def principal_dimensions(embeddings: Tensor, share: float = SHARE) -> int:
    """How many principal components of (N, D) carry that share of the variance; 0 where it does not vary."""
    shares = variance_shares(embeddings)
    return int((shares.cumsum(0) < share).sum()) + 1 if shares.any() else 0


def _double(values: Tensor) -> Tensor:
    """In float64, on the CPU where the device has none (MPS)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _squared_singular_values(values: Tensor) -> Tensor:
    """(min(N, D),) in ascending order, of (N, D) float64: the eigenvalues of the smaller Gram matrix, which are far faster to find."""
    gram = values @ values.T if len(values) < values.shape[1] else values.T @ values
    return torch.linalg.eigvalsh(gram).clamp_min(0)


def deviation(z: Tensor) -> float:
    """Mean over dimensions of the standard deviation of l2-normalised (N, D), times sqrt(D): 0 in a point, 1 evenly over the sphere."""
    return float(z.std(0, correction=0).mean() * z.shape[1] ** 0.5)


def alignment(z0: Tensor, z1: Tensor) -> float:
    """Mean squared distance of the l2-normalised embeddings (P, D) of two views; 0 where they agree."""
    return float((z0 - z1).square().sum(1).mean())


def uniformity(cosine: Tensor) -> float:
    """Logarithm of the mean of exp(-2 d^2) over all pairs, from their cosines (N, N); 0 in a point, the lower the more spread."""
    num = len(cosine)
    potential = (4 * (cosine - 1)).exp()  # d^2 = 2 - 2 cos
    return float(((potential.sum() - potential.diagonal().sum()) / (num * (num - 1))).log())


def view_retrieval(z0: Tensor, z1: Tensor) -> float:
    """Share of the images whose first view (P, D), l2-normalised, is nearest to their own second view among all second views."""
    nearest = (z0 @ z1.T).argmax(1)
    return float((nearest == torch.arange(len(z0), device=z0.device)).float().mean())


def views_told_apart(z0: Tensor, z1: Tensor) -> float:
    """How often a first view (P, D), l2-normalised, is nearer to its image's second view than to another image's; equally near is half.

    0.5 is chance; 1 minus it is how often one view is not told from another image. Unlike retrieval it does not depend on P.
    """
    cosine, num = z0 @ z1.T, len(z0)
    own = cosine.diagonal()[:, None]
    won = (own > cosine).sum() + ((own == cosine).sum() - num) / 2  # without each image beside itself
    return float(won / (num * (num - 1)))


def knn_accuracy(z: Tensor, labels: Tensor) -> float:
    """Accuracy of the weighted k-NN on l2-normalised embeddings (N, D) with labels (N,), each with all the others as bank."""
    num_classes, right = int(labels.max()) + 1, 0
    for rows, (weight, positions) in zip(torch.arange(len(z), device=z.device).split(500), nearest(z, z, K + 1, TEMPERATURE), strict=True):
        weight = weight * (positions != rows[:, None])
        votes = torch.zeros(len(rows), num_classes, device=z.device).scatter_add_(1, labels[positions], weight)
        right += int((votes.argmax(1) == labels[rows]).sum())
    return right / len(z)
