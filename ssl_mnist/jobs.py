"""The jobs of the command: Hydra's, where they write, who runs which of a sweep, and what ends with what. Importing it loads no torch."""

import contextlib
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from ssl_mnist import __version__, console, record
from ssl_mnist.claim import Busy, is_alive
from ssl_mnist.config import CONFIG_DIR, check_names, settings_of
from ssl_mnist.console import say
from ssl_mnist.errors import UserError, explain, explained
from ssl_mnist.files import ERROR, check_sweep, is_complete, run_folders
from ssl_mnist.search import check_study
from ssl_mnist.training import launch
from ssl_mnist.training.stops import Stopped

# For the processes that run a sweep's jobs: how many there are, the sweep's folder, whose ${now:...} they would resolve anew, and host and
# number of the process that started it.
NUM_JOBS, SWEEP, PARENT = "SSL_MNIST_NUM_JOBS", "SSL_MNIST_SWEEP", "SSL_MNIST_PARENT"
# An interpolation whose value may differ from job to job.
_DIFFERS = re.compile(r"\$\{(?!now:|oc\.env:|hydra[.:]runtime\.cwd\}|hydra[.:]job\.name\})")


class Folders(Callback):
    """Knows, in the process that was started, where a run or sweep writes and which of these folders it is about to create."""

    sweep: Path | None = None
    open_page: bool = False  # whether the sweep's page is, at its end
    created: tuple[Path, ...] = ()  # folders that were not there before, the deepest first
    postponed: ClassVar[list[tuple[dict[str, Any], Path]]] = []  # settings and folder of jobs that another process was running

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _ending_in_one_line(), _resolving(config):
            Folders.created = _missing(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _ending_in_one_line(), _resolving(config):
            if launch.in_job():  # of an experiment that is a sweep by itself; -m on the command line is refused before
                raise UserError("several devices are for one run; in a sweep each job has one")
            folder = sweep_folder(config)
            check_sweep(folder)
            sweeper = config.hydra.sweeper
            check_study(sweeper.get("storage"), str(sweeper.get("study_name")))
            Folders.created = _missing(folder)
            os.environ[NUM_JOBS] = str(_check_jobs(config))
            os.environ[SWEEP] = str(folder)
            os.environ[PARENT] = f"{socket.gethostname()} {os.getpid()}"
            folder.mkdir(parents=True, exist_ok=True)  # which a search's storage needs
            Folders.sweep, Folders.open_page = folder, config.get("open") is True

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.__class__ = _Quiet


class _Quiet(JobReturn):
    """What came of a job; Hydra's own prints a line of all overrides before it raises what the job raised."""

    @property
    def return_value(self) -> Any:
        if self.status != JobStatus.COMPLETED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


@contextlib.contextmanager
def _ending_in_one_line() -> Iterator[None]:
    """For callbacks, whose exceptions Hydra turns into warnings: a user's error ends the process in its line."""
    try:
        with explained():
            yield
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {line_of(error)}")


@contextlib.contextmanager
def _resolving(config: DictConfig) -> Iterator[None]:
    """Let ${hydra:...} in a config mean that config, which Hydra arranges when a job begins and not before."""
    outer = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = outer


def _missing(folder: Path) -> tuple[Path, ...]:
    folder = folder.absolute()
    return tuple(path for path in (folder, *folder.parents) if not path.exists())


def sweep_folder(config: DictConfig) -> Path:
    """The folder that all jobs of a sweep lie in: hydra.sweep.dir, up to the first part that may differ from job to job."""
    raw = str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["dir"])  # type: ignore[index, call-overload]
    differs = _DIFFERS.search(raw)
    shared = (raw[: differs.start()].rpartition("/")[0] or ("/" if raw.startswith("/") else ".")) if differs else raw
    with read_write(config.hydra.sweep):  # resolved there, so that ${now:...} is remembered for the jobs
        config.hydra.sweep.dir = shared
        folder = str(config.hydra.sweep.dir)
        config.hydra.sweep.dir = raw
    return Path(config.hydra.runtime.cwd, folder)


def _check_jobs(config: DictConfig) -> int:
    """How many jobs a sweep has, 0 where its sweeper decides. Raises UserError where there is none, or where two share a folder."""
    sweeper = config.hydra.sweeper
    batch = sweeper.get("max_batch_size")
    if batch is not None and batch < 1:
        raise UserError(f"hydra.sweeper.max_batch_size must be at least 1, got {batch}")
    if not sweeper["_target_"].endswith("BasicSweeper"):
        return int(sweeper.get("n_trials") or 0)
    loader = GlobalHydra.instance().config_loader()
    words = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(config.hydra.overrides.task)
    jobs = BasicSweeper.split_arguments(OverridesParser.create(config_loader=loader).parse_overrides(words), None)[0]
    if not jobs:
        raise UserError("the sweep has no job: one of its lists, ranges or globs is empty")
    first = loader.load_sweep_config(config, list(jobs[0]))
    check_names(settings_of(first, config.hydra))
    subdir = os.path.normpath(str(OmegaConf.to_container(first.hydra.sweep, resolve=False)["subdir"]))  # type: ignore[index, call-overload]
    if subdir.startswith("..") or os.path.isabs(subdir):
        raise UserError(f"hydra.sweep.subdir={subdir} leads out of the sweep's folder; name a folder below it, such as ${{hydra:job.num}}")
    sweep = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    raw = f"{sweep['dir']}/{sweep['subdir']}"  # type: ignore[index, call-overload]
    if re.search(r"hydra[.:]job\.(num|id)", raw) or len(jobs) == 1:
        return len(jobs)
    folders: dict[str, list[str]] = {}
    for job in jobs:
        folder = _job_folder(loader.load_sweep_config(config, list(job)))
        if folders.setdefault(folder, job) != job:
            swept = sorted(set(job) ^ set(folders[folder]))
            raise UserError(
                f"hydra.sweep.dir and hydra.sweep.subdir give several jobs the folder {folder} ({' and '.join(swept[:2])}); "
                "name in them all that is swept, or ${hydra:job.num}"
            )
    return len(jobs)


def _job_folder(config: DictConfig) -> str:
    """The folder of a job, by its config."""
    with _resolving(config):
        return str(Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)))


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")
def _job(cfg: DictConfig) -> float:
    """One job of the command line, in the folder that Hydra made for it; returns the objective."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sweep = None
    if job.mode == RunMode.MULTIRUN:  # a worker on another host may lack the variable
        sweep = Path(os.environ[SWEEP]) if SWEEP in os.environ else sweep_folder(OmegaConf.create({"hydra": job}))
    _watch_parent()
    console.standing(job.runtime.cwd)
    settings: dict[str, Any] = {"overrides": list(job.overrides.task), "choices": {}}
    if sweep:
        num = os.environ.get(NUM_JOBS, "0")
        say(f"\njob     {job.job.num + 1}{f' of {num}' if num != '0' else ''}: {' '.join(job.overrides.task)}")
    else:
        say(f"start   ssl_mnist {__version__}, loading torch")
    with _recording_failure(folder, settings, sweep):
        with explained():
            settings |= settings_of(cfg, job)
        data = settings.get("data")
        for key in ("root", "path", "cache"):  # relative paths mean the folder where the user stands
            if isinstance(data, dict) and isinstance(place := data.get(key), str) and place != "???":
                data[key] = str(Path(job.runtime.cwd, Path(place).expanduser()))
        from ssl_mnist.pipeline import run

        # A sweep in this process alone takes the next job meanwhile; a search needs each objective, and workers wait.
        takes_next = sweep is not None and sweep == Folders.sweep and job.sweeper["_target_"].endswith("BasicSweeper")
        try:
            summary = run(settings, folder, sweep, wait=not takes_next)
        except Busy:
            say("busy    another process runs this job; looked at again when the others are done")
            Folders.postponed.append((settings, folder))
            return math.nan
        except Stopped:
            if _is_orphan():  # joblib's workers would take no notice and wait for another job
                os._exit(128 + signal.SIGTERM)
            raise
    return float(summary.get(settings["objective"], math.nan))  # there is none without labels


@contextlib.contextmanager
def _recording_failure(folder: Path, settings: dict[str, Any], sweep: Path | None) -> Iterator[None]:
    """In a sweep, an error leaves its record and a line in the console."""
    try:
        yield
    except Exception as error:
        if sweep is None:
            raise
        line = line_of(error)
        place = record.failed(folder, settings, sweep, error, line)
        where = "" if isinstance(error, UserError) else f" (traceback in {place / ERROR})"
        say(f"FAILED  {' '.join(settings['overrides'])}: {line}{where}")
        raise


def _finish_postponed() -> None:
    """Wait for the jobs that other processes were running, and run those that they did not finish."""
    from ssl_mnist.pipeline import run

    first: Exception | None = None
    for settings, folder in Folders.postponed:
        say(f"\njob     {' '.join(settings['overrides'])}")
        try:
            with _recording_failure(folder, settings, Folders.sweep):
                run(settings, folder, Folders.sweep)
        except Exception as error:  # the others are run all the same
            first = first or error
    if first:
        raise first


def _watch_parent() -> None:
    """In a worker process of a sweep: end, as by SIGTERM, once the process is gone that started the sweep on this host."""
    if _parent() in (None, os.getpid()) or any(thread.name == PARENT for thread in threading.enumerate()):
        return

    def watch() -> None:
        while not _is_orphan():
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)  # for the step to end and its checkpoint to be saved
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name=PARENT, daemon=True).start()


def _parent() -> int | None:
    """The process that started the sweep, where that was on this host."""
    host, _, pid = os.environ.get(PARENT, "").rpartition(" ")
    return int(pid) if host == socket.gethostname() else None


def _is_orphan() -> bool:
    pid = _parent()
    return pid is not None and not is_alive(pid)


def line_of(error: BaseException) -> str:
    """An error in one line, for the console and error.txt."""
    text = str(error)
    if text == "Record does not exist.":  # optuna's, asked for the best of no trial
        return "no trial of the search succeeded; the lines that begin with FAILED say why"
    if launch.in_job() and ("gloo" in text or "NCCL" in text or "by peer" in text):
        return "another process of this run ended or does not answer; the same command with the same hydra.run.dir goes on"
    if text.startswith("GridSampler only supports discrete"):
        return "a grid needs lists: hydra/sweeper/sampler=grid takes 'key=choice(1,2)' for each key that is searched"
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in ("can't allocate memory", "failed to map segment"))  # torch's, and the loader's of its libraries
    ):
        return f"out of memory{_memory()}; lower pretrain.batch_size, or choose a smaller encoder"
    return explain(error) if isinstance(error, OSError) else record.one_line(error)


def _memory() -> str:
    """What there is of it, where the system says so."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = {name: int(value.split()[0]) / 2**20 for name, _, value in (line.partition(":") for line in lines)}
        return f" (this machine has {found['MemTotal']:.1f} GiB, of which {found['MemAvailable']:.1f} are free now)"
    return ""


def run_jobs() -> None:
    """All of them. Where a worker process was killed, which ends joblib's others too, the sweep goes on as long as it gets further."""
    from concurrent.futures.process import BrokenProcessPool  # the base of joblib's error

    complete = -1
    while True:
        try:
            try:
                _job()
            except BrokenProcessPool:
                raise
            except Exception:  # of the first job that failed; the postponed ones are run all the same
                _finish_postponed()
                raise
            return _finish_postponed()
        except BrokenProcessPool:
            assert Folders.sweep
            before, complete = complete, sum(map(is_complete, run_folders(Folders.sweep)))
            if complete <= before:
                raise UserError("a worker process was killed, perhaps for want of memory; lower hydra.launcher.n_jobs") from None
            say("\nkilled  a worker process, perhaps for want of memory; the sweep goes on with what is left")
            sys.argv.append(f'hydra.sweep.dir="{Folders.sweep}"')


def end_sweep(folder: Path) -> None:
    """Compare the jobs of a sweep. Where none began, Hydra's notes on it go, if this process made the folder."""
    if next(run_folders(folder), None) is None:
        if folder.absolute() in Folders.created:
            for name in ("multirun.yaml", "optuna.db"):
                (folder / name).unlink(missing_ok=True)
        return
    from ssl_mnist.compare import report

    report(folder, open_page=Folders.open_page)
