"""Weights & Biases. It gets a copy of a run and never decides about it: whatever goes wrong there is one warning, and the run goes on."""

import atexit
import contextlib
import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_mnist.console import say, shown
from ssl_mnist.errors import UserError
from ssl_mnist.files import ENCODER

log = logging.getLogger(__name__)

# Seconds. A start online may take 5.5 s more for the client's look at the key, so that the two together stay under 20.
INIT_TIMEOUT, FINISH_TIMEOUT, FETCH_TIMEOUT = 14, 30, 300
PROJECT = "ssl-mnist"  # where neither tracking.project nor WANDB_PROJECT nor wandb/settings names one
MAX_TAG = 64  # characters, W&B's limit

_FIELDS = {"project": "project", "entity": "entity", "group": "run_group", "name": "run_name", "notes": "run_notes", "tags": "run_tags"}
_AXES = {"step": None, "epoch": None, "pretrain/*": "step", "pretrain/epoch_loss": "epoch", "health/*": "epoch"}

_no_server: str | None = None  # why no server is waited for again in this process


class Tracker:
    """The W&B run of a run. Use as a context manager; leaving it by an exception marks the W&B run as failed.

    settings: the group `tracking`. Where it says null (tags: []), WANDB_* and wandb/settings decide; where they say nothing, `run` does.
    run: job_type, default_name, group, tags, config; and `id`, to continue a W&B run that exists.
    Entering raises UserError for a setting under `tracking` that W&B refuses, and nothing else.
    A W&B run that the caller has open stays open, and stays `wandb.run`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        self.folder, self.settings, self.about = folder, settings, run
        self.run: Any = None
        self.url: str | None = None
        self.offline = self.failed = self.service_died = False
        self.place: Path | None = None  # where W&B keeps the run's files

    def __enter__(self) -> "Tracker":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self.run is None:
            return
        if not self.service_died:
            try:
                with _quiet():
                    self.run.finish(exit_code=0 if kind is None else 1)
            except Exception as problem:
                self._fail(problem)
        if self.url:
            say(f"W&B     {self.url}")
        if (self.offline or self.failed) and self.place and self.place.is_dir():
            tries = self.place.parent.glob(f"*run-*-{self.place.name.rpartition('-')[2]}")  # several of a run that was killed
            say(f"W&B     to upload: {sync_line(sorted(tries))}")

    def start(self) -> None:
        """Start the W&B run, unless the mode is disabled."""
        mode = self.settings["mode"]
        if mode == "disabled" or (mode == "auto" and os.environ.get("WANDB_MODE") == "disabled"):
            return
        if "wandb" not in sys.modules:  # the client would wait 20 s at exit for a silent server to take its reports on itself
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            with _quiet():
                self._start(mode)
        except UserError:
            raise
        except Exception as error:
            self._fail(error)

    def facts(self) -> dict[str, Any] | None:
        """For run.json: id, project, entity, group, offline; None without a W&B run."""
        if self.run is None:
            return None
        keys = ("id", "project", "entity", "group")
        return {key: getattr(self.run, key) or None for key in keys} | {"offline": self.offline}

    def log(self, metrics: Mapping[str, float]) -> None:
        """One row, with its `step` and `epoch`."""
        self._send(lambda run: run.log(dict(metrics)))

    def figure(self, name: str, path: Path) -> None:
        """An image file, as `figures/<name>`."""

        def send(run: Any) -> None:
            import wandb

            run.log({f"figures/{name}": wandb.Image(str(path))})

        self._send(send)

    def table(self, name: str, columns: list[str | int], rows: Iterable[Iterable[Any]]) -> None:
        data = [list(row) for row in rows]

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=columns, data=data)})

        self._send(send)

    def artifact(self, path: Path, kind: str, metadata: Mapping[str, Any]) -> None:
        """A file, as an artifact of type `kind`."""

        def send(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(f"{kind}-{run.id}", type=kind, metadata=dict(metadata))
            artifact.add_file(str(path))
            run.log_artifact(artifact)

        self._send(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """The values that the W&B run's row in the project's table shows."""
        self._send(lambda run: run.summary.update(dict(values)))

    def _send(self, action: Callable[[Any], Any]) -> None:
        if self.run is None or self.failed:
            return
        try:
            action(self.run)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Say once what went wrong; from then on nothing more is sent, as each try may take 20 s."""
        global _no_server
        reason = _reason(error)
        if isinstance(error, TimeoutError):  # of finish
            reason, _no_server = "the server stopped answering", "the server stopped answering in an earlier run of this process"
        if not self.failed:
            log.warning("WARNING W&B did not take everything, the run's folder holds it: %s", reason)
        self.failed = True
        if isinstance(error, ConnectionError) or type(error).__name__ == "MailboxClosedError":
            self.service_died = True
            _forget_service(self.run)

    def _start(self, mode: str) -> None:
        global _no_server
        import wandb

        own = {key: _text(self.settings[key]) for key in _FIELDS}
        for key, value in own.items():
            try:
                wandb.Settings(**{_FIELDS[key]: value})
            except Exception as error:
                raise UserError(f"tracking.{key}={self.settings[key]} is refused by W&B: {_reason(error)}") from error

        with _no_stderr():
            theirs = wandb.setup().settings  # what WANDB_* and wandb/settings say; starts the service
        wandb.errors.term._silent = True  # setup sets it anew
        wanted = str(theirs.mode) if mode == "auto" else mode
        wanted = {"dryrun": "offline", "run": "online"}.get(wanted, wanted)
        if wanted == "disabled":
            return
        automatic = [str(tag)[:MAX_TAG] for tag in self.about["tags"]]
        arguments = {
            "project": own["project"] or theirs.project or PROJECT,
            "entity": own["entity"] or theirs.entity,
            "group": own["group"] or theirs.run_group or self.about["group"],
            "name": own["name"] or theirs.run_name or self.about["default_name"],
            "notes": own["notes"] or theirs.run_notes,
            "tags": list(dict.fromkeys([*(own["tags"] or theirs.run_tags or ()), *automatic])),
            "job_type": theirs.run_job_type or self.about["job_type"],
            "config": self.about["config"],
        }
        if self.about.get("id"):
            arguments |= {"id": self.about["id"], "resume": "allow"}

        if wanted != "offline":
            reason = _no_server
            if reason is None:
                try:
                    self._init(wanted, arguments)
                    say(f"W&B     online: {self.url}")
                    return
                except wandb.errors.UsageError as error:  # the settings are checked: it is about the key
                    reason = _reason(error)
                    if "no api key" in reason.lower():
                        reason = "no W&B key is configured (wandb login)"
                except (wandb.errors.Error, TimeoutError) as error:
                    reason, _no_server = _reason(error), "the server did not answer an earlier run of this process"
            (log.info if mode == "auto" else log.warning)("W&B     offline, because %s", reason)
        self._init("offline", arguments)

    def _init(self, mode: Any, arguments: dict[str, Any]) -> None:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(silent=True, init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT)
        later = {
            "finish_timeout_raises": True,
            "x_transaction_log_flush_interval": 1,  # second; what a killed run loses at most
        }
        for key, value in later.items():  # settings that wandb 0.27 has not got
            if key in wandb.Settings.model_fields:
                setattr(settings, key, value)
        # create_new: a run that the caller has open is neither returned nor finished
        run = wandb.init(mode=mode, dir=str(self.folder), reinit="create_new", settings=settings, **arguments)
        self.run, self.place, self.offline = run, Path(run.settings.sync_dir), bool(run.offline)
        self.url = None if self.offline else run.url
        _forget_imports()
        _hush_logs()
        atexit.unregister(_forget_dead_service)
        atexit.register(_forget_dead_service)  # after the client's hook, so that it is called before it
        for metric, axis in _AXES.items():
            run.define_metric(metric, step_metric=axis, hidden=axis is None)


def sync_line(folders: Iterable[Path]) -> str:
    """The command that uploads some offline runs, to be pasted where the user stands; folders: `.../wandb/offline-run-*`."""
    paths = [shown(folder) for folder in folders]
    return shlex.join(["wandb", "sync", *(f"./{path}" if path.startswith("-") else path for path in paths)])


def fetch(name: str, folder: Path) -> Path:
    """Download the encoder of an artifact, `[entity/]project/name:alias`; returns its file in the folder.

    Raises UserError where it cannot be had, within FETCH_TIMEOUT.
    """
    failed: list[Exception] = []

    def download() -> None:
        try:
            import wandb

            with _quiet():
                if not wandb.login(prompt=False, verify=False):
                    raise ConnectionError("no W&B key is configured (wandb login)")
                wandb.Api(timeout=INIT_TIMEOUT).artifact(name).download(root=str(folder))
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=download, daemon=True)
    worker.start()
    worker.join(FETCH_TIMEOUT)
    found = folder / ENCODER
    if worker.is_alive() or failed or not found.is_file():
        reason = _reason(failed[0]) if failed else f"it holds no {ENCODER}"
        reason = f"no answer in {FETCH_TIMEOUT} s" if worker.is_alive() else reason
        raise UserError(f"there is no file or folder {name}, and W&B does not give the artifact of this name: {reason}")
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep W&B's own lines off the console, and W&B from asking for a key there; the caller's runs are not silenced.

    Also drop what the environment sets to nothing: the client refuses WANDB_MODE= and takes WANDB_PROJECT= for a name.
    """
    for name in [name for name, value in os.environ.items() if name.startswith("WANDB_") and not value.strip()]:
        del os.environ[name]
    from wandb.errors import term

    before = term._silent, logging.raiseExceptions
    term._silent, logging.raiseExceptions = True, False
    try:
        yield
    finally:
        term._silent, logging.raiseExceptions = before


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Keep a process that is started here off standard error: where wandb-core cannot write its log, it prints thousands of lines."""
    try:
        before = os.dup(2)
    except OSError:  # closed
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(null)


def _forget_imports() -> None:
    """The client notes which libraries are imported, and once its service is gone each such import would raise."""
    with contextlib.suppress(Exception):
        from wandb.sdk.lib.import_hooks import unregister_all_post_import_hooks

        unregister_all_post_import_hooks()


def _hush_logs() -> None:
    """On a full disk each line of the client's log would be a traceback, and asyncio has a line for each text to a dead service."""
    for handler in logging.getLogger("wandb").handlers:
        handler.handleError = _drop  # type: ignore[method-assign]
    logging.getLogger("asyncio").addFilter(_is_not_of_wandb)


def _drop(record: logging.LogRecord) -> None:
    pass


def _is_not_of_wandb(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith("wandb-")


def _forget_service(run: Any) -> None:
    """Let the client forget a service that died, so that it does not call it at exit, and a later run starts a new one."""
    import wandb

    with contextlib.suppress(Exception):
        run._console_stop()  # the console is no longer copied
    with contextlib.suppress(Exception, SystemExit):  # SystemExit: the service's status
        wandb.teardown()


def _forget_dead_service() -> None:
    """At exit: a service that died unnoticed, which the client's own hook would call, with a traceback."""
    with contextlib.suppress(Exception):
        from wandb.sdk import wandb_setup

        if wandb_setup.singleton()._connection._proc._process.poll() is not None:  # type: ignore[union-attr]
            _forget_service(None)


def _text(value: Any) -> Any:
    """A value of `tracking` as the client takes it: texts alone, where a user may have named a run 5."""
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return None if value is None else str(value)


def _reason(error: BaseException) -> str:
    """An error in one line. Never with the value that was refused: it may be a key."""
    if hasattr(error, "errors"):  # pydantic's
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors())
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "init_timeout" not in line]  # W&B's advice
    return " ".join(lines[:2]) or type(error).__name__
