"""The record of a run, with W&B offline, online, refusing, silent and dying: the files never depend on it."""

import json
import logging
import socket
import time

import pytest
import wandb
import wandb_files
from matplotlib.figure import Figure
from wandb_server import KEY, serving

from ssl_mnist import tracking
from ssl_mnist.tracking import Tracker

SUMMARY = {
    **{f"{split}/{probe}_accuracy": 0.5 for split in ("val", "test") for probe in ("linear", "knn")},
    **{"test/most_confused": "4 taken for 9, 3 times", "pretrain/seconds": 1.0, "pretrain/images_per_second": 10.0, "seconds": 2.0},
    **{"choices/method": "m", "data/source": "none", "seed": 0, "model/parameters": 5},
}


@pytest.fixture(autouse=True)
def _forget_settings():
    """The client reads its environment once a process; these tests change it."""
    wandb.teardown()
    yield
    wandb.teardown()


RUN = {"project": "p", "group": "g", "job_type": "j", "name": "j/s0", "tags": ["method:m"], "config": {"a": {"b": 1}}}


def record(folder, mode, pause=None):
    """A small run, in full; `pause` is called in the middle."""
    with Tracker(folder, mode, RUN) as tracker:
        tracker.stage("stage")
        for step in (1, 2):
            tracker.log({"step": step, "epoch": step / 2, "pretrain/loss": 1 / step, "pretrain/images_per_second": 1.0})
            if pause and step == 1:
                pause()
        tracker.figure("empty", Figure())
        (folder / "encoder.pt").write_bytes(b"weights")
        tracker.finish(SUMMARY)
        tracker.table("table", ["class", "accuracy"], [["0", 0.5]])
        tracker.artifact(folder / "encoder.pt", "encoder", {"dim": 3})
    return tracker


def check_files(folder):
    assert [json.loads(line)["pretrain/loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [1.0, 0.5]
    assert json.loads((folder / "summary.json").read_text()) == SUMMARY
    assert (folder / "figures" / "empty.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.rglob("*.tmp"))


def test_disabled_writes_files_alone(tmp_path):
    record(tmp_path, "disabled")
    check_files(tmp_path)
    assert not (tmp_path / "wandb").exists()


def test_offline_holds_everything(tmp_path):
    record(tmp_path, "offline")
    check_files(tmp_path)
    saved = wandb_files.read(tmp_path)
    assert (saved.run.project, saved.run.run_group, saved.run.job_type, saved.run.display_name) == ("p", "g", "j", "j/s0")
    assert list(saved.run.tags) == ["method:m"] and saved.config["a"] == {"b": 1}
    assert [row["pretrain/loss"] for row in saved.history if "pretrain/loss" in row] == [1.0, 0.5]
    assert saved.metrics["pretrain/*"] == "step" and saved.metrics["pretrain/epoch_loss"] == "epoch"
    assert saved.summary["test/linear_accuracy"] == 0.5
    assert any("figures/empty" in row for row in saved.history) and any("table" in row for row in saved.history)
    assert ("encoder", ["encoder.pt"]) in saved.artifacts
    assert saved.exit_code == 0


def test_an_error_marks_the_run_as_failed_and_the_next_is_its_own(tmp_path):
    with pytest.raises(RuntimeError), Tracker(tmp_path / "a", "offline", RUN):
        raise RuntimeError
    record(tmp_path / "b", "offline")
    first, second = wandb_files.read(tmp_path / "a"), wandb_files.read(tmp_path / "b")
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert first.run.run_id != second.run.run_id
    assert not (tmp_path / "a" / "summary.json").exists()


def test_auto_without_a_key_is_offline_and_says_so(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert record(tmp_path, "auto").wandb.offline
    check_files(tmp_path)
    assert "no W&B key" in caplog.text and "wandb sync" in caplog.text


def test_online_sends_everything(tmp_path, monkeypatch):
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert not record(tmp_path, "auto").wandb.offline
    check_files(tmp_path)
    (run,) = server.runs.values()
    assert run["groupName"] == "g" and run["jobType"] == "j" and run["exit_code"] == 0
    rows = [json.loads(line) for line in run["lines"]["wandb-history.jsonl"]]
    assert [row["pretrain/loss"] for row in rows if "pretrain/loss" in row] == [1.0, 0.5]
    assert json.loads(run["lines"]["wandb-summary.json"][-1])["test/linear_accuracy"] == 0.5
    assert server.files["/upload/artifact/encoder.pt"] == b"weights"
    assert any("figures/empty" in path for path in server.files)


def test_waiting_for_a_server_ends_within_20_seconds():
    assert tracking.INIT_TIMEOUT + 5.5 <= 20  # 5.5 s: the client's own look at the key, as the test below times it


@pytest.mark.parametrize("kind,mode", [("refusing", "auto"), ("silent", "auto"), ("silent", "online")])
def test_a_server_that_does_not_answer(kind, mode, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "INIT_TIMEOUT", 2)
    with socket.create_server(("127.0.0.1", 0)) as server, caplog.at_level(logging.INFO):
        port = 9 if kind == "refusing" else server.getsockname()[1]
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        started = time.monotonic()
        assert record(tmp_path, mode).wandb.offline
    assert time.monotonic() - started < 5.5 + 2 + 4
    check_files(tmp_path)
    assert "offline, because" in caplog.text


def test_a_server_that_dies(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT", 3)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "3")
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)

        def die():
            server.shutdown()
            server.server_close()

        started = time.monotonic()
        record(tmp_path, "online", pause=die)
    assert time.monotonic() - started < 40
    check_files(tmp_path)
    assert "did not take all" in caplog.text and "wandb sync" in caplog.text
    assert list(tmp_path.glob("wandb/run-*/run-*.wandb")), "the record that wandb sync can send later"
