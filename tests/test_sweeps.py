"""Sweeps that really run: the table and the page at their end, and a sweep that goes on where it stopped."""

import json
import signal
import time

import pytest
from conftest import METHODS, TINY, command


def finished(sweep):
    return {path: path.stat().st_mtime_ns for path in sweep.glob("*/summary.json")}


def test_the_entry_point_compares_a_sweep(sweep):
    """After a multirun the page and the table are there, with a row a method."""
    folder = sweep[0].parent
    content = json.loads((folder / "comparison.json").read_text())
    assert [row["configuration"] for row in content["configurations"]] == METHODS and content["split"] == "test"
    assert {verdict["verdict"] for verdict in content["verdicts"]} == {"too few seeds"}
    assert content["warnings"] == [] or all(": " in warning for warning in content["warnings"])
    assert content["answer"] in (folder / "comparison.html").read_text()


@pytest.mark.nightly
def test_a_killed_sweep_goes_on(tmp_path):
    """kill -9 in the middle of job 3 of 6: started again, jobs 1 and 2 are not run again, 3 to 6 are, and the table holds six."""
    words = ("-m", f"seed={','.join('012345')}", *TINY, "hydra.sweep.dir=all")
    sweep = tmp_path / "all"
    process = command(*words, cwd=tmp_path, wait=False)
    while process.poll() is None and not list(sweep.glob("2-*/metrics.jsonl")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = finished(sweep)
    assert sorted(json.loads(path.read_text())["seed"] for path in before) == [0, 1]

    again = command(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    after = finished(sweep)
    assert sorted(json.loads(path.read_text())["seed"] for path in after) == [0, 1, 2, 3, 4, 5]
    assert before.items() <= after.items()
    content = json.loads((sweep / "comparison.json").read_text())
    assert [row["n"] for row in content["configurations"]] == [6] and content["killed"] == []


@pytest.mark.nightly
def test_what_changed_is_a_new_job(tmp_path):
    """In the same folder, another setting runs, and never takes the first one's results."""
    for omit in ("null", "stroke"):
        result = command("-m", f"augmentation.omit={omit}", *TINY, "hydra.sweep.dir=all", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert len(json.loads((tmp_path / "all" / "comparison.json").read_text())["configurations"]) == 2
