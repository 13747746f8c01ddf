"""A training on disk, to go on from after a kill: written whole or not at all, the last two kept, each with its checksum.

A file `step-<step>-<checksum>.pt` is read by `torch.load(..., weights_only=True)`; the checksum is the first 16 hex digits of the SHA-256
of its bytes. Random numbers need no state: they depend on the seed and the step alone (seeds.py).
"""

import hashlib
import io
import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ssl_mnist.files import atomic_write

if TYPE_CHECKING:
    from ssl_mnist.build import Experiment

log = logging.getLogger(__name__)

FORMAT = 2
KEPT = 2
_NAME = re.compile(r"step-(\d+)-([0-9a-f]{16})\.pt")


@dataclass
class Progress:
    """How far a training is, beside its networks and its optimizer."""

    step: int = 0
    pending: list[dict[str, Tensor]] = field(default_factory=list)  # terms of the steps since the last row of metrics
    epoch_losses: list[float] = field(default_factory=list)  # of the steps of this epoch before those
    last: str = "none yet"  # the last row of metrics, in words
    best: dict[str, Any] | None = None  # where pretrain.keep wants it, the best epoch so far: `epoch`, `value`, `method`


class Checkpoints:
    """The checkpoints of one run, in a folder that holds nothing else.

    identity: of the run; one of another identity is not read, but for that of the shorter run which this one `extends`. every: seconds
    between two of them.
    """

    def __init__(self, folder: Path, identity: str, every: float, extends: str | None = None) -> None:
        self.folder, self.identity, self.every, self.extends = folder, identity, every, extends
        self.saved_at = time.monotonic()
        self.rejected: list[Path] = []  # what `newest` could not use

    def due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.every

    def save(self, experiment: "Experiment", progress: Progress, metrics: bytes, seconds: float) -> None:
        """metrics: what metrics.jsonl holds; seconds: of training so far. A full disk costs the checkpoint, not the run."""
        content = {
            "format": FORMAT,
            "identity": self.identity,
            "method": experiment.method.state_dict(),
            "optimizer": _with_plain_lr(experiment.optimizer.state_dict()),
            **vars(progress),
            "metrics_bytes": len(metrics),
            "metrics_hash": hashlib.sha256(metrics).hexdigest(),
            "seconds": seconds,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue()
        path = self.folder / f"step-{progress.step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
        try:
            self.folder.mkdir(exist_ok=True)
            atomic_write(path, data)
        except OSError as error:
            log.warning("WARNING no checkpoint of step %d: %s cannot be written (%s)", progress.step, path, error.strerror)
        else:
            for old in [*self.rejected, *[each for each in self._files() if each not in (path, *self.rejected)][KEPT - 1 :]]:
                old.unlink(missing_ok=True)
            self.rejected.clear()
        self.saved_at = time.monotonic()

    def newest(self, metrics: bytes) -> dict[str, Any] | None:
        """The content of the newest checkpoint that is whole, of this run and with whose rows metrics.jsonl begins, or None."""
        self.rejected.clear()
        for path in self._files():
            try:
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest()[:16] != _parts(path)[1]:
                    raise ValueError("its content does not match its checksum")
                content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
                if content["format"] != FORMAT or content["identity"] not in (self.identity, self.extends):
                    raise ValueError("it is of another run")
                if hashlib.sha256(metrics[: content["metrics_bytes"]]).hexdigest() != content["metrics_hash"]:
                    raise ValueError("metrics.jsonl does not begin with the rows that it had then")
            except Exception as error:  # whatever a foreign file makes torch say
                reason = str(error).splitlines()[0] if isinstance(error, ValueError | OSError) else "it is damaged"
                log.warning("WARNING %s is not used: %s", path, reason)
                self.rejected.append(path)
                continue
            return content
        return None

    def remove(self) -> None:
        for path in [*self._files(), *self.folder.glob("step-*.pt.*.tmp")]:  # .tmp: a kill while one was written
            path.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:  # not there, or the user has put something into it
            return

    def _files(self) -> list[Path]:
        """The newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)), key=_parts, reverse=True)


def _parts(path: Path) -> tuple[int, str]:
    match = _NAME.fullmatch(path.name)
    assert match
    return int(match[1]), match[2]


def _with_plain_lr(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state whose learning rates are Python's floats: lightly's schedule may make NumPy's, which torch refuses to read with
    weights_only."""
    return state | {"param_groups": [group | {"lr": float(group["lr"])} for group in state["param_groups"]]}


def restore(content: dict[str, Any], experiment: "Experiment") -> Progress:
    """Put a checkpoint's content into an experiment; returns how far the training was."""
    experiment.method.load_state_dict(content["method"])
    experiment.optimizer.load_state_dict(content["optimizer"])
    schedule = experiment.schedule
    assert isinstance(schedule, LambdaLR)
    schedule.last_epoch = content["step"]
    for group, base, factor in zip(experiment.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * factor(content["step"])
    device = experiment.device.device
    pending = [{name: value.to(device) for name, value in terms.items()} for terms in content["pending"]]
    return Progress(content["step"], pending, content["epoch_losses"], content["last"], content["best"])
