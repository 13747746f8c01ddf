"""Fine-tuning with few labels: a copy of the encoder is trained on, and the same network from its random initialisation beside it.

The frozen encoder itself stays as it is. Layer-wise decay of the learning rate: Clark et al. 2020 (https://arxiv.org/abs/2003.10555),
as used for images by BEiT (Bao et al. 2021, https://arxiv.org/abs/2106.08254).

Shapes: B batch, N images, n labelled images, C channels, H and W image size, D = encoder.dim, K classes.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from ssl_mnist.augment import Augmentation
from ssl_mnist.data import Images, as_float, chunks
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Labelled
from ssl_mnist.evaluate.budgets import BudgetProbe
from ssl_mnist.training.device import Device
from ssl_mnist.training.optim import parameter_groups
from ssl_mnist.training.seeds import seed_for

CHECKS = 10  # of the held-out labels, while it is decided after how many steps to stop
LEAST_HELD_OUT = 5  # labelled images a class from which one in five is held out; with fewer all steps are taken


class Classifier(nn.Module):
    """An encoder and a linear head."""

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K) logits."""
        return self.head(self.encoder(images))


def cross_entropy(network: Classifier, views: Tensor, targets: Tensor) -> Tensor:
    """Of views (B, C, H, W) in [0, 1] and classes (B,)."""
    return F.cross_entropy(network(views).float(), targets)


Loss = Callable[[Classifier, Tensor, Tensor], Tensor]


class FineTune(BudgetProbe):
    """The head is trained first, on the frozen encoder; then all layers, the lower ones with a smaller learning rate.

    BatchNorm keeps the statistics of pretraining. Where a class has five labelled images or more, a first training holds one in five out,
    and the number of steps with the lowest loss on them is that of the training on all n.
    """

    title, stem = "fine-tuning", "finetune"
    freezes_norms = True

    def __init__(
        self,
        num_labels: list[int],
        num_draws: int,
        all_labels: bool,
        head_steps: int,
        steps: int,
        epochs: float,
        batch_size: int,
        warmup: float,
        layer_decay: float,
        augmentation: Callable[..., Augmentation],
        optimizer: Callable[..., Optimizer],
    ) -> None:
        """head_steps, steps: of the two stages; epochs: passes over the n images, if that is more steps; warmup: share of the second
        stage; layer_decay: factor of the learning rate from a layer to the one below it."""
        super().__init__(num_labels, num_draws, all_labels)
        if min(head_steps, epochs) < 0 or min(steps, batch_size) < 1:
            given = f"{steps}, {batch_size}, {head_steps} and {epochs}"
            raise UserError(f"steps and batch_size must be 1 or more, head_steps and epochs 0 or more, got {given}")
        if not 0 <= warmup < 1 or not 0 < layer_decay <= 1:
            raise UserError(f"warmup must be in [0, 1) and layer_decay in (0, 1], got {warmup} and {layer_decay}")
        self.head_steps, self.steps, self.epochs, self.batch_size = head_steps, steps, epochs, batch_size
        self.warmup, self.layer_decay, self.augmentation, self.optimizer = warmup, layer_decay, augmentation, optimizer

    def adapt(self, encoder: Encoder, device: Device) -> None:
        self.encoder, self.device, self.augment = encoder, device, self.augmentation(spec=encoder.spec)

    def network(self, num_classes: int, seed: int) -> Classifier:
        """What is trained. seed: of the draw."""
        return Classifier(copy.deepcopy(self.encoder), num_classes)

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: None, seed: int) -> dict[str, Tensor]:
        labels = train.labels[drawn]
        images = train.features["images"][drawn]  # in memory, (n, C, H, W)
        num_steps = best = max(self.steps, math.ceil(self.epochs * len(drawn) / self.batch_size))
        with torch.random.fork_rng(), torch.enable_grad():
            if torch.bincount(labels).min() >= LEAST_HELD_OUT:
                held_out = torch.arange(len(labels), device=labels.device) % 5 == 0  # the draw has its classes one after the other
                best = self._best_step(images, labels, held_out, train.num_classes, num_steps, seed)
            network = self.network(train.num_classes, seed)
            for _ in itertools.islice(self.training(network, images, labels, num_steps, seed, cross_entropy), best):
                pass
        return dict(network.state_dict())

    def _best_step(self, images: Tensor, labels: Tensor, held_out: Tensor, num_classes: int, num_steps: int, seed: int) -> int:
        """After how many steps the cross-entropy on the held-out images is lowest."""
        network = self.network(num_classes, seed)
        losses: dict[int, float] = {}
        every = max(1, num_steps // CHECKS)
        for step in self.training(network, images[~held_out], labels[~held_out], num_steps, seed, cross_entropy):
            if step % every == 0 or step == num_steps:
                losses[step] = F.cross_entropy(self.logits(network, images[held_out]), labels[held_out]).item()
        return min(losses, key=lambda step: losses[step])

    def training(self, network: Classifier, images: Tensor, labels: Tensor, num_steps: int, seed: int, loss: Loss) -> Iterator[int]:
        """Train the head, then all layers, on images (n, C, H, W) uint8; yields the number of steps of the second stage that were taken.

        Raises UserError where the loss is not finite.
        """
        self.device.place(network)
        network.requires_grad_(True).train()
        if self.freezes_norms:
            freeze_norms(network.encoder)
        head = self.optimizer(network.head.parameters())
        batches = self.batches(images, labels, seed)
        for _ in range(self.head_steps):
            views, targets = next(batches)
            with torch.no_grad(), self.device.autocast():
                embeddings = network.encoder(views)
            self.step(head, F.cross_entropy(network.head(embeddings.float()), targets))
        optimizer = self.optimizer(layer_groups(network, self.layer_decay))
        rates = [group.get("lr_scale", 1.0) * group["lr"] for group in optimizer.param_groups]
        for step in range(num_steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * lr_factor(step, num_steps, self.warmup)
            views, targets = next(batches)
            with self.device.autocast():
                terms = loss(network, views, targets)
            self.step(optimizer, terms)
            yield step + 1

    def step(self, optimizer: Optimizer, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            raise UserError(f"evaluation.{self.name} diverged: its loss became {loss.item()}; a lower optimizer.lr may help")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def batches(self, images: Tensor, labels: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented views (B, C, H, W) and labels (B,) without end; passes over the images in new random orders."""
        for moment in itertools.count():
            torch.manual_seed(seed_for(seed, self.stem, moment))
            order = torch.cat([torch.randperm(len(labels)) for _ in range(math.ceil(self.batch_size / len(labels)))]).to(labels.device)
            for part in order.split(self.batch_size):
                if len(part) == self.batch_size or len(order) == len(part):
                    with torch.no_grad():
                        views = self.augment(as_float(images[part]))
                    yield views, labels[part]

    @torch.no_grad()
    def logits(self, network: Classifier, images: Images) -> Tensor:
        """(N, K) of images (N, C, H, W) uint8, not augmented; the network is back in its mode afterwards."""
        modes = {module: module.training for module in network.modules()}
        network.eval()
        found = torch.cat([network(as_float(part)) for part in chunks(images, 1000)])
        for module, training in modes.items():
            module.training = training
        return found

    def predict_draw(self, tensors: dict[str, Tensor], features: Features) -> Tensor:
        network = Classifier(copy.deepcopy(self.encoder), len(tensors["head.bias"]))
        network.load_state_dict(tensors)
        self.device.place(network)
        return self.logits(network, features["images"]).argmax(1)


class Scratch(FineTune):
    """The same network and training from random initialisation: what the labels alone are worth. Its BatchNorm is trained too."""

    title, stem = "from scratch", "scratch"
    freezes_norms = False

    def network(self, num_classes: int, seed: int) -> Classifier:
        torch.manual_seed(seed_for(seed, "initialisation"))
        return Classifier(self.encoder.untrained(), num_classes)


def freeze_norms(encoder: nn.Module) -> None:
    """BatchNorm in eval mode: few images are no basis for new statistics."""
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def layer_groups(network: Classifier, decay: float) -> list[dict[str, Any]]:
    """Parameter groups, each with `lr_scale`: 1 for the head, and by `decay` smaller from layer to layer below.

    A layer is what the first two parts of its parameters' names tell, such as layers.2 or blocks.5, in the order of the parameters.
    """
    layers = list(dict.fromkeys(".".join(name.split(".")[:2]) for name, _ in network.encoder.named_parameters()))
    scales = {layer: decay ** (len(layers) - i) for i, layer in enumerate(layers)}
    by_parameter = {parameter: scales[".".join(name.split(".")[:2])] for name, parameter in network.encoder.named_parameters()}
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for kind, group in enumerate(parameter_groups(network)):
        for parameter in group["params"]:
            scale = by_parameter.get(parameter, 1.0)
            rest = {key: value for key, value in group.items() if key != "params"}
            groups.setdefault((kind, scale), {"params": [], "lr_scale": scale} | rest)["params"].append(parameter)
    return list(groups.values())


def lr_factor(step: int, num_steps: int, warmup: float) -> float:
    """A linear warm-up over a share of the steps, then a cosine to 0."""
    rising = round(warmup * num_steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, num_steps - rising)))
