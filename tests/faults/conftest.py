"""The faults' count: each test is one, or as many as it says by the fixture `count`; printed at the end as survived / tried."""

import json
import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conftest import command, summary_of, without_times

RUN = ("experiment=smoke", "pretrain.epochs=2", "evaluation=quick", "evaluation.num_points=50", "checkpoint.every_seconds=0.2")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.nightly)


@pytest.fixture
def count(record_property):
    """A function that says how many faults a test survived."""
    return lambda num: record_property("faults", num)


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The run of RUN that nothing disturbs, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("reference")
    started = time.monotonic()
    result = command(*RUN, "tracking.mode=offline", "hydra.run.dir=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run", time.monotonic() - started


def results(folder):
    """The encoder's bytes, the metrics and the scores of a run, without times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (folder / "encoder.pt").read_bytes(), without_times(rows), without_times([summary_of(folder)])


def check_files(folder):
    """That no file of a run is half-written; metrics.jsonl alone may end in a line that was cut short."""
    for path in folder.rglob("*.json"):
        if "wandb" not in path.parts:
            json.loads(path.read_text())
    if (folder / "metrics.jsonl").exists():
        for line in (folder / "metrics.jsonl").read_text().split("\n")[:-1]:
            json.loads(line)


def kill_after(seconds, *words, cwd):
    """Start a command and kill it after some time, if it has not ended by itself."""
    process = command(*words, cwd=cwd, wait=False)
    time.sleep(seconds)
    process.kill()
    process.wait()


def moments(num, longest):
    """Random moments, the same in each session."""
    draw = random.Random(0)
    return [draw.uniform(0, longest) for _ in range(num)]


def is_one_line(result):
    """Whether a command that failed said so as a user's error: status 1, its last line ours, no traceback."""
    return result.returncode == 1 and "Traceback" not in result.stderr and "ssl_mnist: " in result.stderr.splitlines()[-1]
