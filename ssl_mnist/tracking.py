"""Where a run's results go: the console, `metrics.jsonl`, `summary.json`, `figures/` and Weights & Biases.

One context manager. The files in the run's folder are the record; W&B gets a copy and is never waited for without limit.
"""

import json
import logging
import os
import platform
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ssl_mnist import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ssl_mnist.engine import Engine

log = logging.getLogger(__name__)

# Seconds. A key check without a network takes 5.5 s, so that the two together stay under 20.
INIT_TIMEOUT, FINISH_TIMEOUT = 14, 30


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(scratch, path)


class Tracker:
    """Open a run's record in `folder`. Leaving it by an exception marks the W&B run as failed.

    mode: "online" and "auto" fall back to "offline" where the server does not answer or no key is configured, and say so.
    run: keyword arguments of `wandb.init` (project, entity, group, job_type, name, tags, config, notes).
    """

    def __init__(self, folder: Path, mode: str, run: Mapping[str, Any]) -> None:
        self.folder, self.mode, self.arguments = folder, mode, dict(run)
        self.history: list[dict[str, float]] = []
        self.summary: dict[str, Any] = {}
        self.bar: tqdm | None = None
        self.sending_failed = False

    def __enter__(self) -> "Tracker":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.wandb = _start_wandb(self.folder, self.mode, self.arguments)
        for name in ("summary.json", "encoder.pt"):  # of an earlier run in this folder, which would say that this one is whole
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "figures", ignore_errors=True)
        (self.folder / "figures").mkdir()
        self.metrics_file = (self.folder / "metrics.jsonl").open("w")
        for metric, axis in {"step": None, "epoch": None, "pretrain/*": "step", "pretrain/epoch_loss": "epoch"}.items():
            self._send(partial(_define, metric=metric, axis=axis))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close_bar()
        self.metrics_file.close()
        if self.wandb is not None:
            self.wandb.finish(exit_code=0 if kind is None else 1)
            if not self.wandb.offline:
                log.info("W&B     %s", self.wandb.url)
            if self.wandb.offline or self.sending_failed:
                log.info("W&B     to upload: wandb sync %s", shlex.quote(os.path.relpath(self.wandb.settings.sync_dir)))

    def _send(self, action: Callable[[Any, Any], Any]) -> None:
        """Call action(wandb, run). Where W&B fails, a warning says so, and from then on it is left alone: each try may take 20 s."""
        if self.wandb is None or self.sending_failed:
            return
        import wandb

        try:
            action(wandb, self.wandb)
        except wandb.errors.Error as error:
            self.sending_failed = True
            log.warning("W&B     did not take all, the run's folder holds it: %s", str(error).splitlines()[0])

    def stage(self, name: str) -> None:
        """Name what begins now."""
        self._close_bar()
        log.info("%s", name)

    def progress(self, num_steps: int) -> None:
        """Show a bar of `num_steps`, moved by `log`; only where the console is a terminal."""
        self.bar = tqdm(total=num_steps, unit="step", disable=None, dynamic_ncols=True, leave=False)

    def log(self, metrics: dict[str, float]) -> None:
        """One row, with its `step` and `epoch`."""
        self.history.append(metrics)
        print(json.dumps(metrics), file=self.metrics_file, flush=True)
        self._send(lambda _, run: run.log(metrics))
        if self.bar is not None:
            self.bar.set_postfix_str(
                f"loss {metrics['pretrain/loss']:.4f}, {metrics['pretrain/images_per_second']:,.0f} images/s", refresh=False
            )
            self.bar.update(int(metrics["step"]) - self.bar.n)

    def figure(self, name: str, figure: "Figure") -> None:
        """`figures/<name>.png`, and the image `figures/<name>` in W&B."""
        path = self.folder / "figures" / f"{name}.png"
        scratch = path.with_suffix(".tmp")
        figure.savefig(scratch, format="png", dpi=120)
        os.replace(scratch, path)
        self._send(lambda wandb, run: run.log({f"figures/{name}": wandb.Image(str(path))}))

    def table(self, name: str, columns: list[str | int], rows: Iterable[Iterable[Any]]) -> None:
        """A table in W&B."""
        data = [list(row) for row in rows]
        self._send(lambda wandb, run: run.log({name: wandb.Table(columns=columns, data=data)}))

    def artifact(self, path: Path, kind: str, metadata: dict[str, Any]) -> None:
        """A file as a W&B artifact of type `kind`."""

        def send(wandb: Any, run: Any) -> None:
            artifact = wandb.Artifact(f"{kind}-{run.id}", type=kind, metadata=metadata)
            artifact.add_file(str(path))
            run.log_artifact(artifact)

        self._send(send)

    def finish(self, summary: dict[str, Any]) -> None:
        """`summary.json`, flat, which marks the run as whole; and W&B's summary."""
        self.summary = summary
        self._send(lambda _, run: run.summary.update(summary))
        write_whole(self.folder / "summary.json", json.dumps(summary, indent=2) + "\n")
        log.info("\n%s\n", score_table(summary))
        log.info("folder  %s", os.path.relpath(self.folder))

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def score_table(summary: Mapping[str, Any]) -> str:
    """A run's scores and costs as lines of text."""
    lines = [
        f"{summary['choices/method']} on {summary['data/source']}, seed {summary['seed']}",
        "",
        f"{'accuracy (%)':<36}{'val':>8}{'test':>8}",
    ]
    titles = {
        "linear": "linear probe",
        "linear_map": "linear probe, map",
        "knn": "k-NN",
        "kmeans": "k-means, matched to classes",
    }
    few = sorted(int(found[1]) for key in summary if (found := re.fullmatch(r"test/linear_(\d+)_labels_accuracy", key)))
    titles |= {f"linear_{num}_labels": f"linear probe, {num} labels" for num in few}
    for name, title in (titles | {f"{name}_shifts": f"{title}, shifts" for name, title in titles.items()}).items():
        if f"test/{name}_accuracy" in summary:
            val, test = (100 * summary[f"{split}/{name}_accuracy"] for split in ("val", "test"))
            lines.append(f"{title:<36}{val:>8.2f}{test:>8.2f}")
    lines += [
        f"{'most confused (linear)':<36}  {summary['test/most_confused']}",
        f"{'pretraining':<36}  {summary['pretrain/seconds']:.1f} s, {summary['pretrain/images_per_second']:,.0f} images/s",
        f"{'everything':<36}  {summary['seconds']:.1f} s, encoder of {summary['model/parameters']:,} parameters",
        f"{'data':<36}  {summary['data/source']}",
    ]
    return "\n".join(lines)


def environment(engine: "Engine") -> dict[str, Any]:
    """Where and with what a run ran, flat."""
    import torch

    packages = ("torch", "torchvision", "lightly", "scikit-learn", "numpy", "wandb", "hydra-core")
    return {
        "machine/processor": platform.processor() or platform.machine(),
        "machine/cpus": os.cpu_count(),
        "machine/threads": torch.get_num_threads(),
        "machine/device": str(engine.device),
        "machine/precision": engine.precision,
        "versions/ssl_mnist": __version__,
        "versions/python": platform.python_version(),
        **{f"versions/{package}": version(package) for package in packages},
    }


def _define(_: Any, run: Any, metric: str, axis: str | None) -> None:
    run.define_metric(metric, step_metric=axis, hidden=axis is None)


def _start_wandb(folder: Path, mode: str, arguments: dict[str, Any]) -> Any:
    """A W&B run, or None where the mode is disabled. Raises ValueError for a setting that W&B refuses."""
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE", mode)
    if mode == "disabled":
        return None
    import wandb

    settings = wandb.Settings(silent=True, init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT)
    if "x_transaction_log_flush_interval" in wandb.Settings.model_fields:  # from wandb 0.31 on
        settings.x_transaction_log_flush_interval = 1  # second; what a killed run loses at most

    def start(mode: Any) -> Any:
        return wandb.init(mode=mode, dir=str(folder), reinit="finish_previous", settings=settings, **arguments)

    def start_offline() -> Any:
        try:
            return start("offline")
        except wandb.errors.UsageError as error:  # about the arguments, since nothing else can be wrong without a server
            raise ValueError(f"W&B refuses a setting under tracking: {error}") from error

    if mode == "offline":
        return start_offline()
    reason = "no W&B key is configured (wandb login)"
    try:
        if wandb.login(prompt=False, verify=False):
            run = start("online")
            log.info("W&B     online: %s", run.url)
            return run
    except wandb.errors.Error as error:
        reason = str(error).splitlines()[0]
    (log.warning if mode == "online" else log.info)("W&B     offline, because %s", reason)
    return start_offline()
