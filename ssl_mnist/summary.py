"""What a run's summary holds beside its scores: what it took, what it was made from, and where."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_mnist import __version__

if TYPE_CHECKING:
    from ssl_mnist.build import Experiment
    from ssl_mnist.evaluate import Evaluation
    from ssl_mnist.training.device import Device


def costs(experiment: "Experiment", history: list[dict[str, float]], seconds: Mapping[str, float]) -> dict[str, Any]:
    """What the run took, in seconds without imports and figures, by its part ("" is all of it), and the last of its metrics."""
    return {
        **{name: value for name, value in (history[-1] if history else {}).items() if name.startswith("pretrain/")},
        "pretrain/steps": experiment.num_steps,
        **{f"{part}/seconds".lstrip("/"): value for part, value in seconds.items()},
        "pretrain/images_per_second": experiment.num_steps * experiment.batch_size / seconds["pretrain"],
        "model/parameters": num_parameters(experiment.encoder),
        "model/pretrain_parameters": num_parameters(experiment.method),
        "model/dim": experiment.encoder.dim,
    }


def predictions(evaluation: "Evaluation") -> dict[str, Any]:
    """What the first probe said of each image of the shown split, in the split's order: classes by their number."""
    assert evaluation.shown.labels is not None and evaluation.predicted is not None
    labels = {"true": evaluation.shown.labels.tolist(), "predicted": evaluation.predicted.tolist()}
    return {"split": evaluation.split, "score": evaluation.scores["primary"]} | labels


def facts(experiment: "Experiment", settings: Mapping[str, Any], what: Mapping[str, Any], evaluation: "Evaluation") -> dict[str, Any]:
    """What the run was made from and where."""
    from ssl_mnist.data import sizes

    dataset = experiment.dataset
    splits = {"train": dataset.train, "val": dataset.val, evaluation.split: evaluation.shown}
    return {
        "data/source": dataset.name,
        "data/fingerprint": dataset.fingerprint,
        "data/classes": dataset.spec.classes,
        **sizes(splits, dataset.spec.classes),
        **{f"choices/{group}": choice for group, choice in settings["choices"].items()},
        "seed": settings["seed"],
        "identity": what["identity"],
        **({"reference": experiment.method.reference} if experiment.method.reference else {}),
        **environment(experiment.device),
    }


def environment(device: "Device") -> dict[str, Any]:
    """Where and with what a run ran, flat."""
    import torch

    packages = ("torch", "torchvision", "lightly", "scikit-learn", "numpy", "wandb", "hydra-core")
    return {
        "machine/processor": _processor(),
        "machine/cpus": os.cpu_count(),
        "machine/threads": torch.get_num_threads(),
        "machine/device": str(device.device),
        "machine/precision": device.precision,
        "versions/ssl_mnist": __version__,
        "versions/python": platform.python_version(),
        **{f"versions/{package}": version(package) for package in packages},
    }


def _processor() -> str:
    """The processor's name, on Linux from /proc."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def num_parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
