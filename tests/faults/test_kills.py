"""kill -9 at any moment, of a run, a sweep, a worker, a parent: what is started again comes to the same bits."""

import json
import os
import shutil
import signal
import time

import pytest
from conftest import command

from ssl_mnist.claim import is_alive
from ssl_mnist.files import is_complete, read_json

from .conftest import RUN, check_files, kill_after, moments, results


@pytest.mark.parametrize("part", range(5))
def test_a_run_is_killed_at_ten_random_moments(part, reference, tmp_path, count):
    """At start-up, in training, at a checkpoint, in probing, drawing, tracking; then it goes on, until the next kill."""
    whole, seconds = reference
    words = (*RUN, "tracking.mode=offline", "hydra.run.dir=run")
    for moment in moments(50, 1.1 * seconds)[10 * part :][:10]:
        kill_after(moment, *words, cwd=tmp_path)
        check_files(tmp_path / "run")
        if is_complete(tmp_path / "run"):
            assert results(tmp_path / "run") == results(whole)
            shutil.rmtree(tmp_path / "run")
    last = command(*words, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert results(tmp_path / "run") == results(whole)
    count(10)


def test_a_sweep_of_six_is_killed_until_it_ends(reference, tmp_path, count):
    words = ("-m", "method=autoencoder,rotation,simclr", "seed=0,1", *RUN, "tracking.mode=disabled")
    whole = command(*words, "hydra.sweep.dir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    folders = sorted(path.parent.name for path in (tmp_path / "whole").glob("*/summary.json"))
    assert len(folders) == 6
    kills = moments(8, 3 * reference[1])
    for moment in kills:
        kill_after(moment, *words, "hydra.sweep.dir=killed", cwd=tmp_path)
        for folder in (tmp_path / "killed").glob("*-*"):
            check_files(folder)
    last = command(*words, "hydra.sweep.dir=killed", cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    for name in folders:
        assert results(tmp_path / "killed" / name) == results(tmp_path / "whole" / name), name
    assert json.loads((tmp_path / "killed" / "comparison.json").read_text())["killed"] == []
    count(len(kills))


PARALLEL = ("-m", "seed=0,1,2", *RUN, "tracking.mode=disabled", "hydra.sweep.dir=all", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def workers_of(sweep, process):
    """The processes of the first two jobs, once each has a row of metrics."""
    found = []
    while len(found) < 2:
        assert process.poll() is None
        time.sleep(0.05)
        found = [path.parent for path in sweep.glob("*/metrics.jsonl") if path.stat().st_size]
    return [read_json(folder / "run.json")["pid"] for folder in found]


def test_the_others_finish_where_a_worker_is_killed(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    process = command(*PARALLEL, cwd=tmp_path, wait=False)
    os.kill(workers_of(tmp_path / "all", process)[0], signal.SIGKILL)
    assert process.wait(300) == 0
    assert len(list((tmp_path / "all").glob("*/summary.json"))) == 3


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["SIGKILL", "SIGTERM", "SIGINT"])
def test_no_worker_outlives_the_sweep(signum, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    process = command(*PARALLEL, cwd=tmp_path, wait=False)
    workers = workers_of(tmp_path / "all", process)
    process.send_signal(signum)
    assert process.wait(60) == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[signum]
    until = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_alive, workers))
    again = command(*PARALLEL, cwd=tmp_path)
    assert again.returncode == 0 and len(list((tmp_path / "all").glob("*/summary.json"))) == 3
