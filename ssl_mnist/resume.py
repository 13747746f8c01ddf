"""What a sweep leaves behind so that it can go on: which jobs are finished, told by their config, and which failed."""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from ssl_mnist import __version__

FAILURES = "failures.jsonl"  # in the sweep's folder: an object a failed job


def config_hash(config: dict[str, Any], source: str) -> str:
    """What makes a result: the resolved config without paths, tracking and names, the data's source, the package's version."""
    kept = {key: value for key, value in config.items() if key not in ("tracking", "choices")}
    kept["data"] = {key: value for key, value in config["data"].items() if key != "root"}
    text = json.dumps([kept, source, __version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finished(sweep: Path, identity: str) -> Path | None:
    """The `summary.json` of a finished run in a sweep's folder that had this config_hash."""
    return next((path for path in sweep.glob("*/summary.json") if json.loads(path.read_text()).get("config_hash") == identity), None)


def remove_superseded(sweep: Path, folder: Path, overrides: list[str]) -> None:
    """Remove what an earlier try of the same job, killed or failed, left in the sweep's folder."""
    for path in sweep.glob("*/.hydra/overrides.yaml"):
        old = path.parent.parent
        with contextlib.suppress(FileNotFoundError):  # another job, that fails just now, removes its own
            if old != folder and not (old / "summary.json").exists() and sorted(yaml.safe_load(path.read_text())) == sorted(overrides):
                shutil.rmtree(old)


def record_failure(sweep: Path, overrides: list[str], error: str) -> None:
    with (sweep / FAILURES).open("a") as file:
        print(json.dumps({"overrides": overrides, "error": error}), file=file)
