"""Several ranks train one model: on gloo, two processes here."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from conftest import REPOSITORY, command, summary_of

from ssl_mnist.errors import UserError
from ssl_mnist.training import distributed
from ssl_mnist.training.distributed import Ranks


def test_parts_make_up_each_batch():
    order = torch.randperm(23)
    parts = [Ranks(rank, 3).part(order, 6) for rank in range(3)]
    for step in range(3):
        assert torch.cat([part[2 * step : 2 * step + 2] for part in parts]).tolist() == order[6 * step : 6 * step + 6].tolist()
    assert all(len(part) == 6 for part in parts) and Ranks().part(order, 6) is order
    with pytest.raises(UserError, match="cannot be shared out equally over 4 devices"):
        distributed.check(6, Ranks(0, 4))


@pytest.mark.parametrize("method", ["simclr", pytest.param("autoencoder", marks=pytest.mark.nightly), "supervised"])
def test_two_ranks_learn_what_one_learns(method, tmp_path):
    """Without BatchNorm and augmentation, which differ by rank."""

    def run(name, num):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(num)}
        words = [sys.executable, str(REPOSITORY / "tests" / "two_ranks.py"), method, str(tmp_path / name)]
        env = os.environ | place | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        processes = [subprocess.Popen(words, env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(num)]
        assert [process.wait(120) for process in processes] == [0] * num
        return torch.load(tmp_path / name, weights_only=True)

    one, two = run("one.pt", 1), run("two.pt", 2)
    assert len(one["losses"]) == 20
    torch.testing.assert_close(two["losses"], one["losses"], rtol=0, atol=1e-5)
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, rtol=0, atol=1e-5, msg=name)


RUN = (
    "experiment=smoke",
    "pretrain.epochs=3",
    "evaluation=quick",
    "evaluation.num_points=50",
    "tracking.mode=disabled",
    "hydra.run.dir=run",
)


@pytest.mark.slow
def test_torchrun_makes_one_run(tmp_path):
    result = command("--nproc_per_node=2", "-m", "ssl_mnist", *RUN, cwd=tmp_path, module="torch.distributed.run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("train   simclr") == 1 and "devices 2, each with 64 images" in result.stdout
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["identity_parts"]["devices"] == 2 and summary_of(tmp_path / "run")["test/linear_accuracy"] > 0.8


def ranks_of(process):
    """Process numbers of the ranks that a `devices=2` command started."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in children]


@pytest.mark.nightly
@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=["a rank is killed", "the command is stopped"])
def test_what_ends_one_ends_all_and_it_goes_on(signum, tmp_path):
    """Within 60 s, with a checkpoint; two ranks again come to the bits of two that nothing disturbed."""
    whole = command("devices=2", *RUN[:-1], "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    words = ("devices=2", "checkpoint.every_seconds=0", *RUN)
    process = command(*words, cwd=tmp_path, wait=False)
    while not list((tmp_path / "run").glob("checkpoints/*.pt")):
        assert process.poll() is None
        time.sleep(0.05)
    started = time.monotonic()
    if signum == signal.SIGKILL:
        os.kill(ranks_of(process)[1], signum)
    else:
        process.send_signal(signum)
    status = process.wait(90)
    assert time.monotonic() - started < 60 and status == (137 if signum == signal.SIGKILL else 143)
    assert list((tmp_path / "run").glob("checkpoints/*.pt")) and not (tmp_path / "run" / "summary.json").exists()
    again = command(*words, cwd=tmp_path)
    assert again.returncode == 0 and "resume  from step" in again.stdout, again.stderr
    assert (tmp_path / "run" / "encoder.pt").read_bytes() == (tmp_path / "whole" / "encoder.pt").read_bytes()


@pytest.mark.nightly
def test_a_collapse_ends_all_ranks_and_the_first_one_keeps_the_best_epoch(tmp_path):
    """Only rank 0 measures; the others wait for it, and end with it."""
    words = ("devices=2", *RUN[:-1], "method=autoencoder")
    ended = command(*words, "method.code_dim=1", "health.stop_on_collapse=true", "hydra.run.dir=ended", cwd=tmp_path)
    assert ended.returncode == 1 and "(epoch 1); with health.stop_on_collapse=false" in ended.stderr, ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    kept = command(*words, "pretrain.keep=best_rankme", "hydra.run.dir=kept", cwd=tmp_path)
    assert kept.returncode == 0, kept.stderr
    rows = [json.loads(line) for line in (tmp_path / "kept" / "metrics.jsonl").read_text().splitlines()]
    ranks = {round(row["epoch"]): row["health/effective_rank"] for row in rows if "health/std" in row}
    assert len(ranks) == 3 and summary_of(tmp_path / "kept")["pretrain/kept_epoch"] == max(ranks, key=ranks.get)


def test_devices_are_of_one_run_on_the_command_line(tmp_path):
    result = command("-m", "devices=2", "seed=0,1", cwd=tmp_path)
    assert result.returncode == 1 and result.stderr.strip().startswith("ssl_mnist: several devices are for one run")
