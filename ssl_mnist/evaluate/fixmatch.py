"""FixMatch (Sohn et al. 2020, https://arxiv.org/abs/2001.07685, algorithm 1), begun from the pretrained encoder.

The labels of n images and consistency on all others of train: where the class of a weakly augmented view is predicted with confidence, the
strongly augmented view has to be given the same. Predictions are first aligned with the labels' distribution, which is uniform, since a
draw has equally many of each class (distribution alignment, Berthelot et al. 2020, https://arxiv.org/abs/1911.09785, section 3.1).

Shapes: B batch of labelled images, M = ratio B unlabelled ones, C channels, H and W image size, K classes.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from ssl_mnist.augment import Augmentation
from ssl_mnist.data import Images, as_float, batches
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Labelled
from ssl_mnist.evaluate.finetune import Classifier, FineTune
from ssl_mnist.training.device import Device
from ssl_mnist.training.seeds import seed_for


class FixMatch(FineTune):
    """What predicts is the moving average of the weights. All steps are taken: nothing is held out of the n labels."""

    title, stem = "FixMatch", "fixmatch"

    def __init__(
        self,
        num_labels: list[int],
        num_draws: int,
        head_steps: int,
        steps: int,
        batch_size: int,
        ratio: int,
        threshold: float,
        weight: float,
        average: float,
        warmup: float,
        layer_decay: float,
        augmentation: Callable[..., Augmentation],
        strong: Callable[..., Augmentation],
        optimizer: Callable[..., Optimizer],
    ) -> None:
        """ratio: unlabelled images a labelled one (mu); threshold: of the confidence (tau); weight: of the unlabelled loss (lambda_u);
        average: decay of the moving averages of the weights and of the predictions; augmentation: the weak one."""
        super().__init__(num_labels, num_draws, False, head_steps, steps, 0, batch_size, warmup, layer_decay, augmentation, optimizer)
        if ratio < 1 or not 0 <= threshold < 1 or not weight >= 0 or not 0 <= average < 1:
            given = f"{ratio}, {threshold}, {weight} and {average}"
            raise UserError(f"ratio must be 1 or more, threshold and average in [0, 1), weight 0 or more, got {given}")
        self.ratio, self.threshold, self.weight, self.average, self.strong = ratio, threshold, weight, average, strong

    def adapt(self, encoder: Encoder, device: Device) -> None:
        super().adapt(encoder, device)
        self.augment_strongly = self.strong(spec=encoder.spec)

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: None, seed: int) -> dict[str, Tensor]:
        images, labels = train.features["images"], train.labels[drawn]
        network = self.network(train.num_classes, seed)
        loss = Consistency(self, self.unlabelled(images, seed), train.num_classes, labels.device)
        averaged: Classifier | None = None
        with torch.random.fork_rng(), torch.enable_grad():
            for step in self.training(network, images[drawn], labels, self.steps, seed, loss):
                if averaged is None:  # after the head has been trained
                    averaged = copy.deepcopy(network)
                decay = min(self.average, step / (step + 10))
                for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
                    mean.data.lerp_(value.data, 1 - decay)
        assert averaged is not None
        return dict(averaged.state_dict())

    def unlabelled(self, images: Images, seed: int) -> Iterator[Tensor]:
        """Images (M, C, H, W) in [0, 1] without end."""
        num, epoch = min(len(images), self.ratio * self.batch_size), 0
        while True:
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed_for(seed, "unlabelled", epoch)))
            yield from map(as_float, batches(images, order.to(images.device) if isinstance(images, Tensor) else order, num))
            epoch += 1


class Consistency:
    """Cross-entropy on the labelled views plus `weight` times that on the confident unlabelled ones."""

    def __init__(self, probe: FixMatch, images: Iterator[Tensor], num_classes: int, device: torch.device) -> None:
        self.probe, self.images = probe, images
        self.seen = torch.full((num_classes,), 1 / num_classes, device=device)  # moving average of the predictions

    def __call__(self, network: Classifier, views: Tensor, targets: Tensor) -> Tensor:
        """views (B, C, H, W) in [0, 1], classes (B,)."""
        with torch.no_grad():
            images = next(self.images)
            weak = network(self.probe.augment(images)).float().softmax(1)  # (M, K)
            torch.clear_autocast_cache()  # of weights without gradients, which some versions of torch hand on to the views below
            self.seen.lerp_(weak.mean(0), 1 - self.probe.average)
            aligned = weak / self.seen
            confidence, pseudo = (aligned / aligned.sum(1, keepdim=True)).max(1)
            confident = (confidence >= self.probe.threshold).float()
            strong = self.probe.augment_strongly(images)
        logits = network(torch.cat([views, strong])).float()
        labelled, unlabelled = logits[: len(views)], logits[len(views) :]
        consistency = (F.cross_entropy(unlabelled, pseudo, reduction="none") * confident).mean()
        return F.cross_entropy(labelled, targets) + self.probe.weight * consistency
