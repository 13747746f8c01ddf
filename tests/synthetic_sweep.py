"""Folders as finished, failed, running and stopped runs leave them, made without training."""

import hashlib
import json
from pathlib import Path
from typing import Any

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
TITLES = {"linear": "linear probe", "knn": "k-NN, k = 20"}


def started_run(sweep: Path, place: str, overrides: list[str], started: str = "2026-01-02T03:04:05+00:00", **changes: Any) -> Path:
    """A run's folder with its run.json alone. changes: of run.json."""
    folder = sweep / place
    (folder / "figures").mkdir(parents=True)
    values = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    epochs = int(values.get("pretrain.epochs", 10))
    settings = {"seed": int(values.get("seed", 0)), "pretrain": {"epochs": epochs, "batch_size": 256}, "optimizer": {"lr": 0.001}}
    flat = {"seed": settings["seed"], "pretrain.epochs": epochs, "pretrain.batch_size": 256, "optimizer.lr": 0.001}
    content = {
        "format": 1,
        "command": "python -m ssl_mnist -m method=rotation,simclr seed=0,1,2",
        "overrides": overrides,
        "sweep": sweep.name,
        "choices": {"method": values.get("method", "simclr"), "encoder": "conv"},
        "settings": settings,
        "identity": hashlib.sha256(" ".join(sorted(overrides)).encode()).hexdigest()[:16],
        "identity_parts": {"settings": flat, "code": {"methods/simclr.py": "1" * 12}, "data": "d" * 16, "versions": {"torch": "2.9"}},
        "resolved": {"device": "cpu", "precision": "32", "threads": 1},
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "host": "here",
        "pid": 1,
        "started": started,
        "wandb": None,
    }
    (folder / "run.json").write_text(json.dumps(content | changes))
    return folder


def finished_run(
    sweep: Path,
    place: str,
    overrides: list[str],
    linear: float,
    record: dict[str, Any] | None = None,
    splits: tuple[str, ...] = ("test", "val"),
    **changes: Any,
) -> Path:
    """A finished run's folder. record: changes of run.json; changes: of summary.json."""
    folder = started_run(sweep, place, overrides, **(record or {}))
    content = json.loads((folder / "run.json").read_text())
    scores = {f"{split}/{name}_accuracy": linear - 0.01 * i for split in splits for i, name in enumerate(TITLES)}
    about = {key: {"title": TITLES[key.partition("/")[2].removesuffix("_accuracy")], "higher_is_better": True} for key in scores}
    summary = {
        **scores,
        "scores": about,
        "primary": "linear",
        **{f"{split}/per_class_accuracy": [linear] * 10 for split in splits},
        **{f"{split}/most_confused": "4 taken for 9, 3 times" for split in splits},
        "warnings": [],
        **{"pretrain/seconds": 10.0, "evaluate/seconds": 8.0, "seconds": 20.0, "pretrain/images_per_second": 1000.0},
        **{"pretrain/steps": 100, "model/parameters": 5, "model/dim": 256},
        **{"data/source": "mnist", "data/fingerprint": "d" * 16, "data/classes": [str(i) for i in range(10)]},
        **{"data/train_size": 55000, "data/val_size": 5000, "data/test_size": 10000 if "test" in splits else None},
        **{"seed": content["settings"]["seed"], "choices/method": content["choices"]["method"], "versions/ssl_mnist": "1"},
        **{"machine/processor": "AMD EPYC", "machine/cpus": 2, "machine/threads": 1, "machine/device": "cpu", "machine/precision": "32"},
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes))
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": e, "epoch": e, "pretrain/loss": 5 - e}) + "\n" for e in range(3)))
    (folder / "figures" / "tsne.png").write_bytes(PNG)
    return folder
