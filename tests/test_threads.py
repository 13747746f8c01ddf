"""How many threads are chosen: by what a process may use, and by what others take of it."""

import os
import subprocess
import sys
import time

import pytest
import torch

from ssl_mnist.training import threads


@pytest.fixture(autouse=True)
def _afresh(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.setattr(threads, "_begun", None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    torch.set_num_threads(before)


def test_an_explicit_number_wins(monkeypatch):
    monkeypatch.setattr(threads, "_taken_by_others", lambda: 5.0)
    assert threads.choose_threads(3) == (3, None) and torch.get_num_threads() == 3


@pytest.mark.parametrize(
    "cores,taken,count", [(2, 0.0, 2), (2, 0.5, 2), (2, 0.7, 1), (2, 1.0, 1), (2, 2.0, 1), (8, 2.9, 5), (8, 2.2, 6), (1, 1.0, 1)]
)
def test_a_taken_core_is_left_alone(cores, taken, count):
    found = threads._choose(cores, taken)
    assert found.num == count and (found.reason is None) == (count == cores)


def test_the_choice_is_made_once(monkeypatch):
    loads = iter([1.0, 0.0])
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(threads, "_taken_by_others", lambda: next(loads))
    assert [threads.choose_threads("auto").num for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("text,cores", [("200000 100000", 2.0), ("50000 100000", 0.5), ("max 100000", float("inf"))])
def test_quota_of_cgroup_2(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert threads._quota(tmp_path) == cores


@pytest.mark.parametrize("quota,cores", [("300000", 3.0), ("-1", float("inf"))])
def test_quota_of_cgroup_1(tmp_path, quota, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert threads._quota(tmp_path) == cores


def test_available_cores_are_not_the_hosts(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads, "_quota", lambda _: 2.5)
    assert threads.available_cores() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.available_cores() == 1


def test_busy_seconds_are_those_of_the_processes_own_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9 9 9 9 9 9 0 0 0\ncpu0 500 0 0 0 0 0 0 0 0 0\ncpu1 100 20 30 999 5 40 10 0 0 0\n")
    assert threads._now(stat).busy == pytest.approx(2.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat is Linux's")
def test_a_busy_process_is_seen():
    """Pinned with this one to one core, so that nothing else that runs can take its place."""
    before = os.sched_getaffinity(0)
    core = {min(before)}
    os.sched_setaffinity(0, core)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        assert threads._taken_by_others() > threads.TAKEN
    finally:
        busy.kill()
        busy.wait()
        os.sched_setaffinity(0, before)
