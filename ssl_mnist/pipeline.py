"""run(): a config becomes objects, the objects pretrain and evaluate, the results are written. The only file that knows Hydra.

Importing it loads no torch; `run` does.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ssl_mnist.mistakes import check, explain, leaves
from ssl_mnist.resume import config_hash, finished, record_failure, remove_superseded

log = logging.getLogger(__name__)

_HERE = Path(__file__).resolve().parent
# In a wheel conf/ lies inside the package, in a checkout beside it.
CONFIG_DIR = next(folder for folder in (_HERE / "conf", _HERE.parent / "conf") if (folder / "config.yaml").is_file())

_traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
USER_ERRORS = (HydraException, OmegaConfBaseException, ValueError, OSError, FloatingPointError)


def run(cfg: DictConfig, folder: str | Path, sweep: Path | None = None) -> dict[str, Any]:
    """Pretrain, evaluate and record one encoder; returns what `summary.json` holds.

    cfg: from `compose`, or Hydra's; folder: where everything goes; sweep: a folder of runs, one of which, if it is finished and
    had the same config, is returned in this one's stead. Raises ValueError, OSError or FloatingPointError for what a user can
    cause; until pretraining begins nothing is written.
    """
    check(dict(leaves(_plain(cfg))), _defaults(cfg))
    started = time.perf_counter()
    import torch

    from ssl_mnist import data, optim
    from ssl_mnist.checkpoint import save_encoder
    from ssl_mnist.engine import Engine
    from ssl_mnist.pretrain import pretrain
    from ssl_mnist.tracking import Tracker, environment

    folder = Path(folder)
    engine = Engine.choose(cfg.device, str(cfg.precision))
    facts = _plain(cfg.data.facts)
    torch.manual_seed(cfg.seed)
    augmentation = instantiate(cfg.augmentation, channels=facts["channels"])
    arguments = _plain(cfg.encoder) | {key: facts[key] for key in ("channels", "size", "mean", "std")}
    encoder = instantiate(arguments)
    method = instantiate(cfg.method, encoder=encoder).to(engine.device)
    if engine.device.type in ("cpu", "cuda"):
        method.to(memory_format=torch.channels_last)

    dataset = instantiate({key: value for key, value in cfg.data.items() if key != "facts"}, device=engine.device)
    identity = config_hash(_plain(cfg), dataset.source)
    if sweep is not None and (earlier := finished(sweep, identity)):
        log.info("done    already in %s", earlier.parent)
        return json.loads(earlier.read_text())
    num_classes = len(facts["classes"])
    counts = {"train": data.class_counts(dataset.train, facts["classes"]), "val": data.class_counts(dataset.val, facts["classes"])}
    most = num_classes * min(counts["train"])
    for num in cfg.probe.few_labels:
        if num % num_classes or num > most:
            raise ValueError(f"probe.few_labels must be multiples of {num_classes}, the classes, and at most {most:,}, got {num}")
    settings = _plain(cfg.pretrain)
    num_steps = settings["epochs"] * data.steps_per_epoch(dataset.train, settings["batch_size"])
    optimizer, schedule = optim.build(instantiate(cfg.optimizer), method, num_steps, round(settings.pop("warmup") * num_steps))

    with Tracker(folder, cfg.tracking.mode, _wandb_arguments(cfg)) as tracker:
        tracker.stage(f"data    {dataset.source}: {data.describe(counts)}")
        for name in augmentation.of_kinds(facts["label_changing"]):
            log.warning(
                "WARNING augmentation.%s changes what the labels of %s mean; ~augmentation.%s leaves it out", name, cfg.choices.data, name
            )

        tracker.stage(f"train   {cfg.choices.method}, {num_steps:,} steps of {settings['batch_size']} images on {engine}")
        tracker.progress(num_steps)
        training = time.perf_counter()
        for metrics in pretrain(method, dataset.train.images, augmentation, optimizer, schedule, engine, **settings):
            tracker.log(metrics)
        training = time.perf_counter() - training

        arguments = {key: value for key, value in arguments.items() if not key.startswith("_")}
        save_encoder(encoder, arguments, folder / "encoder.pt")

        tracker.stage("probe   the frozen encoder")
        from ssl_mnist.evaluate import evaluate  # what comes after training is imported after it: the first step need not wait

        probing = time.perf_counter()
        probe = _plain(cfg.probe)
        num_points = probe.pop("num_points")
        result = evaluate(encoder, dataset, facts["classes"], **probe)
        probing = time.perf_counter() - probing
        counts["test"] = data.class_counts(result.test, facts["classes"])

        tracker.stage("draw    figures")
        drawing = time.perf_counter()
        from ssl_mnist import plots
        from ssl_mnist.evaluate.project import project

        tracker.figure("class_distribution", plots.class_distribution(counts, facts["classes"]))
        tracker.figure("augmented_views", plots.augmented_views(data.one_of_each_class(dataset.train, facts["classes"]), augmentation))
        for name, figure in plots.of_training(tracker.history).items():
            tracker.figure(name, figure)
        projections = project(result.embeddings[:num_points], cfg.seed)
        for name, figure in plots.of_evaluation(result, projections, facts["classes"]).items():
            tracker.figure(name, figure)
        for name, figure in method.draw(data.as_float(result.test.images[:32])).items():
            tracker.figure(name, figure)
        drawing = time.perf_counter() - drawing

        tracker.finish(
            result.scores
            | {name: value for name, value in (tracker.history[-1] if tracker.history else {}).items() if name.startswith("pretrain/")}
            | {"pretrain/steps": num_steps, "pretrain/seconds": training, "evaluate/seconds": probing, "figures/seconds": drawing}
            | {"pretrain/images_per_second": num_steps * settings["batch_size"] / training, "seconds": time.perf_counter() - started}
            | {"model/parameters": _size(encoder), "model/pretrain_parameters": _size(method), "model/dim": encoder.dim}
            | {"data/source": dataset.source} | data.facts(counts)
            | {f"choices/{group}": choice for group, choice in _plain(cfg.choices).items()}
            | {"seed": cfg.seed, "config_hash": identity} | environment(engine)
        )  # fmt: skip
        tracker.artifact(folder / "encoder.pt", "encoder", {"class": type(encoder).__name__, **arguments})
        tracker.table("test/per_class", ["class", "accuracy"], zip(facts["classes"], result.scores["test/per_class_accuracy"], strict=True))
    return tracker.summary


def compose(*overrides: str) -> DictConfig:
    """The config that the command line `python -m ssl_mnist <overrides>` would run."""
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None  # Hydra does not nest by itself, and a job composes the defaults it is checked against
    try:
        with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = hydra.compose("config", list(overrides), return_hydra_config=True)
    finally:
        state.hydra = outer
    _record_choices(cfg, cfg.hydra)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _record_choices(cfg: DictConfig, job: Any) -> None:
    """Fill `choices` with the name each group was chosen by; job: Hydra's own config."""
    for group in cfg.choices:
        cfg.choices[group] = job.runtime.choices.get(group)
    experiments = [override.partition("=")[2] for override in job.overrides.task if override.startswith("experiment=")]
    cfg.choices.experiment = experiments[-1] if experiments else None  # Hydra records none that came as a list


def _defaults(cfg: DictConfig) -> dict[str, Any]:
    """The values, by dotted key, that the chosen groups have by themselves; none where an option comes from another search path."""
    choices = [f"{group}={name}" for group, name in cfg.choices.items() if group != "experiment"]
    with contextlib.suppress(HydraException):
        return dict(leaves(_plain(compose(*choices))))
    return {}


def _plain(cfg: Any) -> Any:
    """A config node as Python's own dicts and lists."""
    return OmegaConf.to_container(cfg, resolve=True)


def _size(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _wandb_arguments(cfg: DictConfig) -> dict[str, Any]:
    """What `wandb.init` is told of the run. It takes texts alone, where a user may have named a run 5, and tags of up to 64 letters."""
    choices, tracking = _plain(cfg.choices), _plain(cfg.tracking)
    texts = {key: None if tracking[key] is None else str(tracking[key]) for key in ("project", "entity", "group", "name", "notes")}
    return texts | {
        "job_type": cfg.choices.method,
        "name": texts["name"] or f"{cfg.choices.method}/s{cfg.seed}",
        "tags": [*map(str, tracking["tags"]), *(f"{group}:{name}"[:64] for group, name in choices.items() if name)],
        "config": _plain(cfg),
    }


class SweepFolder(Callback):
    """Remembers where a sweep goes, in the process that started it, and makes the folder, which a search's storage needs."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        with contextlib.suppress(OSError):  # which Hydra meets next, and reports
            folder.mkdir(parents=True, exist_ok=True)
            SweepFolder.folder = folder


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")
def _job(cfg: DictConfig) -> float:
    """One job of the command line: run in Hydra's folder, which goes again if nothing came of it; returns the objective."""
    job = HydraConfig.get()
    folder, overrides = Path(job.runtime.output_dir), list(job.overrides.task)
    sweep = folder.parent if job.mode == RunMode.MULTIRUN else None
    _record_choices(cfg, job)
    if sweep and cfg.tracking.group is None:
        cfg.tracking.group = sweep.name
    try:
        if sweep:
            remove_superseded(sweep, folder, overrides)
        summary = run(cfg, folder, sweep)
        if cfg.objective not in summary:
            scores = ", ".join(key for key in summary if key.startswith("val/"))
            raise ValueError(f"objective={cfg.objective} is not in summary.json; the scores on val: {scores}")
    except Exception as error:
        line = explain(error, CONFIG_DIR) if isinstance(error, USER_ERRORS) else f"{type(error).__name__}: {error}"
        if sweep:
            log.error("FAILED  %s: %s", " ".join(overrides), line)
            record_failure(sweep, overrides, line)
        elif isinstance(error, USER_ERRORS) and not _traceback_wanted:
            sys.exit(f"ssl_mnist: {line}")  # past Hydra, which would print a line of its own
        raise
    finally:
        if {path.name for path in folder.iterdir()} <= {".hydra"}:
            shutil.rmtree(folder)
    return summary[cfg.objective]


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
Results go to outputs/runs or outputs/sweeps. Hydra's own flags: --hydra-help"""


def help_text() -> str:
    """What `--help` shows. Hydra lists the same options, but copies its whole config for each, which takes three quarters of a second."""
    groups: dict[str, list[str]] = {}
    for path in sorted(CONFIG_DIR.glob("*/*.yaml")):
        group = "+search" if path.parent.name == "search" else path.parent.name  # the one group that the defaults do not name
        groups.setdefault(group, []).append(path.stem)
    return HELP.format(groups="\n".join(f"{group}: {', '.join(options)}" for group, options in groups.items()))


def main() -> None:
    """The command. What a user got wrong ends in one line and status 1; HYDRA_FULL_ERROR=1 shows the traceback as well.

    A sweep, failed or not, ends in its comparison: the table here, the page and the files in its folder.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help_text())
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them
    SweepFolder.folder = None
    try:
        _job()
    except USER_ERRORS as error:
        if _traceback_wanted:
            raise
        sys.exit(f"ssl_mnist: {explain(error, CONFIG_DIR)}")
    finally:
        if SweepFolder.folder is not None:
            _end_sweep(SweepFolder.folder)


def _end_sweep(folder: Path) -> None:
    """Compare the jobs of a sweep; one that began none, because its command line was wrong, leaves no folder."""
    if {path.name for path in folder.iterdir()} <= {"multirun.yaml", "optuna.db"}:
        shutil.rmtree(folder)
        return
    from ssl_mnist.compare import report

    report(folder)
