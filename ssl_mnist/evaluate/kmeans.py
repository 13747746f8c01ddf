"""k-means on frozen embeddings, and how well the clusters match the classes that they were found without."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.evaluate.base import Fitted, Labelled, Probe


class ClusterProbe(Probe):
    """Clusters of train, each named after a class of train."""

    def titles(self) -> dict[str, str]:
        return {self.name: "k-means, matched to classes"}

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        clusters = Clusters(train.features["embedding"], train.labels, train.num_classes)
        return Fitted(
            {self.name: clusters.predict(val.features["embedding"])},
            lambda features: {self.name: clusters.predict(features["embedding"])},
        )


class Clusters:
    """As many clusters as classes, of embeddings at unit length (the k-NN's cosine), the best of five starts (k-means++).

    Labels only name the clusters, one to one, by the matching that names most images rightly (the Hungarian algorithm, as in the
    clustering accuracy of Xie et al. 2016, https://arxiv.org/abs/1511.06335). They are the labels of the images that were clustered, so
    that a score on other images has seen no label of theirs.
    """

    def __init__(self, embeddings: Tensor, labels: Tensor, num_classes: int) -> None:
        """embeddings (N, D), labels (N,)."""
        from scipy.optimize import linear_sum_assignment  # here, since the first training step need not wait for them
        from sklearn.cluster import KMeans

        self.kmeans = KMeans(num_classes, n_init=5, random_state=0)
        found = self.kmeans.fit_predict(_unit(embeddings))
        counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # row: cluster, column: class
        np.add.at(counts, (found, labels.cpu().numpy()), 1)
        _, self.names = linear_sum_assignment(counts, maximize=True)

    def predict(self, embeddings: Tensor) -> Tensor:
        """(M, D) -> (M,) classes: the name of the nearest centre."""
        return torch.from_numpy(self.names[self.kmeans.predict(_unit(embeddings))]).to(embeddings.device)


def _unit(embeddings: Tensor) -> np.ndarray:
    return F.normalize(embeddings, dim=1).cpu().numpy()
