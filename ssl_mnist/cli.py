"""The command: its arguments, `--help`, `resume=`, how it ends. Importing it loads no torch."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from ssl_mnist import __version__
from ssl_mnist.config import CONFIG_DIR
from ssl_mnist.console import keep_going, say, shown
from ssl_mnist.errors import UserError, explained
from ssl_mnist.files import RUN, read_json
from ssl_mnist.jobs import PARENT, Folders, end_sweep, line_of, run_jobs
from ssl_mnist.training import launch
from ssl_mnist.training.stops import SIGNALS, Stopped, stop_now
from ssl_mnist.training.threads import snapshot

_traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
CONFIG_FLAGS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")  # Hydra's, that say where settings come from

HELP = """\
ssl_mnist: pretrain an encoder on MNIST without labels, freeze it, probe it, draw what it learned.

Groups and their options (group=option):
{groups}

Examples:
  python -m ssl_mnist                                                       the default: SimCLR, a few minutes
  python -m ssl_mnist experiment=smoke                                      5,000 digits, seconds, for a first look
  python -m ssl_mnist method=rotation encoder=conv_deep pretrain.epochs=2   any group, any number
  python -m ssl_mnist -m method=autoencoder,rotation,simclr seed=0,1,2      a sweep (-m), every combination

Any number is set by its path, as in optimizer.lr=1e-3; --cfg job shows them all and runs nothing.
Results go to outputs/runs or outputs/sweeps, each with a page to open in a browser; open=true opens it. Evaluate a run again:
python -m ssl_mnist.evaluate <run>. Compare a sweep again: python -m ssl_mnist.compare <sweep>.
A config folder of your own: --config-dir <folder>. Hydra's own flags: --hydra-help"""


def help_text(config_dirs: list[Path]) -> str:
    """What `--help` shows. Hydra lists the same options, but copies its whole config for each, which takes three quarters of a second."""
    groups: dict[str, set[str]] = {}
    for folder in config_dirs:
        for path in sorted(folder.rglob("*.yaml")):
            group = "/".join(path.relative_to(folder).parent.parts)
            if group and group not in ("data/spec", "augmentation/kind", "augmentation/denoise") and path.stem != "settings":
                added = group in ("search", "evaluation/probe", "evaluation/study")
                groups.setdefault(f"+{group}" if added else group, set()).add(path.stem)
    return HELP.format(groups="\n".join(f"{group}: {', '.join(sorted(groups[group]))}" for group in sorted(groups, key=_plain_first)))


def _plain_first(group: str) -> tuple[bool, str]:
    return group.startswith("+"), group


def _config_dirs(arguments: list[str]) -> list[Path]:
    """conf/ and the folders of --config-dir."""
    found = [CONFIG_DIR]
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            found.append(Path(value or (arguments[i + 1] if i + 1 < len(arguments) else ".")))
    return found


def _is_override(argument: str) -> bool:
    return argument.startswith("~") or ("=" in argument and not argument.startswith("-"))


def main() -> None:
    """The command. What a user got wrong ends in one line and status 1; HYDRA_FULL_ERROR=1 shows the traceback as well.

    A sweep, whether or not jobs failed, ends in its comparison: the table here, the page and the files in its folder.
    """
    snapshot()
    keep_going()
    if os.environ.get("RANK", "0") != "0":  # the first of several processes speaks for all
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    arguments = sys.argv[1:]
    if {"--help", "-h"} & set(arguments):
        print(help_text(_config_dirs(arguments)))
        return
    if "--version" in arguments:
        print(f"ssl_mnist {__version__}")
        return
    status: str | int = 0
    try:
        arguments = _resumed(arguments)
        if (num := _devices(arguments)) > 1:
            os.environ[PARENT] = f"{socket.gethostname()} {os.getpid()}"
            sys.exit(launch.start(num, arguments))
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {line_of(error)}")
    # Hydra refuses `a=1 -m b=2`: what is no override goes first.
    arguments = [*(a for a in arguments if not _is_override(a)), *(a for a in arguments if _is_override(a))]
    sys.argv[1:] = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them
    for signum in SIGNALS:
        signal.signal(signum, stop_now)
    Folders.sweep, Folders.open_page, Folders.created, Folders.postponed = None, False, (), []
    try:
        if "hydra/launcher=submitit_slurm" in arguments and not shutil.which("srun"):
            raise UserError("hydra/launcher=submitit_slurm needs SLURM, and there is no srun here; submitit_local runs on this machine")
        with explained():
            run_jobs()
    except (UserError, OSError) as error:
        if _traceback_wanted:
            raise
        status = f"ssl_mnist: {line_of(error)}"
    except KeyboardInterrupt as error:
        signum = error.signum if isinstance(error, Stopped) else signal.SIGINT
        status = 128 + signum
        say(f"\nstopped{_how_to_go_on(error)}", file=sys.stderr)
        if signum == getattr(signal, "SIGUSR1", None) and (job := os.environ.get("SLURM_JOB_ID")):
            status = _requeue(job)
    except Exception as error:
        if str(error).startswith("Only one of --run"):  # Hydra's, of flags that exclude each other
            status = f"ssl_mnist: {error}"
        elif line_of(error).startswith(("out of memory", "another process of this run")) and not _traceback_wanted:
            status = f"ssl_mnist: {line_of(error)}"
        elif Folders.sweep is None or _traceback_wanted:
            raise
        else:  # of a job, whose traceback stands in its error.txt
            status = f"ssl_mnist: {line_of(error)}"
    finally:
        if Folders.sweep is not None:
            end_sweep(Folders.sweep)
        _remove_empty(Folders.created)
    if status:
        sys.exit(status)


def _resumed(arguments: list[str]) -> list[str]:
    """The arguments, with those of the run that `resume=<run folder>` names in its place; others are added, and win.

    Raises UserError where the folder holds no run.
    """
    named = [argument for argument in arguments if argument.startswith("resume=")]
    if not named:
        return arguments
    if len(named) > 1 or {"-m", "--multirun"} & set(arguments):
        raise UserError("resume= names the folder of one run; a sweep goes on by its own command with hydra.sweep.dir=<its folder>")
    folder = Path(named[0].partition("=")[2]).expanduser()
    try:
        made_from = read_json(folder / RUN)
        words = shlex.split(made_from["command"])[3:]
        overrides = list(made_from["overrides"])
    except FileNotFoundError:
        raise UserError(f"{folder} holds no run to go on with (no {RUN}); resume= names the folder of one") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder / RUN} cannot be read: the run's own command with hydra.run.dir={folder} starts it again") from None
    flags = [word for i, word in enumerate(words) if word.startswith(CONFIG_FLAGS) or (i and words[i - 1] in CONFIG_FLAGS)]
    others = [argument for argument in arguments if argument not in named]
    # One run, also of an experiment that is a sweep by itself.
    return [*flags, *overrides, "hydra.mode=RUN", *others, f'hydra.run.dir="{folder}"']


def _devices(arguments: list[str]) -> int:
    """How many processes are to be started, as `devices=` says; 1 where they are there. Raises UserError for several in a sweep."""
    named = [argument.partition("=")[2] for argument in arguments if argument.lstrip("+").startswith("devices=")]
    wanted = int(named[-1]) if named and named[-1].isdecimal() and int(named[-1]) <= 1024 else 1  # what else it says, config.check refuses
    if (wanted > 1 or launch.in_job()) and {"-m", "--multirun"} & set(arguments):
        raise UserError("several devices are for one run; in a sweep each job has one, and hydra/launcher runs several jobs at a time")
    return 1 if launch.in_job() else wanted


def _how_to_go_on(error: KeyboardInterrupt) -> str:
    if Folders.sweep is not None:
        return "; the same command goes on with what is left, if hydra.sweep.dir names this sweep's folder"
    folder = getattr(error, "folder", None)
    return f"; python -m ssl_mnist resume={shlex.quote(shown(folder))} goes on" if folder else ""


def _requeue(job: str) -> int:
    """Have SLURM start a job again, which it announced to end by SIGUSR1 (sbatch --signal); returns the exit status."""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        say(f"scontrol requeue {job} failed: {(getattr(error, 'stderr', '') or str(error)).strip()}", file=sys.stderr)
        return 128 + signal.SIGUSR1
    say(f"requeued as SLURM's job {job}", file=sys.stderr)
    return 0


def _remove_empty(created: tuple[Path, ...]) -> None:
    """Remove the folders that this process created and left empty."""
    for folder in created:
        try:
            folder.rmdir()
        except OSError:  # not there, or not empty
            return
