"""`python -m ssl_mnist.evaluate <run, encoder.pt or sweep> [overrides]`: evaluate saved encoders again, under any `evaluation`.

Each result is written beside the first one, to `evaluation/<name>.json`, and never over it. The data is the run's own; overrides may name
another evaluation (evaluation=quick, evaluation.knn.k=5, evaluation.tta=1) or, for the same kind of images, other data. Test is read
unless evaluation.test=false is given.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_mnist import config
from ssl_mnist.console import say, score_table, shown
from ssl_mnist.errors import UserError, explain
from ssl_mnist.files import ENCODER, EVALUATION, RUN, SUMMARY, atomic_write, read_json, run_folders

if TYPE_CHECKING:
    from ssl_mnist.data import Dataset
    from ssl_mnist.encoders import Encoder
    from ssl_mnist.training.device import Device

PLACES = ("data.root=", "data.path=", "data.cache=")  # overrides that name the same data elsewhere


def evaluate_again(path: Path, overrides: list[str]) -> list[Path]:
    """Evaluate the encoder of a run's folder, of an encoder.pt, or of every complete run of a sweep; returns the files written.

    Raises UserError where there is no encoder, or where an override is none of data, evaluation, device, precision and threads.
    """
    allowed = ("data", "evaluation", "device", "precision", "threads", "tracking", "allow_targets")
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key.split(".")[0].split("/")[0].split("@")[0] not in allowed:
            raise UserError(f"{override} cannot change a trained encoder; what can be set here is {', '.join(allowed)}")
    if path.is_file():
        return [_evaluate(path, path.parent, overrides)]
    if not path.is_dir():
        raise UserError(f"{path} is neither a run's folder, a sweep nor an encoder.pt")
    found = [folder for folder in run_folders(path) if (folder / ENCODER).is_file()]
    if not found:
        raise UserError(f"there is no run with an encoder.pt in {path}")
    if found == [path]:
        return [_evaluate(path / ENCODER, path, overrides)]
    written, failed = [], []
    for folder in found:
        try:
            written.append(_evaluate(folder / ENCODER, folder, overrides))
        except UserError as error:  # of one run: a broken file costs what it holds
            failed.append(folder)
            say(f"FAILED  {error}")
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} runs could not be evaluated; the first was {failed[0]}")
    return written


def _evaluate(encoder_file: Path, folder: Path, overrides: list[str]) -> Path:
    """Evaluate one encoder; returns the file of its scores."""
    made_from = _run_of(folder)
    settings = _settings(made_from, overrides)
    config.check(settings)

    from ssl_mnist.build import fitting, fitting_studies, make_evaluation, read_others
    from ssl_mnist.checkpoint import encoder_hash
    from ssl_mnist.evaluate.protocol import applicable
    from ssl_mnist.pipeline import draw, probe, write_report
    from ssl_mnist.record import now
    from ssl_mnist.summary import environment
    from ssl_mnist.training.device import Device
    from ssl_mnist.training.threads import choose_threads

    choose_threads(settings["threads"])
    device = Device.choose(settings["device"], str(settings["precision"]))
    encoder, dataset = _read(encoder_file, settings, device)
    wanted, studies = make_evaluation(settings)
    studies, no_studies = fitting_studies(studies, dataset)
    probes, left_out = fitting(applicable(wanted, encoder, device), dataset, overrides)
    left_out += [f"{name}: encoder.pt does not hold the projector" for name, each in wanted.items() if each.feature == "projection"]
    others, missing = read_others(studies, dataset, device)
    for reason in [*left_out, *no_studies, *missing]:
        say(f"WARNING not evaluated: {reason}")

    what = {"evaluation": settings["evaluation"], "data": dataset.fingerprint, "encoder": encoder_hash(encoder)}
    if others:
        what["others"] = {name: other.fingerprint for name, other in others.items()}
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    target = folder / EVALUATION / f"{settings['choices']['evaluation']}-{digest}.json"
    figures = target.with_suffix("")
    if target.is_file():
        say(f"done    already in {shown(target)}")
        return target
    say(f"probe   {shown(encoder_file)} on {dataset.name}")
    evaluation = probe(encoder, probes, dataset, settings, folder, studies=studies, others=others)
    summary = evaluation.scores | {
        "encoder": what["encoder"],
        "identity": made_from["identity"] if made_from else None,
        "evaluation": settings["evaluation"],
        "overrides": overrides,
        "evaluated": now(),
        "data/source": dataset.name,
        "data/fingerprint": dataset.fingerprint,
        "data/classes": dataset.spec.classes,
        "data/test_size": len(evaluation.shown) if evaluation.split == "test" else None,
        "data/val_size": len(dataset.val),
        "choices/method": settings["choices"]["method"] if made_from else None,
        "seed": settings["seed"] if made_from else None,
        **environment(device),
    }
    target.parent.mkdir(exist_ok=True)
    atomic_write(target, json.dumps(summary, indent=2) + "\n")
    for warning in evaluation.warnings:
        say(f"WARNING {warning}")
    say(f"\n{score_table(summary)}\n")
    draw(evaluation.figures.items(), lambda name, figure: _save(figures / f"{name}.png", figure))
    if figures.is_dir():
        say(f"figures {shown(figures)}")
    if made_from and (folder / SUMMARY).is_file():
        write_report(folder)
    _track(folder, made_from, settings, target.stem, evaluation.scores)
    say(f"file    {shown(target)}")
    return target


def _read(encoder_file: Path, settings: dict[str, Any], device: "Device") -> tuple["Encoder", "Dataset"]:
    """The encoder and the data on a device. Raises UserError where the images are not of the encoder's size."""
    from ssl_mnist.build import make_dataset
    from ssl_mnist.checkpoint import load_encoder

    encoder = load_encoder(encoder_file, allow=tuple(settings["allow_targets"]))
    device.place(encoder)
    dataset = make_dataset(settings, device)
    for size in ("channels", "height", "width"):
        takes, has = (getattr(each.spec, size) for each in (encoder, dataset))
        if takes != has:
            raise UserError(f"{encoder_file} takes images of {size} {takes}, the data has {has}")
    return encoder, dataset


def _settings(made_from: dict[str, Any] | None, overrides: list[str]) -> dict[str, Any]:
    """Those of the run, where there is one, with the overrides."""
    own = [f"data={made_from['choices']['data']}"] if made_from else []
    test = [] if any(override.startswith("evaluation.test=") for override in overrides) else ["evaluation.test=true"]
    settings = config.compose(*own, *overrides, *test)
    if made_from:
        settings["seed"] = made_from["settings"]["seed"]
        changed = any(override.startswith("data") and not override.startswith(PLACES) for override in overrides)
        if not changed:  # the place of the files may be another one today
            place = {key: settings["data"][key] for key in ("root", "path", "cache") if settings["data"].get(key) not in (None, "???")}
            settings["data"] = made_from["settings"]["data"] | place
        settings["encoder"], settings["choices"]["method"] = made_from["settings"]["encoder"], made_from["choices"]["method"]
    return settings


def _save(path: Path, figure: Any) -> None:
    from ssl_mnist.record import save_figure

    path.parent.mkdir(exist_ok=True)
    save_figure(path, figure)


def _run_of(folder: Path) -> dict[str, Any] | None:
    """What run.json holds, or None for an encoder that was taken out of its run's folder."""
    try:
        return read_json(folder / RUN)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{folder / RUN} is damaged and cannot be read; a copy of encoder.pt outside this folder can") from error


def _track(folder: Path, made_from: dict[str, Any] | None, settings: dict[str, Any], name: str, scores: dict[str, Any]) -> None:
    """The scores as `evaluation/<name>/...` in the W&B run that trained the encoder; nothing where there is none."""
    if not made_from or not made_from.get("wandb"):
        return
    from ssl_mnist.tracking import Tracker

    wandb = made_from["wandb"]
    run = {"job_type": made_from["choices"]["method"], "default_name": None, "group": wandb.get("group"), "tags": [], "config": {}}
    tracking = made_from["settings"]["tracking"] | {key: wandb.get(key) for key in ("project", "entity")}
    with Tracker(folder, tracking, run | {"id": wandb["id"]}) as tracker:
        tracker.summary({f"evaluation/{name}/{key}": value for key, value in scores.items() if isinstance(value, int | float)})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.evaluate", description="Evaluate saved encoders again.")
    parser.add_argument("path", type=Path, help="a run's folder, an encoder.pt, or a sweep's folder")
    parser.add_argument("overrides", nargs="*", help="such as evaluation=quick evaluation.knn.k=5 evaluation.tta=1")
    arguments = parser.parse_args()
    try:
        evaluate_again(arguments.path, arguments.overrides)
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {explain(error) if isinstance(error, OSError) else error}")


if __name__ == "__main__":
    main()
