"""Settings -> Experiment: the one place where objects are made from settings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_mnist import config
from ssl_mnist.augment import Augmentation
from ssl_mnist.data import Dataset, Images, ImageSpec, KnownSpec, class_counts, steps_per_epoch
from ssl_mnist.data.download import no_download
from ssl_mnist.data.spec import checked
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Probe
from ssl_mnist.evaluate.protocol import applicable, score_titles
from ssl_mnist.evaluate.study import Study
from ssl_mnist.evaluate.transfer import suited
from ssl_mnist.methods import Method
from ssl_mnist.training import distributed
from ssl_mnist.training.device import Device
from ssl_mnist.training.distributed import Ranks
from ssl_mnist.training.optim import make_optimizer
from ssl_mnist.training.seeds import seed_for

ALONE = Ranks()
PARTIAL = ("augmentation", "strong", "optimizer")  # settings of a probe that it gets as functions which make the object


@dataclass
class Experiment:
    """Everything that `pretrain` and `evaluate` need."""

    spec: ImageSpec
    dataset: Dataset
    augmentation: Augmentation
    encoder: Encoder
    method: Method
    optimizer: Optimizer
    schedule: LRScheduler
    probes: dict[str, Probe]  # those that the data and the encoder have what they need for
    studies: dict[str, Study]
    left_out: list[str]  # what is not evaluated, and why
    device: Device
    seed: int
    epochs: int
    batch_size: int
    log_every: int
    ranks: Ranks  # the processes that train it together

    @property
    def images(self) -> Images:
        """The images (N, C, H, W) that the method trains on."""
        return trained_on(self.method, self.dataset)

    @property
    def labels(self) -> Tensor | None:
        """Their classes (N,), for a method whose class says `supervised`; None for any other."""
        return self.dataset.train.labels if self.method.supervised else None

    @property
    def num_steps(self) -> int:
        return self.epochs * steps_per_epoch(self.images, self.batch_size)


def trained_on(method: Method, dataset: Dataset) -> Images:
    """The images without labels, where a data set has such; a supervised method takes train's."""
    return dataset.train.images if method.supervised else dataset.to_pretrain


def build(settings: Mapping[str, Any], device: Device, dataset: Dataset | None = None, ranks: Ranks = ALONE) -> Experiment:
    """Make all objects. settings: checked, from `config.compose`; dataset: one to use instead of reading the settings'; ranks: where
    several processes train one model, which of them this is.

    The encoder is initialised first, so that runs of one seed begin with the same encoder whatever the method. Raises UserError for
    what a constructor refuses, before any data is read where the YAML file says all about its images.
    """
    known = dataset.spec if dataset else _make("data.spec", settings["data"]["spec"], ImageSpec | KnownSpec)
    if isinstance(known, KnownSpec):
        dataset = make_dataset(settings, device)
        known = dataset.spec
    spec: ImageSpec = known
    torch.manual_seed(seed_for(settings["seed"], "initialisation"))
    augmentation = _make("augmentation", settings["augmentation"], Augmentation, spec=spec)
    encoder = _make("encoder", settings["encoder"], Encoder, spec=spec)
    encoder.arguments = {key: value for key, value in settings["encoder"].items() if not key.startswith("_")}
    if encoder.dim < 2:
        raise UserError(f"encoder: an embedding needs 2 numbers or more, this one has {encoder.dim}")
    method = _make("method", settings["method"], Method, encoder=encoder)
    if ranks.num > 1 and device.device.type == "cuda":
        method = torch.nn.SyncBatchNorm.convert_sync_batchnorm(method)
    device.place(method)
    probes, studies = make_evaluation(settings)
    probes = applicable(probes, encoder, device, method.projects)
    check_objective(settings["objective"], probes, settings["evaluation"]["tta"])

    if dataset is None:
        dataset = make_dataset(settings, device)
    probes, left_out = fitting(probes, dataset, settings["overrides"])
    studies, others_left_out = fitting_studies(studies, dataset)
    left_out += others_left_out
    if spec.classes is not None:
        check_objective(settings["objective"], probes, settings["evaluation"]["tta"])
    pretraining = settings["pretrain"]
    images = trained_on(method, dataset)
    batch_size = min(pretraining["batch_size"], len(images))
    if batch_size < pretraining["batch_size"] and _names(settings["overrides"], "pretrain.batch_size"):
        raise UserError(f"pretrain.batch_size must be at most the {batch_size:,} training images, got {pretraining['batch_size']:,}")
    if pretraining["keep"] == "best_knn" and spec.classes is None:
        raise UserError("pretrain.keep=best_knn goes by labels of val, and the images have none; pretrain.keep=best_rankme needs none")
    distributed.check(batch_size, ranks)
    epochs = pretraining["epochs"] if method.trains else 0
    num_steps = epochs * steps_per_epoch(images, batch_size)
    optimizer, schedule = make_optimizer(_factory(settings["optimizer"]), method, num_steps, round(pretraining["warmup"] * num_steps))
    return Experiment(
        spec=spec,
        dataset=dataset,
        augmentation=augmentation,
        encoder=encoder,
        method=method,
        optimizer=optimizer,
        schedule=schedule,
        probes=probes,
        studies=studies,
        left_out=left_out,
        device=device,
        seed=settings["seed"],
        epochs=epochs,
        batch_size=batch_size,
        log_every=pretraining["log_every"],
        ranks=ranks,
    )


def make_dataset(settings: Mapping[str, Any], device: Device) -> Dataset:
    """Read the data set that the settings name. Raises UserError where it is not what its spec says."""
    spec = _make("data.spec", settings["data"]["spec"], ImageSpec | KnownSpec)
    node = {key: value for key, value in settings["data"].items() if key != "spec"}
    return checked(_make("data", node, Dataset, spec=spec, device=device.device))


def make_evaluation(settings: Mapping[str, Any]) -> tuple[dict[str, Probe], dict[str, Study]]:
    """The probes and the studies of the group `evaluation`, by name. Raises UserError for a study that names a probe or a data set which
    there is not."""
    made = {}
    for name, node in settings["evaluation"].items():
        if isinstance(node, dict):
            plain = {key: value for key, value in node.items() if key not in PARTIAL}
            parts = {key: _factory(node[key]) for key in PARTIAL if key in node}  # what they are made for is known to the probe alone
            made[name] = _make(f"evaluation.{name}", plain, Probe | Study, **parts)
            made[name].name = name
    probes = {name: each for name, each in made.items() if isinstance(each, Probe)}
    studies = {name: each for name, each in made.items() if isinstance(each, Study)}
    for name, study in studies.items():
        study.check(probes)
        for other in study.data:
            try:
                config.check(config.compose(f"data={other}"))
            except UserError as error:
                raise UserError(f"evaluation.{name}.data names {other}: {error}") from error
    return probes, studies


def read_others(studies: Mapping[str, Study], dataset: Dataset, device: Device) -> tuple[dict[str, Dataset], list[str]]:
    """The other data sets that studies need, by name, as an encoder for `dataset` takes them; and why some are left out.

    They are read from where their files are, and never downloaded.
    """
    found: dict[str, Dataset] = {}
    left_out = []
    for name, study in studies.items():
        for other in study.data:
            node = config.compose(f"data={other}")["data"]
            stopping = {"fallback": "error"} if "fallback" in node else {}  # no other data in its place
            try:
                with no_download():
                    found[other] = suited(make_dataset({"data": node | stopping}, device), dataset)
            except UserError as error:
                left_out.append(f"{name} to {other}: {error}")
    return found, left_out


def fitting(probes: Mapping[str, Probe], dataset: Dataset, overrides: Sequence[str]) -> tuple[dict[str, Probe], list[str]]:
    """The probes that can be fitted to the data set, and why the others cannot.

    Raises UserError where none can though there are labels, and for one whose settings the overrides name.
    """
    if dataset.spec.classes is None:
        return {}, [f"{', '.join(probes)}: the images have no labels"]
    counts = [class_counts(split, dataset.spec.classes) for split in (dataset.train, dataset.val)]
    found, left_out = {}, []
    for name, probe in probes.items():
        try:
            probe.check(*counts)
            found[name] = probe
        except UserError as error:
            if _names(overrides, f"evaluation.{name}"):
                raise
            if part := probe.reduce(*counts):
                found[name] = probe
            left_out.append(f"{name}{f' with {part}' if part else ''}: {error}")
    if not found:
        raise UserError(left_out[0])
    return found, left_out


def fitting_studies(studies: Mapping[str, Study], dataset: Dataset) -> tuple[dict[str, Study], list[str]]:
    """The studies that the data set has what they need for, and why the others cannot be made."""
    if dataset.spec.classes is None and studies:
        return {}, [f"{', '.join(studies)}: the images have no labels"]
    return dict(studies), []


def _names(overrides: Sequence[str], key: str) -> bool:
    """Whether the command line sets a key or one below it."""
    set_keys = [override.lstrip("+").partition("=")[0] for override in overrides]
    return any(each == key or each.startswith(f"{key}.") for each in set_keys)


def check_objective(objective: str, probes: Mapping[str, Probe], tta: int) -> None:
    """Raises UserError unless the objective is a score on val that these probes give."""
    if objective.startswith("test/"):
        raise UserError(f"objective must be a val score, got {objective}: choices are not made on test")
    scores = [f"val/{name}_accuracy" for name in score_titles(probes, tta)]
    if objective not in scores:
        raise UserError(f"objective must be one of {', '.join(scores)}, got {objective}")


def _make(where: str, node: Mapping[str, Any], kind: Any, **arguments: Any) -> Any:
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
        raise UserError(f"{where}._target_ must make a {getattr(kind, '__name__', kind)}, not a {type(made).__name__}")
    return made


def _factory(node: Mapping[str, Any]) -> Callable[..., Any]:
    """What a node's `_target_` names, with the node's settings; objects are passed when it is called, since Hydra would copy them."""
    return instantiate(dict(node), _convert_="all", _partial_=True)
