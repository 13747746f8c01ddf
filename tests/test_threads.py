"""How many threads a run takes: what the process may use, less what others keep busy; a number in the config always counts."""

import os
import subprocess
import sys
import time

import pytest
import torch

from ssl_mnist.training import threads
from ssl_mnist.training.threads import Threads, choose_threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of eight idle cores and this process on it, as /proc and /sys/fs/cgroup would show them."""
    monkeypatch.setattr(threads, "PROC", tmp_path / "proc")
    monkeypatch.setattr(threads, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "MIN_WINDOW", 0.0)
    monkeypatch.setattr(threads, "_begin", None)
    monkeypatch.setattr(threads, "_torch_default", lambda: 8)
    monkeypatch.setattr(threads, "_affinity", lambda: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads._auto.cache_clear()
    before = torch.get_num_threads()
    yield Machine(monkeypatch, tmp_path)
    torch.set_num_threads(before)
    threads._auto.cache_clear()


class Machine:
    def __init__(self, monkeypatch, folder):
        self.monkeypatch, self.folder = monkeypatch, folder

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def load(self, *shares, own=0.0):
        """Ten seconds in which core i is busy for shares[i] of the time, `own` of the sum being this process's."""
        clock = iter([100.0, 110.0, 110.0])
        self.monkeypatch.setattr(threads.time, "monotonic", lambda: next(clock))
        used = iter([(5.0, 0.0, 0.0, 0.0, 0.0), (5.0 + 10 * own, 0.0, 0.0, 0.0, 0.0)])
        self.monkeypatch.setattr(threads.os, "times", lambda: next(used))
        self.stat([0.0] * 8)
        threads.snapshot()
        self.stat([*shares, *[0.0] * (8 - len(shares))])

    def stat(self, shares):
        """Ticks of user time; the idle time and the first line are what a reader must not add."""
        ticks = os.sysconf("SC_CLK_TCK")
        lines = [f"cpu{i} {1000 + round(10 * ticks * share)} 0 50 {70_000 + i} 900 3 4 0 0 0" for i, share in enumerate(shares)]
        self.write("proc/stat", "\n".join(["cpu  99999999 0 0 0 0 0 0 0 0 0", *lines, "intr 5 6"]) + "\n")

    def process(self, pid, command, started, cpu_seconds, now=1000.0):
        ticks = os.sysconf("SC_CLK_TCK")
        self.write("proc/uptime", f"{now} 0\n")
        numbers = ["S", *["0"] * 10, str(round(cpu_seconds * ticks)), "0", *["0"] * 6, str(round(started * ticks)), "0"]
        self.write(f"proc/{pid}/stat", f"7 (a ) b) {' '.join(numbers)}\n")
        self.write(f"proc/{pid}/cmdline", "\0".join(command.split()) + "\0")


def test_an_idle_machine_is_used_whole_and_nothing_is_said(machine):
    machine.load(0.1, 0.1, 0.1, 0.1, 0, 0, 0, 1.0, own=1.0)
    assert choose_threads("auto") == Threads(8, None)


@pytest.mark.parametrize(("others", "count"), [(0.59, 8), (0.61, 7), (1.0, 7), (2.4, 6), (7.9, 1)])
def test_a_core_that_others_keep_busy_is_left_to_them(machine, others, count):
    shares = [min(1.0, max(0.0, others - i)) for i in range(8)]
    machine.load(*shares)
    reason = None if count == 8 else f"{count} of 8 cores: other processes keep {others:.1f} busy; threads=8 overrides"
    assert choose_threads("auto") == Threads(count, reason)


def test_cores_outside_the_affinity_mask_do_not_count(machine, monkeypatch):
    monkeypatch.setattr(threads, "_affinity", lambda: {2, 3})
    machine.load(1, 1, 0, 1, 1, 1, 1, 1)
    assert choose_threads("auto") == Threads(1, "1 of 2 cores: other processes keep 1.0 busy; threads=2 overrides")


def test_the_choice_is_made_once_and_a_number_always_wins(machine):
    machine.load(1, 1, 1, 1)
    first = choose_threads("auto")
    assert first.num == 4
    assert choose_threads(6) == Threads(6, None) and torch.get_num_threads() == 6
    machine.stat([1.0] * 8)
    assert choose_threads("auto") is first and torch.get_num_threads() == 4


def test_omp_num_threads_is_an_upper_bound(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "_torch_default", lambda: 3)
    machine.load(1, 1, 1, 1)
    assert choose_threads("auto") == Threads(3, "3 of 8 cores: OMP_NUM_THREADS=3; threads=8 overrides")


def test_scikit_learn_computes_with_as_many_threads_as_torch(machine):
    import sklearn.cluster  # noqa: F401
    from threadpoolctl import threadpool_info

    choose_threads(1)
    with threads.limit_scikit_learn():
        pools = {pool["prefix"] + pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    assert len(pools) > 1 and set(pools.values()) == {1}


def test_torch_counts_omp_num_threads():
    """What `_torch_default` relies on; joblib's workers are limited in this way."""
    code = "from ssl_mnist.training.threads import choose_threads; print(choose_threads('auto').num)"
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert result.stdout == "1\n", result.stderr


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cgroup/cpu.max": "250000 100000\n"}, 2.5),
        ({"cgroup/cpu.max": "max 100000\n"}, None),
        ({"cgroup/a/b/cpu.max": "max 100000\n", "cgroup/a/cpu.max": "150000 50000\n", "cgroup/cpu.max": "900000 100000\n"}, 3.0),
        ({}, None),
    ],
)
def test_quota_of_cgroup_version_2(machine, files, quota):
    machine.write("proc/self/cgroup", "0::/a/b\n")
    for path, text in files.items():
        machine.write(path, text)
    assert threads._quota() == quota


@pytest.mark.parametrize(("microseconds", "quota"), [("400000\n", 4.0), ("-1\n", None)])
def test_quota_of_cgroup_version_1(machine, microseconds, quota):
    machine.write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/docker/7\n3:cpuset:/\n0::/\n")
    machine.write("cgroup/cpu/docker/7/cpu.cfs_quota_us", microseconds)
    machine.write("cgroup/cpu/docker/7/cpu.cfs_period_us", "100000\n")
    assert threads._quota() == quota


def test_quota_limits_threads_to_whole_cores(machine):
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("cgroup/cpu.max", "290000 100000\n")
    machine.load(1, 1, 1)
    assert choose_threads("auto") == Threads(2, "2 of 8 cores: the CPU quota is 2.9; threads=8 overrides")


def test_runs_that_start_together_share_the_cores(machine):
    machine.process("self", "python -m ssl_mnist", started=997, cpu_seconds=3)
    machine.process(31, "python -m ssl_mnist seed=1", started=998, cpu_seconds=2)
    machine.process(32, "python -u -m submitit.core._submit jobs", started=995, cpu_seconds=4)
    machine.process(33, "python -m ssl_mnist seed=2", started=900, cpu_seconds=90)  # training: its load is seen
    machine.process(34, "srun python -m ssl_mnist", started=997, cpu_seconds=0.1)  # a launcher
    machine.process(35, "python -m pytest", started=998, cpu_seconds=2)
    machine.load(1, 1, 1, own=1)
    assert choose_threads("auto") == Threads(2, "2 of 8 cores: 2 other runs are starting; threads=8 overrides")


def test_a_system_without_proc_is_used_whole(machine):
    assert choose_threads("auto") == Threads(8, None)


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="only Linux shows the load of each core")
def test_the_load_of_a_real_process_is_measured(monkeypatch):
    def others():
        monkeypatch.setattr(threads, "_begin", None)
        threads.snapshot()
        time.sleep(1)
        return threads._busy_with_others()

    before = others()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        during = others()
    finally:
        busy.kill()
        busy.wait()
    cores = len(threads._affinity())
    assert during > min(0.6, cores - 0.5)
    if before < 0.2:
        assert during < 1.4
