"""Sweeps past one process, and a search: on the launchers and the sweeper that the extras `sweep` and `ray` install."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from conftest import TINY, command

pytestmark = pytest.mark.nightly

SWEEP = (*TINY, "hydra.sweep.dir=all")
LAUNCHERS = {  # name -> settings; on two workers, or on as many as there are jobs
    "joblib": ("hydra.launcher.n_jobs=2",),
    "submitit_local": ("hydra.launcher.timeout_min=5",),
    "ray": ("+hydra.launcher.ray.init.num_cpus=2",),
}


def summaries(cwd: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((cwd / "all").glob("*/summary.json"))]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launcher(launcher, tmp_path):
    """Two jobs in processes of their own; the page is made by the process that started them."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    threads = {} if launcher == "joblib" else {"OMP_NUM_THREADS": "1"}  # submitit starts all jobs at once and shares nothing out
    result = command("-m", f"hydra/launcher={launcher}", *LAUNCHERS[launcher], "seed=0,1", *SWEEP, cwd=tmp_path, **threads)
    assert result.returncode == 0, result.stdout + result.stderr
    found = summaries(tmp_path)
    assert sorted(one["seed"] for one in found) == [0, 1]
    runs = [json.loads(path.read_text()) for path in (tmp_path / "all").glob("*/run.json")]
    assert len({run["pid"] for run in runs}) == 2 and {run["sweep"] for run in runs} == {"all"}
    assert len(json.loads((tmp_path / "all" / "comparison.json").read_text())["configurations"]) == 1
    if launcher == "joblib":
        assert all(one["machine/threads"] <= max(1, (os.cpu_count() or 1) // 2) for one in found)


def test_search_goes_on(tmp_path):
    """The same command again adds trials to the study instead of beginning anew; none reads test."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    for expected in (1, 2):
        result = command("-m", "+search=optuna", "hydra.sweeper.n_trials=1", *SWEEP, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        with sqlite3.connect(tmp_path / "all" / "optuna.db") as database:
            states = database.execute("select state from trials").fetchall()
        assert len(states) == expected and {state for (state,) in states} == {"COMPLETE"}
    found = summaries(tmp_path)
    assert len(found) == 2 and not any(key.startswith("test/") for one in found for key in one)


def test_a_search_whose_database_is_damaged(tmp_path):
    """One line that names it, and the file is left as it was."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "optuna.db").write_bytes(b"SQLite format 3\0" + b"x" * 500)
    before = (tmp_path / "all" / "optuna.db").read_bytes()
    result = command("-m", "+search=optuna", *SWEEP, cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].endswith(
        " all/optuna.db is not a database of optuna's, or it is damaged; choose another hydra.sweep.dir"
    )
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["optuna.db"]
    assert (tmp_path / "all" / "optuna.db").read_bytes() == before
