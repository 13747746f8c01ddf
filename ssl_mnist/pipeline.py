"""run(): a config becomes objects, the objects pretrain and evaluate, the results are written. The only file that knows Hydra.

Importing it loads no torch; `run` does.
"""

import difflib
import logging
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

log = logging.getLogger(__name__)

_HERE = Path(__file__).resolve().parent
# In a wheel conf/ lies inside the package, in a checkout beside it.
CONFIG_DIR = next(folder for folder in (_HERE / "conf", _HERE.parent / "conf") if (folder / "config.yaml").is_file())

_traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"

POSITIVE = sys.float_info.min
RANGES: dict[str, tuple[float, float]] = {  # inclusive; where a key is absent, as momentum from adamw, nothing is checked
    "seed": (0, 2**32 - 1),
    "pretrain.epochs": (0, 1_000_000),
    "pretrain.batch_size": (2, 1_000_000),
    "pretrain.warmup": (0, 1),
    "pretrain.log_every": (1, 1_000_000),
    "optimizer.lr": (POSITIVE, 1_000_000),
    "optimizer.weight_decay": (0, 1_000_000),
    "optimizer.momentum": (0, 1),
    "probe.map_size": (1, 28),
    "probe.knn_k": (1, 1_000_000),
    "probe.knn_temperature": (POSITIVE, 1_000_000),
    "probe.num_points": (50, 10_000),
}
USER_ERRORS = (HydraException, OmegaConfBaseException, ValueError, OSError, FloatingPointError)
CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "32", "bf16-mixed"),
    "tracking.mode": ("auto", "online", "offline", "disabled"),
}


def run(cfg: DictConfig, folder: str | Path) -> dict[str, Any]:
    """Pretrain, evaluate and record one encoder; returns what `summary.json` holds.

    cfg: from `compose`, or Hydra's; folder: where everything goes. Raises ValueError, OSError or FloatingPointError for what a
    user can cause; until pretraining begins nothing is written.
    """
    check(cfg)
    started = time.perf_counter()
    from lightning_fabric import seed_everything
    from torch import channels_last

    from ssl_mnist import data, engine, optim
    from ssl_mnist.checkpoint import save_encoder
    from ssl_mnist.evaluate import evaluate
    from ssl_mnist.evaluate.project import project
    from ssl_mnist.pretrain import pretrain
    from ssl_mnist.tracking import Tracker, environment

    folder = Path(folder)
    fabric = engine.build(cfg.device, str(cfg.precision))
    facts = _plain(cfg.data.facts)
    seed_everything(cfg.seed, verbose=False)
    augmentation = instantiate(cfg.augmentation, channels=facts["channels"])
    arguments = _plain(cfg.encoder) | {key: facts[key] for key in ("channels", "size", "mean", "std")}
    encoder = instantiate(arguments)
    method = instantiate(cfg.method, encoder=encoder).to(fabric.device)
    if fabric.device.type in ("cpu", "cuda"):
        method.to(memory_format=channels_last)

    dataset = instantiate({key: value for key, value in cfg.data.items() if key != "facts"}, device=fabric.device)
    counts = {"train": data.class_counts(dataset.train, facts["classes"]), "val": data.class_counts(dataset.val, facts["classes"])}
    settings = _plain(cfg.pretrain)
    num_steps = settings["epochs"] * data.steps_per_epoch(dataset.train, settings["batch_size"])
    optimizer, schedule = optim.build(instantiate(cfg.optimizer), method, num_steps, round(settings.pop("warmup") * num_steps))

    with Tracker(folder, cfg.tracking.mode, _wandb_arguments(cfg)) as tracker:
        from ssl_mnist import plots

        tracker.stage(f"data    {dataset.source}: {data.describe(counts)}")
        tracker.figure("class_distribution", plots.class_distribution(counts, facts["classes"]))
        tracker.figure("augmented_views", plots.augmented_views(data.one_of_each_class(dataset.train, facts["classes"]), augmentation))
        for name in augmentation.of_kinds(facts["label_changing"]):
            log.warning(
                "WARNING augmentation.%s changes what the labels of %s mean; ~augmentation.%s leaves it out", name, cfg.choices.data, name
            )

        tracker.stage(f"train   {cfg.choices.method}, {num_steps:,} steps of {settings['batch_size']} images on {engine.describe(fabric)}")
        tracker.progress(num_steps)
        training = time.perf_counter()
        for metrics in pretrain(method, dataset.train.images, augmentation, optimizer, schedule, fabric, **settings):
            tracker.log(metrics)
        training = time.perf_counter() - training

        tracker.stage("probe   the frozen encoder")
        probing = time.perf_counter()
        probe = _plain(cfg.probe)
        num_points = probe.pop("num_points")
        result = evaluate(encoder, dataset, facts["classes"], **probe)
        probing = time.perf_counter() - probing
        counts["test"] = data.class_counts(result.test, facts["classes"])

        tracker.stage("draw    figures")
        tracker.figure("class_distribution", plots.class_distribution(counts, facts["classes"]))
        for name, figure in plots.of_training(tracker.history).items():
            tracker.figure(name, figure)
        projections = project(result.embeddings[:num_points], cfg.seed)
        for name, figure in plots.of_evaluation(result, projections, facts["classes"]).items():
            tracker.figure(name, figure)
        for name, figure in method.draw(data.as_float(result.test.images[:32])).items():
            tracker.figure(name, figure)

        arguments = {key: value for key, value in arguments.items() if not key.startswith("_")}
        save_encoder(encoder, arguments, folder / "encoder.pt")
        tracker.finish(
            result.scores
            | {name: value for name, value in (tracker.history[-1] if tracker.history else {}).items() if name.startswith("pretrain/")}
            | {"pretrain/steps": num_steps, "pretrain/seconds": training, "evaluate/seconds": probing}
            | {"pretrain/images_per_second": num_steps * settings["batch_size"] / training, "seconds": time.perf_counter() - started}
            | {"model/parameters": _size(encoder), "model/pretrain_parameters": _size(method), "model/dim": encoder.dim}
            | {"data/source": dataset.source} | data.facts(counts)
            | {f"choices/{group}": choice for group, choice in _plain(cfg.choices).items()}
            | {"seed": cfg.seed} | environment(fabric)
        )  # fmt: skip
        tracker.artifact(folder / "encoder.pt", "encoder", {"class": type(encoder).__name__, **arguments})
        tracker.table("test/per_class", ["class", "accuracy"], zip(facts["classes"], result.scores["test/per_class_accuracy"], strict=True))
    return tracker.summary


def check(cfg: DictConfig) -> None:
    """Types and ranges of what a user can set wrong. A value keeps the type that its YAML file gave it.

    Raises ValueError with one line that names the key and what it may be.
    """
    for key, allowed in CHOICES.items():
        if str(OmegaConf.select(cfg, key)) not in allowed:
            raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {OmegaConf.select(cfg, key)}")
    default = dict(_leaves(compose(*(f"{group}={name}" for group, name in _plain(cfg.choices).items() if group != "experiment"))))
    for key, value in _leaves(cfg):
        expected = default.get(key)
        if expected is None or key in CHOICES or type(value) is type(expected) or (type(value) is int and type(expected) is float):
            continue
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list"}
        raise ValueError(f"{key} must be {names[type(expected)]} like {expected}, got {value!r}")
    for key, (low, high) in RANGES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not low <= value <= high:
            bounds = f"at most {high:g}" if value > high else "above 0" if low == POSITIVE else f"at least {low:g}"
            raise ValueError(f"{key} must be {bounds}, got {value}")
    if not cfg.probe.l2 or not all(isinstance(l2, float | int) and l2 > 0 for l2 in cfg.probe.l2):
        raise ValueError(f"probe.l2 must be a list of numbers above 0, got {cfg.probe.l2}")


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


def _plain(cfg: Any) -> Any:
    """A config node as Python's own dicts and lists."""
    return OmegaConf.to_container(cfg, resolve=True)


def _leaves(cfg: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted key, value) of every value below a node; a list is a value."""
    plain = _plain(cfg) if isinstance(cfg, DictConfig) else cfg
    pairs = []
    for key, value in plain.items():
        pairs += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return pairs


def _size(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _wandb_arguments(cfg: DictConfig) -> dict[str, Any]:
    """What `wandb.init` is told of the run."""
    choices = _plain(cfg.choices)
    return {
        "project": cfg.tracking.project,
        "entity": cfg.tracking.entity,
        "group": cfg.tracking.group,
        "job_type": cfg.choices.method,
        "name": cfg.tracking.name or f"{cfg.choices.method}/s{cfg.seed}",
        "notes": cfg.tracking.notes,
        "tags": [*cfg.tracking.tags, *(f"{group}:{name}" for group, name in choices.items() if name)],
        "config": _plain(cfg),
    }


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")
def _job(cfg: DictConfig) -> float:
    """One job of the command line: run in Hydra's folder, which goes again if nothing came of it; returns the objective."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    _record_choices(cfg, job)
    if job.mode == RunMode.MULTIRUN and cfg.tracking.group is None:
        cfg.tracking.group = Path(job.sweep.dir).name
    try:
        if cfg.objective.startswith("test/"):
            raise ValueError(f"objective must be a val score, got {cfg.objective}: choices are not made on test")
        summary = run(cfg, folder)
        if cfg.objective not in summary:
            raise ValueError(
                f"objective={cfg.objective} is not in summary.json; the val scores there: "
                + ", ".join(k for k in summary if k.startswith("val/"))
            )
    except BaseException as error:
        if {path.name for path in folder.iterdir()} <= {".hydra"}:
            shutil.rmtree(folder)
        if job.mode == RunMode.RUN and isinstance(error, USER_ERRORS) and not _traceback_wanted:
            sys.exit(f"ssl_mnist: {explain(error)}")  # past Hydra, which would print a line of its own
        raise
    return summary[cfg.objective]


def main() -> None:
    """The command. What a user got wrong ends in one line and status 1; HYDRA_FULL_ERROR=1 shows the traceback as well."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them
    try:
        _job()
    except USER_ERRORS as error:
        if _traceback_wanted:
            raise
        sys.exit(f"ssl_mnist: {explain(error)}")


def explain(error: BaseException) -> str:
    """One line on what to do about a user's error."""
    cause = error.__cause__
    if isinstance(error, InstantiationException) and cause is not None:
        where = re.search(r"full_key: (\S+)", str(error))
        return f"{where[1]}: {cause}" if where and where[1] not in str(cause) else str(cause)
    text = str(error)
    if missing := re.search(r"Could not override '([^']+)'", text):
        return _near_miss(missing[1])
    if missing := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        group, option = missing.groups()
        return f"{group}={option} is no option; {group} is one of {', '.join(sorted(p.stem for p in (CONFIG_DIR / group).glob('*.yaml')))}"
    if unparsable := re.search(r"(?:parsing override|Unrecognized argument:?) '([^']*)'", text):
        return f"'{unparsable[1]}' is neither group=option nor key=value; --help shows examples"
    if isinstance(error, OSError) and error.errno:
        return f"cannot use {error.filename}: {error.strerror}; results go to hydra.run.dir (hydra.sweep.dir), data comes from data.root"
    return " ".join(text.split())


def _near_miss(key: str) -> str:
    """What to say of a setting that is not there."""
    known: dict[str, list[str]] = {}  # key -> the options it comes with
    for path in CONFIG_DIR.rglob("*.yaml"):
        group = ".".join(path.relative_to(CONFIG_DIR).parent.parts)
        content = OmegaConf.to_container(OmegaConf.load(path))
        prefix = "" if group in ("", "method", "experiment") else f"{group}."
        assert isinstance(content, dict)
        for leaf, _ in _leaves(content, prefix):
            parts = leaf.split(".")
            for i in range(len(parts)):
                known.setdefault(".".join(parts[: i + 1]), []).append(f"{group}={path.stem}")
    if key in known:
        return f"there is no setting {key} here; it comes with {' or '.join(known[key])}"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f"there is no setting {key}" + (f"; did you mean {near[0]}?" if near else "; --cfg job shows all there are")
