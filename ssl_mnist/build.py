"""Settings -> Experiment: the one place where objects are made from settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_mnist.augment import Augmentation
from ssl_mnist.data import Dataset, ImageSpec, class_counts, steps_per_epoch
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Probe
from ssl_mnist.evaluate.protocol import applicable, score_titles
from ssl_mnist.methods import Method
from ssl_mnist.training.device import Device
from ssl_mnist.training.optim import make_optimizer
from ssl_mnist.training.seeds import seed_for


@dataclass
class Experiment:
    """Everything that `pretrain` and `evaluate` need."""

    spec: ImageSpec
    dataset: Dataset
    augmentation: Augmentation
    encoder: Encoder
    encoder_arguments: dict[str, Any]  # with which the encoder was built, but for the spec
    method: Method
    optimizer: Optimizer
    schedule: LRScheduler
    probes: dict[str, Probe]  # those that the encoder has the features for
    device: Device
    seed: int
    epochs: int
    batch_size: int
    log_every: int

    @property
    def num_steps(self) -> int:
        return self.epochs * steps_per_epoch(self.dataset.train, self.batch_size)


def build(settings: Mapping[str, Any], device: Device, dataset: Dataset | None = None) -> Experiment:
    """Make all objects. settings: checked, from `config.compose`; dataset: one to use instead of reading the settings'.

    The encoder is initialised first, so that runs of one seed begin with the same encoder whatever the method. Raises UserError for
    what a constructor refuses, before any data is read.
    """
    spec = dataset.spec if dataset else _make("data.spec", settings["data"]["spec"], ImageSpec)
    torch.manual_seed(seed_for(settings["seed"], "initialisation"))
    augmentation = _make("augmentation", settings["augmentation"], Augmentation, spec=spec)
    encoder = _make("encoder", settings["encoder"], Encoder, spec=spec)
    if encoder.dim < 2:
        raise UserError(f"encoder: an embedding needs 2 numbers or more, this one has {encoder.dim}")
    method = _make("method", settings["method"], Method, encoder=encoder)
    device.place(method)
    probes = applicable(make_probes(settings), encoder)
    check_objective(settings["objective"], probes, settings["evaluation"]["tta"])

    if dataset is None:
        dataset = make_dataset(settings, device)
    check_probes(probes, dataset)
    pretraining = settings["pretrain"]
    num_steps = pretraining["epochs"] * steps_per_epoch(dataset.train, pretraining["batch_size"])
    optimizer, schedule = make_optimizer(_factory(settings["optimizer"]), method, num_steps, round(pretraining["warmup"] * num_steps))
    return Experiment(
        spec=spec,
        dataset=dataset,
        augmentation=augmentation,
        encoder=encoder,
        encoder_arguments={key: value for key, value in settings["encoder"].items() if not key.startswith("_")},
        method=method,
        optimizer=optimizer,
        schedule=schedule,
        probes=probes,
        device=device,
        seed=settings["seed"],
        epochs=pretraining["epochs"],
        batch_size=pretraining["batch_size"],
        log_every=pretraining["log_every"],
    )


def make_dataset(settings: Mapping[str, Any], device: Device) -> Dataset:
    """Read the data set that the settings name."""
    spec = _make("data.spec", settings["data"]["spec"], ImageSpec)
    node = {key: value for key, value in settings["data"].items() if key != "spec"}
    return _make("data", node, Dataset, spec=spec, device=device.device)


def make_probes(settings: Mapping[str, Any]) -> dict[str, Probe]:
    """The probes of the group `evaluation`, by name."""
    probes = {}
    for name, node in settings["evaluation"].items():
        if isinstance(node, dict):
            probes[name] = _make(f"evaluation.{name}", node, Probe)
            probes[name].name = name
    return probes


def check_probes(probes: Mapping[str, Probe], dataset: Dataset) -> None:
    """Raises UserError where a probe cannot be fitted to the data set."""
    classes = dataset.spec.classes
    counts = [class_counts(split, classes) for split in (dataset.train, dataset.val)]
    for probe in probes.values():
        probe.check(*counts)


def check_objective(objective: str, probes: Mapping[str, Probe], tta: int) -> None:
    """Raises UserError unless the objective is a score on val that these probes give."""
    if objective.startswith("test/"):
        raise UserError(f"objective must be a val score, got {objective}: choices are not made on test")
    scores = [f"val/{name}_accuracy" for name in score_titles(probes, tta)]
    if objective not in scores:
        raise UserError(f"objective must be one of {', '.join(scores)}, got {objective}")


def _make(where: str, node: Mapping[str, Any], kind: type, **arguments: Any) -> Any:
    """Hydra's instantiate; a UserError of the constructor's comes out as it is, with the setting's name where it does not say it."""
    try:
        made = _factory(node)(**arguments)
    except (InstantiationException, UserError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is None:
            raise
        inner = str(error).rpartition("full_key: ")[2].split()
        key = f"{where}.{inner[0]}" if "full_key: " in str(error) and inner else where
        named = re.search(rf"\b{where.partition('.')[0]}[.=:]", str(cause))
        raise UserError(str(cause) if named else f"{key}: {cause}") from error
    if not isinstance(made, kind):
        raise UserError(f"{where}._target_ must make a {kind.__name__}, not a {type(made).__name__}")
    return made


def _factory(node: Mapping[str, Any]) -> Callable[..., Any]:
    """What a node's `_target_` names, with the node's settings; objects are passed when it is called, since Hydra would copy them."""
    return instantiate(dict(node), _convert_="all", _partial_=True)
