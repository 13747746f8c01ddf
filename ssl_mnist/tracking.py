"""Weights & Biases. It gets a copy of a run and never decides about it: whatever it raises is one warning, then it is left alone."""

import contextlib
import logging
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ssl_mnist.console import say
from ssl_mnist.errors import UserError

log = logging.getLogger(__name__)

# Seconds. A key check without a network takes 5.5 s, so that the two together stay under 20.
INIT_TIMEOUT, FINISH_TIMEOUT = 14, 30
PROJECT = "ssl-mnist"  # where neither tracking.project nor WANDB_PROJECT nor wandb/settings names one

_offline_because: str | None = None  # in this process no server is waited for again


class Tracker:
    """A W&B run. Use as a context manager; leaving it by an exception marks the W&B run as failed.

    settings: the group `tracking`; what is null there is what WANDB_* and wandb/settings say, else what `run` says.
    run: job_type, default_name, group, tags and config; `id` to add to a run that exists.
    A W&B run that the caller has open stays the caller's.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        self.folder, self.settings, self.about = folder, settings, run
        self.run: Any = None
        self.failed = False

    def __enter__(self) -> "Tracker":
        try:
            self.run = self._start()
        except UserError:
            raise
        except Exception as error:  # whatever is wrong with the client, its settings or its files
            self._warn(error)
        for metric, axis in {"step": None, "epoch": None, "pretrain/*": "step", "pretrain/epoch_loss": "epoch"}.items():
            self._send(partial(_define, metric=metric, axis=axis))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self.run is None:
            return
        offline, place = True, ""
        if not self.failed:
            self._send(lambda _, run: run.finish(exit_code=0 if kind is None else 1))
        try:
            offline, place = self.run.offline, str(self.run.settings.sync_dir)
            if not offline:
                say(f"W&B     {self.run.url}")
        except Exception as problem:
            self._warn(problem)
        if place and (offline or self.failed):
            say(f"W&B     to upload: {sync_line([Path(place)])}")

    def facts(self) -> dict[str, Any] | None:
        """The run's id, project, entity and group, for run.json; None where there is no W&B run."""
        if self.run is None:
            return None
        return {"id": self.run.id, "project": self.run.project, "entity": self.run.entity or None, "group": self.run.group or None,
                "offline": bool(self.run.offline)}  # fmt: skip

    def log(self, metrics: Mapping[str, float]) -> None:
        self._send(lambda _, run: run.log(dict(metrics)))

    def figure(self, name: str, path: Path) -> None:
        """An image file, as `figures/<name>`."""
        self._send(lambda wandb, run: run.log({f"figures/{name}": wandb.Image(str(path))}))

    def table(self, name: str, columns: list[str | int], rows: Iterable[Iterable[Any]]) -> None:
        data = [list(row) for row in rows]
        self._send(lambda wandb, run: run.log({name: wandb.Table(columns=columns, data=data)}))

    def artifact(self, path: Path, kind: str, metadata: Mapping[str, Any]) -> None:
        """A file, as an artifact of type `kind`."""

        def send(wandb: Any, run: Any) -> None:
            artifact = wandb.Artifact(f"{kind}-{run.id}", type=kind, metadata=dict(metadata))
            artifact.add_file(str(path))
            run.log_artifact(artifact)

        self._send(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """What the run's table shows."""
        self._send(lambda _, run: run.summary.update(dict(values)))

    def _send(self, action: Callable[[Any, Any], Any]) -> None:
        if self.run is None or self.failed:
            return
        import wandb

        try:
            action(wandb, self.run)
        except Exception as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if self.failed:
            return
        self.failed = True
        log.warning("WARNING W&B did not take all, the run's folder holds it: %s", _first_line(error))
        if isinstance(error, ConnectionError):  # its service process is gone; what the client would still send it at exit fails again
            import wandb

            with contextlib.suppress(Exception):
                wandb.teardown()

    def _start(self) -> Any:
        """A new W&B run, or None where it is disabled. Raises UserError for a setting under tracking.* that W&B refuses."""
        global _offline_because
        mode = self.settings["mode"]
        if mode == "disabled" or (mode == "auto" and os.environ.get("WANDB_MODE") == "disabled"):
            return None
        for name in [name for name, value in os.environ.items() if name.startswith("WANDB_") and not value]:
            del os.environ[name]  # the client refuses an empty WANDB_MODE
        self.folder.mkdir(parents=True, exist_ok=True)
        import wandb

        theirs = wandb.setup().settings  # of the environment and wandb/settings
        if mode == "auto":
            mode = {"dryrun": "offline", "run": "online", "shared": "online"}.get(str(theirs.mode), str(theirs.mode))
            if mode == "disabled":
                return None
            quiet = mode == "online"  # nobody asked for it in so many words
        else:
            quiet = False
        if mode == "online":
            reason = _offline_because or "no W&B key is configured (wandb login)"
            try:
                if _offline_because is None and wandb.login(prompt=False, verify=False):
                    run = self._init(wandb, theirs, "online")
                    say(f"W&B     online: {run.url}")
                    return run
            except wandb.errors.UsageError as error:
                if "key" not in str(error).lower():
                    raise UserError(f"W&B refuses a setting under tracking: {_first_line(error)}") from error
                reason = _first_line(error)
            except (wandb.errors.Error, OSError) as error:
                reason = _offline_because = _first_line(error)
            (log.info if quiet else log.warning)("W&B     offline, because %s", reason)
        try:
            return self._init(wandb, theirs, "offline")
        except wandb.errors.UsageError as error:  # about the arguments, since nothing else can be wrong without a server
            raise UserError(f"W&B refuses a setting under tracking: {_first_line(error)}") from error

    def _init(self, wandb: Any, theirs: Any, mode: str) -> Any:
        settings = wandb.Settings(silent=True, init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT)
        if "x_transaction_log_flush_interval" in wandb.Settings.model_fields:  # from wandb 0.31 on
            settings.x_transaction_log_flush_interval = 1  # second; what a killed run loses at most
        own, about = self.settings, self.about
        run = wandb.init(
            mode=mode,
            dir=str(self.folder),
            reinit="create_new",  # a run that the caller has open stays open
            settings=settings,
            id=about.get("id"),
            resume="allow" if about.get("id") else None,
            project=_text(own["project"]) or theirs.project or PROJECT,
            entity=_text(own["entity"]) or theirs.entity,
            group=_text(own["group"]) or theirs.run_group or about["group"],
            name=_text(own["name"]) or theirs.run_name or about["default_name"],
            notes=_text(own["notes"]) or theirs.run_notes,
            tags=list(dict.fromkeys(str(tag)[:64] for tag in [*own["tags"], *(theirs.run_tags or ()), *about["tags"]])),
            job_type=about["job_type"],
            config=about["config"],
        )
        with contextlib.suppress(Exception):  # telemetry: an import of ours would fail if the service process were gone
            from wandb.sdk.lib.import_hooks import unregister_all_post_import_hooks

            unregister_all_post_import_hooks()
        return run


def sync_line(folders: Iterable[Path]) -> str:
    """The command that uploads offline runs, to be pasted where the user stands; folders: `offline-run-*` or above."""
    return shlex.join(["wandb", "sync", *(os.path.relpath(folder) for folder in folders)])


def _text(value: Any) -> str | None:
    """W&B takes texts alone, where a user may have named a run 5."""
    return None if value is None else str(value)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__


def _define(_: Any, run: Any, metric: str, axis: str | None) -> None:
    run.define_metric(metric, step_metric=axis, hidden=axis is None)
