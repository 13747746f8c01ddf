"""k-means on frozen embeddings, and how well the clusters match the classes that they were found without."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe


class ClusterProbe(Probe):
    """Clusters of train, each named after a class of train."""

    def titles(self) -> dict[str, str]:
        return {self.name: "k-means, matched to classes"}

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        tensors = cluster(train.features["embedding"], train.labels, train.num_classes)
        return Fitted(self, tensors, self.predict(tensors, val.features))

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        return {self.name: nearest_name(tensors, features["embedding"])}


def cluster(embeddings: Tensor, labels: Tensor, num_classes: int) -> dict[str, Tensor]:
    """As many clusters as classes, of embeddings (N, D) at unit length (the k-NN's cosine), the best of five starts (k-means++):
    `centres` (K, D) and `names` (K,), the class after which each is named.

    Labels (N,) only name the clusters, one to one, by the matching that names most images rightly (the Hungarian algorithm, as in the
    clustering accuracy of Xie et al. 2016, https://arxiv.org/abs/1511.06335). They are the labels of the images that were clustered, so
    that a score on other images has seen no label of theirs.
    """
    from scipy.optimize import linear_sum_assignment  # here, since the first training step need not wait for them
    from sklearn.cluster import KMeans

    kmeans = KMeans(num_classes, n_init=5, random_state=0)
    found = kmeans.fit_predict(F.normalize(embeddings, dim=1).cpu().numpy())
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # row: cluster, column: class
    np.add.at(counts, (found, labels.cpu().numpy()), 1)
    _, names = linear_sum_assignment(counts, maximize=True)
    centres = torch.from_numpy(kmeans.cluster_centers_).to(embeddings.device, embeddings.dtype)
    return {"centres": centres, "names": torch.from_numpy(names).to(embeddings.device)}


def nearest_name(clusters: dict[str, Tensor], embeddings: Tensor) -> Tensor:
    """(M, D) -> (M,) classes: the name of the nearest centre."""
    centres = clusters["centres"]
    distances = centres.square().sum(1) - 2 * F.normalize(embeddings, dim=1) @ centres.T  # squared, up to each image's own length
    return clusters["names"][distances.argmin(1)]
