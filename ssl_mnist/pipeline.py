"""run(): build objects from the settings, pretrain, evaluate, record, draw."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ssl_mnist import config, record, references
from ssl_mnist.claim import claim, extended, superseded
from ssl_mnist.console import Console, say, score_table, show_page, shown
from ssl_mnist.errors import UserError
from ssl_mnist.files import CHECKPOINTS, ENCODER, REPORT, SUMMARY, read_json
from ssl_mnist.summary import costs, facts, num_parameters, predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from ssl_mnist.build import Experiment
    from ssl_mnist.data import Dataset
    from ssl_mnist.encoders import Encoder
    from ssl_mnist.evaluate import Evaluation, Probe, Study
    from ssl_mnist.tracking import Tracker
    from ssl_mnist.training.state import Checkpoints

log = logging.getLogger(__name__)


def run(settings: Mapping[str, Any], folder: str | Path, sweep: Path | None = None, wait: bool = True) -> dict[str, Any]:
    """Pretrain, evaluate and record one encoder; returns what `summary.json` holds.

    settings: from `compose`; folder: where everything goes; sweep: a folder of runs. Where this run, the same settings, code and data,
    is complete in `folder` or anywhere in `sweep`, its summary is returned instead; where another process is making it in `sweep`, this
    one waits for it, or, without `wait`, raises claim.Busy. Raises UserError or OSError for what a user can cause; where that is before
    training, nothing is left behind.
    """
    from ssl_mnist.training.threads import choose_threads, snapshot

    snapshot()  # before torch is imported: the imports are the time in which the load of others is measured
    config.check(settings)
    from ssl_mnist.build import build
    from ssl_mnist.tracking import Tracker
    from ssl_mnist.training.device import Device
    from ssl_mnist.training.distributed import Ranks

    started = time.perf_counter()
    console = Console()
    threads = choose_threads(settings["threads"])
    device = Device.choose(settings["device"], str(settings["precision"]))
    ranks = Ranks.join(device.device.type)
    settings = ranks.agree(settings)
    if settings["devices"] not in (1, ranks.num):
        raise UserError(f"devices={settings['devices']} has to stand on the command line, which starts the processes")
    if ranks.rank:
        ranks.agree(None)  # the first one has read the data, and downloaded or decoded them
    experiment = build(settings, device, ranks=ranks)
    if ranks.rank:
        return _follow(experiment)
    ranks.agree(None)
    settings = _without_effect(settings, experiment)
    what = config.identity(settings, device.device.type, device.precision, experiment.dataset.fingerprint, threads.num, ranks.num)
    what = what if sweep else extended(Path(folder), what)
    with claim(Path(folder), sweep, what, wait) as (place, complete):
        if complete:
            console.say(f"done    already in {shown(place)}")
            ranks.agree(None)
            references.keep(place)
            _show(place, settings, sweep)
            return read_json(place / SUMMARY)
        if sweep and (why := superseded(sweep, settings["overrides"], what)):
            console.say(f"again   {why}")
        about = _tracked(settings, sweep)
        with (
            record.Record(place, record.describe(settings, sweep, what)) as files,
            Tracker(place, settings["tracking"], about | {"id": files.wandb_id}) as tracker,
        ):
            out = _Outputs(files, tracker, _checkpoints(settings, what, place), console)
            summary = _make(experiment, settings, what, threads.reason, started, out)
        _show(place, settings, sweep)
        return summary


def _make(
    experiment: "Experiment", settings: Mapping[str, Any], what: Mapping[str, Any], threads: str | None, started: float, out: "_Outputs"
) -> dict[str, Any]:
    """Train, evaluate and draw, from where an earlier try ended; returns the summary. what: the run's identity."""
    found = out.checkpoints.newest(out.files.metrics())
    if found is None and out.checkpoints.extends:
        raise UserError(f"{shown(out.files.folder)} holds no checkpoint from which a longer run can go on; choose another hydra.run.dir")
    out.files.write_run(wandb=out.tracker.facts())
    _introduce(experiment, settings["choices"], settings["pretrain"]["batch_size"], threads, out)
    trained = _train(experiment, settings, found, out)
    history = trained.history
    evaluation, probing = _evaluate(experiment, settings, what["identity"], out)
    summary = (
        evaluation.scores
        | {"warnings": [*trained.warnings, *evaluation.warnings]}
        | costs(experiment, history, {"pretrain": trained.seconds, "evaluate": probing, "": time.perf_counter() - started})
        | trained.health
        | facts(experiment, settings, what, evaluation)
    )
    if evaluation.predicted is not None:
        out.files.predictions(predictions(evaluation))
    out.files.summary(summary)
    out.tracker.summary(summary)
    out.console.say(f"\n{score_table(summary)}\n")
    from ssl_mnist.figures import figures_of

    out.console.stage("draw    figures")
    figures = figures_of(experiment, evaluation, history, settings["evaluation"]["num_points"])
    draw(figures, lambda name, figure: out.tracker.figure(name, out.files.figure(name, figure)))
    if settings["evaluation"]["cache"]:
        _keep_representations(experiment, evaluation, out)
    _hand_over(experiment, evaluation, what["identity"], out)
    out.files.end()
    references.keep(out.files.folder)
    if not settings["checkpoint"]["keep"]:
        out.checkpoints.remove()
    write_report(out.files.folder)
    out.console.say(f"folder  {shown(out.files.folder)}")
    return summary


def write_report(folder: Path) -> None:
    """Write the run's own page. One that fails is a warning: the scores stand already."""
    from ssl_mnist import report

    try:
        report.write(folder)
    except Exception as error:
        log.warning("WARNING report.html could not be written: %s", record.one_line(error))
        log.debug("", exc_info=True)


def _show(folder: Path, settings: Mapping[str, Any], sweep: Path | None) -> None:
    """Where the run's page is; in a sweep, whose page links it, nothing."""
    if sweep is None and (folder / REPORT).is_file():
        show_page(folder / REPORT, settings["open"])


def _without_effect(settings: Mapping[str, Any], experiment: "Experiment") -> Mapping[str, Any]:
    """The settings of a method that does not train, with what has no effect on it set to 0: its epochs, and where it has no parameter,
    so that nothing is initialised, its seed. Runs that cannot differ have one identity, and a sweep makes them once."""
    if experiment.method.trains:
        return settings
    seed = settings["seed"] if num_parameters(experiment.method) else 0
    experiment.seed = seed
    return {**settings, "seed": seed, "pretrain": {**settings["pretrain"], "epochs": 0}}


def _checkpoints(settings: Mapping[str, Any], what: Mapping[str, Any], place: Path) -> "Checkpoints":
    from ssl_mnist.training.state import Checkpoints

    fewer = what["identity_parts"].get("extends", {})
    return Checkpoints(place / CHECKPOINTS, what["identity"], settings["checkpoint"]["every_seconds"], fewer.get("identity"))


class _Outputs(NamedTuple):
    """Where a run's results go."""

    files: record.Record
    tracker: "Tracker"
    checkpoints: "Checkpoints"
    console: Console


def _introduce(experiment: "Experiment", choices: Mapping[str, Any], batch_size: int, threads: str | None, out: _Outputs) -> None:
    """Say what is about to run, and what the user should know of it."""
    from ssl_mnist.data import describe

    dataset = experiment.dataset
    splits = {"train": dataset.train, "val": dataset.val}
    out.console.stage(f"data    {dataset.name}: {describe(splits, dataset.spec.classes)}")
    if dataset.unlabelled is not None and experiment.images is dataset.unlabelled:
        out.console.say(f"        pretrains on {len(dataset.unlabelled):,} images without labels")
    if dataset.note:
        out.console.say(f"        {dataset.note}")
    if choices["augmentation"] == "auto":
        acting = [name for name, op in experiment.augmentation.ops.items() if op.p]
        out.console.say(f"augment {', '.join(acting) or 'nothing'} (auto: what the data set names)")
    for reason in experiment.left_out:
        log.warning("WARNING not evaluated: %s", reason)
    if experiment.batch_size < batch_size and experiment.method.trains:
        log.warning("WARNING batches of %d instead of %d images: there are no more to train on", experiment.batch_size, batch_size)
    for name in experiment.augmentation.of_kinds(experiment.spec.label_changing):
        log.warning(
            "WARNING augmentation.%s changes what the labels of %s mean; ~augmentation.%s leaves it out", name, choices["data"], name
        )
    if threads:
        out.console.say(f"threads {threads}")
    if not experiment.method.trains:
        out.console.stage(f"train   {choices['method']}: no training, the encoder {choices['encoder']} is evaluated as it is")
        return
    if experiment.method.supervised:
        out.console.say(f"        trains on the labels of {len(experiment.images):,} images too: this is no self-supervised method")
    steps = f"{experiment.num_steps:,} step{'s' * (experiment.num_steps != 1)} of {experiment.batch_size} images"
    num = experiment.ranks.num
    if num > 1:
        norm = "BatchNorm is synchronised" if experiment.device.device.type == "cuda" else "each with a BatchNorm of its own"
        out.console.say(f"devices {num}, each with {experiment.batch_size // num} images of a batch, {norm}")
    out.console.stage(f"train   {choices['method']}, {steps} on {experiment.device}")


class _Trained(NamedTuple):
    """What came of pretraining."""

    history: list[dict[str, float]]  # the rows of metrics
    seconds: float  # that it took, in all tries together
    health: dict[str, Any]  # for the summary: the epoch that pretrain.keep names, and what was measured after it
    warnings: list[str]


def _train(experiment: "Experiment", settings: Mapping[str, Any], found: dict[str, Any] | None, out: _Outputs) -> _Trained:
    """Pretrain, from the checkpoint that was found on.

    A signal ends it after the step, with a checkpoint: raises Stopped. Raises UserError at a collapse, if health.stop_on_collapse.
    """
    from ssl_mnist.evaluate.health import HEALTHY, MEASURES, Health, better, described, latest
    from ssl_mnist.training import state, stops
    from ssl_mnist.training.loop import steps

    keep, health = settings["pretrain"]["keep"], Health(experiment, **settings["health"])
    progress, seconds = state.Progress(), 0.0
    if found:
        progress, seconds = state.restore(found, experiment), found["seconds"]
        out.console.say(f"resume  from step {progress.step:,} of {experiment.num_steps:,}")
        if found["identity"] == out.checkpoints.extends:
            lr = experiment.optimizer.param_groups[0]["lr"]
            out.console.say(f"        a longer run: the learning rate, which had come to its end, rises to the longer schedule's {lr:.2g}")
    experiment.ranks.agree({"found": found})
    history, sent = out.files.continue_metrics(found["metrics_bytes"] if found else 0)
    sent = sent if out.files.wandb_id else 0  # the last step that W&B has from an earlier try
    for row in history:
        if row["step"] > sent:
            out.tracker.log(row)
    started, collapse = time.perf_counter() - seconds, None

    def save() -> None:
        out.checkpoints.save(experiment, progress, metrics=out.files.sync_metrics(), seconds=time.perf_counter() - started)

    with out.console.training(experiment.num_steps, progress.step) as show, stops.deferred() as stop:
        for metrics in steps(experiment, progress):
            if metrics is not None:
                if health.is_due(metrics):
                    epoch = round(metrics["epoch"])
                    metrics |= health.measure(epoch)
                    progress.best = better(keep, progress.best, metrics, epoch, experiment.method)
                    collapse = health.reason_to_stop(metrics)
                history.append(metrics)
                out.files.log(metrics)
                if metrics["step"] > sent:
                    out.tracker.log(metrics)
                show(metrics)
            if experiment.ranks.any(bool(stop() or collapse), experiment.device.device):
                if collapse:  # without a checkpoint: a next try comes to this epoch's end again
                    raise UserError(collapse)
                save()
                raise stops.Stopped(stop() or signal.SIGTERM, saved=True)
            if progress.step == experiment.num_steps or out.checkpoints.due():
                save()
    seconds = time.perf_counter() - started
    epoch = _go_back(experiment, keep, progress.best, out)
    numbers = latest(history, epoch)
    about: dict[str, Any] = {"pretrain/kept_epoch": epoch}
    if not numbers:
        return _Trained(history, seconds, about, [])
    verdict = health.verdict(numbers)
    out.console.say(f"health  {verdict.words}\n        {described(numbers)}")
    about |= {
        **{name: value for name, value in numbers.items() if not math.isnan(value)},
        "health/verdict": verdict.words,
        "health/measures": MEASURES,
    }
    return _Trained(history, seconds, about, [] if verdict.words == HEALTHY else [f"pretraining: {verdict.words}"])


def _go_back(experiment: "Experiment", keep: str, best: dict[str, Any] | None, out: _Outputs) -> int:
    """Put the method, its heads too, back to the best epoch, where one was kept; returns the epoch that it is of now."""
    if best is None:
        return experiment.epochs
    out.console.say(f"kept    the encoder of epoch {best['epoch']} of {experiment.epochs} (pretrain.keep={keep})")
    experiment.method.load_state_dict(best["method"])
    return best["epoch"]


def _follow(experiment: "Experiment") -> dict[str, Any]:
    """What the ranks but the first do: train, from where rank 0 begins to where it ends. They write nothing and return no summary."""
    from ssl_mnist.training import state, stops
    from ssl_mnist.training.loop import steps

    begin = experiment.ranks.agree(None)
    if begin is None:  # the run is there already
        return {}
    progress = state.restore(begin["found"], experiment) if begin["found"] else state.Progress()
    with stops.deferred() as stop:
        for _ in steps(experiment, progress):
            if experiment.ranks.any(bool(stop()), experiment.device.device):
                break
    return {}


def _evaluate(experiment: "Experiment", settings: Mapping[str, Any], identity: str, out: _Outputs) -> tuple["Evaluation", float]:
    """Freeze and save the encoder, probe it; returns the scores and the seconds it took."""
    from ssl_mnist.build import read_others
    from ssl_mnist.checkpoint import save_encoder

    encoder = experiment.method.representation().requires_grad_(False).eval()
    path = out.files.folder / ENCODER
    save_encoder(encoder, path, settings["choices"]["method"], identity)
    out.console.stage("probe   the frozen encoder")
    started = time.perf_counter()
    others, left_out = read_others(experiment.studies, experiment.dataset, experiment.device)
    for reason in left_out:
        log.warning("WARNING not evaluated: %s", reason)
    head = experiment.method.eval().projection
    evaluation = probe(encoder, experiment.probes, experiment.dataset, settings, out.files.folder, head, experiment.studies, others)
    for warning in evaluation.warnings:
        log.warning("WARNING %s", warning)
    return evaluation, time.perf_counter() - started


def probe(
    encoder: "Encoder",
    probes: Mapping[str, "Probe"],
    dataset: "Dataset",
    settings: Mapping[str, Any],
    folder: Path,
    head: "Callable[[Tensor], Tensor] | None" = None,
    studies: Mapping[str, "Study"] = MappingProxyType({}),
    others: Mapping[str, "Dataset"] = MappingProxyType({}),
) -> "Evaluation":
    """Evaluate a frozen encoder; its features and fitted probes are kept in `folder`, if the settings say so.

    head: the method's projector, for the probes that look at its output; others: the data sets that the studies need, by name.
    """
    from ssl_mnist.checkpoint import encoder_hash
    from ssl_mnist.evaluate import FeatureStore, evaluate
    from ssl_mnist.evaluate.kept import fit_key, identity_of
    from ssl_mnist.evaluate.protocol import cells_of
    from ssl_mnist.evaluate.study import Case, before_training, study
    from ssl_mnist.training.threads import limit_scikit_learn

    how = settings["evaluation"]

    def stores(encoder: "Encoder", dataset: "Dataset", head: "Callable[[Tensor], Tensor] | None" = None) -> FeatureStore:
        identity = identity_of(encoder_hash(encoder), dataset.fingerprint, len(dataset.train))
        return FeatureStore(encoder, cells_of(probes), how["tta"], folder / "features" if how["cache"] else None, identity, head)

    store = stores(encoder, dataset, head)
    code = config.code_hashes(settings)
    fits = {name: fit_key(how[name], code, settings["seed"], settings["precision"]) for name in probes}
    with limit_scikit_learn():
        evaluation = evaluate(probes, dataset, store, how["test"], fits)
        evaluation.figures["few labels"] = lambda: _label_curves(evaluation, len(dataset.train))
        if not studies:
            return evaluation
        for name, other in others.items():
            if other.note:
                say(f"        {name}: {other.note}")
        case = Case(evaluation, dataset, store, lambda: stores(before_training(encoder, settings["seed"]), dataset), stores, fits, others)
        return study(studies, case)


def _label_curves(evaluation: "Evaluation", train_size: int) -> "dict[str, Figure]":
    from ssl_mnist import plots

    ways = plots.label_curves(evaluation.scores | {"data/train_size": train_size}, evaluation.split)
    title = f"Accuracy by labels, {evaluation.split} (mean over draws, 95 % interval)"
    return {"label_efficiency": plots.label_efficiency(ways, title)} if ways else {}


def draw(figures: Iterable[tuple[str, Callable[[], "dict[str, Figure]"]]], save: Callable[[str, "Figure"], Any]) -> None:
    """All figures. One that fails is a warning: the scores stand already."""
    for name, make in figures:
        try:
            for figure, drawn in make().items():
                save(figure, drawn)
        except Exception as error:
            log.warning("WARNING the figures of %s could not be drawn: %s", name, record.one_line(error))
            log.debug("", exc_info=True)


def _keep_representations(experiment: "Experiment", evaluation: "Evaluation", out: _Outputs) -> None:
    """What the layers make of 1,000 images, the same ones in every run on the data, by which a comparison tells encoders apart."""
    from ssl_mnist.data import random_part
    from ssl_mnist.evaluate.layers import compact, layer_embeddings

    images = evaluation.shown.images[random_part(evaluation.shown, 1_000)]
    try:
        method = experiment.method
        out.files.representations(compact(layer_embeddings(method.representation(), images, method.projection), images))
    except (OSError, RuntimeError) as error:  # of the disk, or of memory
        log.warning("WARNING representations are not kept: %s", record.one_line(error))


def _hand_over(experiment: "Experiment", evaluation: "Evaluation", identity: str, out: _Outputs) -> None:
    """The accuracy of each class and the encoder, to Weights & Biases."""
    if experiment.spec.classes is not None:
        per_class = zip(experiment.spec.classes, evaluation.scores[f"{evaluation.split}/per_class_accuracy"], strict=True)
        out.tracker.table(f"{evaluation.split}/per_class", ["class", "accuracy"], per_class)
    about = {"class": type(experiment.encoder).__name__, "identity": identity}
    out.tracker.artifact(out.files.folder / ENCODER, "encoder", about)


def _tracked(settings: Mapping[str, Any], sweep: Path | None) -> dict[str, Any]:
    """What Weights & Biases is told of the run."""
    choices = settings["choices"]
    return {
        "job_type": choices["method"],
        "default_name": f"{choices['method']}/s{settings['seed']}",
        "group": sweep.resolve().name if sweep else None,
        "tags": [f"{group}:{name}" for group, name in choices.items() if name],
        "config": {key: value for key, value in settings.items() if key != "overrides"},
    }
