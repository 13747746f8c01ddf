"""W&B offline, online, refusing, silent, dying and out of space: it holds what a run sends, and the run never depends on it."""

import base64
import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
import wandb_files
from conftest import REPOSITORY
from wandb_server import KEY, serving

from ssl_mnist import tracking
from ssl_mnist.errors import UserError
from ssl_mnist.tracking import Tracker, sync_line

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
RUN = {"job_type": "j", "default_name": "j/s0", "group": "g", "tags": ["method:m"], "config": {"a": {"b": 1}}}
NULL = {"mode": "offline", "project": None, "entity": None, "group": None, "name": None, "notes": None, "tags": []}


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    """The client reads its settings once a process, and these tests change them; so does the tracker remember a silent server."""
    for name in [name for name in os.environ if name.startswith("WANDB_") and not name.endswith("_DIR")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setattr(tracking, "_no_server", None)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def said(caplog, capsys):
    """Everything that reached the console, in a function that forgets it."""
    caplog.set_level(logging.INFO, "ssl_mnist")

    def read() -> str:
        text = "".join([*(f"{record.levelname} {record.getMessage()}\n" for record in caplog.records), *capsys.readouterr()])
        caplog.clear()
        return text

    return read


def record(folder: Path, pause=None, run=RUN, artifacts=True, **settings) -> Tracker:
    """A small run, in full; `pause` is called in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    with Tracker(folder, NULL | settings, run) as tracker:
        for step in (1, 2):
            tracker.log({"step": step, "epoch": step / 2, "pretrain/loss": 1 / step})
            if pause and step == 1:
                pause()
        (folder / "encoder.pt").write_bytes(b"weights")
        (folder / "empty.png").write_bytes(PNG)
        tracker.summary({"test/linear_accuracy": 0.5})
        tracker.figure("empty", folder / "empty.png")
        if artifacts:
            tracker.artifact(folder / "encoder.pt", "encoder", {"dim": 3})
            tracker.table("table", ["class", "accuracy"], [["0", 0.5]])
    return tracker


def services() -> list[int]:
    """The wandb-core processes that this process started."""
    lines = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split(None, 3) for line in lines]
    return [int(pid) for pid, parent, state, name in fields if int(parent) == os.getpid() and "wandb-core" in name and state[0] != "Z"]


def kill_service() -> None:
    (pid,) = services()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)


def online(monkeypatch, url: str) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)


def test_disabled_is_nothing(tmp_path, monkeypatch, said):
    assert record(tmp_path / "a", mode="disabled").facts() is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert record(tmp_path / "b", mode="auto").facts() is None
    assert not list(tmp_path.rglob("wandb")) and said() == ""


def test_offline_holds_everything(tmp_path):
    facts = record(tmp_path).facts()
    saved = wandb_files.read(tmp_path)
    assert facts == {"id": saved.run.run_id, "project": "ssl-mnist", "entity": None, "group": "g", "offline": True}
    assert (saved.run.project, saved.run.run_group, saved.run.job_type, saved.run.display_name) == ("ssl-mnist", "g", "j", "j/s0")
    assert list(saved.run.tags) == ["method:m"] and saved.config["a"] == {"b": 1}
    assert [row["pretrain/loss"] for row in saved.history if "pretrain/loss" in row] == [1.0, 0.5]
    assert saved.metrics["pretrain/*"] == "step" and saved.metrics["pretrain/epoch_loss"] == "epoch"
    assert saved.summary["test/linear_accuracy"] == 0.5
    assert any("figures/empty" in row for row in saved.history) and any("table" in row for row in saved.history)
    assert ("encoder", ["encoder.pt"]) in saved.artifacts
    assert saved.exit_code == 0


def test_an_error_marks_the_run_as_failed_and_the_next_is_its_own(tmp_path):
    with pytest.raises(RuntimeError), Tracker(tmp_path / "a", NULL, RUN):
        raise RuntimeError
    record(tmp_path / "b")
    first, second = wandb_files.read(tmp_path / "a"), wandb_files.read(tmp_path / "b")
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert first.run.run_id != second.run.run_id


def test_an_id_continues_its_run(tmp_path):
    first = record(tmp_path / "a").facts()
    assert record(tmp_path / "b", run=RUN | {"id": first["id"]}).facts() == first


def test_variables_mean_what_they_mean_everywhere(tmp_path, monkeypatch):
    values = {"PROJECT": "p", "ENTITY": "e", "NAME": "n", "RUN_GROUP": "h", "NOTES": "o", "TAGS": "t,u", "JOB_TYPE": "k", "MODE": "offline"}
    for name, value in values.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    record(tmp_path / "theirs", mode="auto")
    run = wandb_files.read(tmp_path / "theirs").run
    assert (run.project, run.entity, run.display_name, run.run_group, run.notes, run.job_type) == ("p", "e", "n", "h", "o", "k")
    assert list(run.tags) == ["t", "u", "method:m"]

    record(tmp_path / "ours", project="q", entity="f", name=5, group=6.5, notes="w", tags=[7, "method:m"])
    run = wandb_files.read(tmp_path / "ours").run
    assert (run.project, run.entity, run.display_name, run.run_group, run.notes) == ("q", "f", "5", "6.5", "w")
    assert list(run.tags) == ["7", "method:m"]


def test_empty_variables_are_unset_and_a_settings_file_counts(tmp_path, monkeypatch, said):
    for name in ("MODE", "PROJECT", "TAGS", "BASE_URL"):
        monkeypatch.setenv(f"WANDB_{name}", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nproject = from-file\nmode = offline\n")
    record(tmp_path / "run", mode="auto", run=RUN | {"tags": ["x" * 70]})
    run = wandb_files.read(tmp_path / "run").run
    assert run.project == "from-file" and list(run.tags) == ["x" * 64]
    assert "WARNING" not in said()


@pytest.mark.parametrize(
    "setting, words",
    [({"project": "a/b"}, "tracking.project=a/b"), ({"project": "x" * 129}, "128 characters"), ({"tags": ["x" * 65]}, "64 characters")],
)
def test_a_setting_that_wandb_refuses_is_one_line(setting, words, tmp_path):
    with pytest.raises(UserError) as error:
        record(tmp_path, **setting)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not services()


def test_the_run_of_the_caller_stays_the_callers(tmp_path):
    theirs = wandb.init(mode="offline", dir=str(tmp_path), project="theirs", settings=wandb.Settings(silent=True))
    theirs.log({"mine": 1})
    ours = record(tmp_path / "ours")
    assert wandb.run is theirs and ours.facts()["id"] != theirs.id
    theirs.log({"mine": 2})
    theirs.finish()
    saved = wandb_files.read(tmp_path)
    assert [row["mine"] for row in saved.history if "mine" in row] == [1, 2] and saved.exit_code == 0
    assert not any("pretrain/loss" in row for row in saved.history)
    assert [row["pretrain/loss"] for row in wandb_files.read(tmp_path / "ours").history if "pretrain/loss" in row] == [1.0, 0.5]


def test_a_run_of_the_caller_does_not_keep_ours_offline(tmp_path, monkeypatch):
    with serving() as server:
        online(monkeypatch, server.url)
        theirs = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True))
        assert record(tmp_path / "ours", mode="auto").facts()["offline"] is False
        theirs.finish()


def test_without_a_key_it_is_offline_and_says_so(tmp_path, said):
    assert record(tmp_path / "a", mode="auto").facts()["offline"]
    text = said()
    assert "INFO W&B     offline, because no W&B key is configured" in text and "to upload: wandb sync " in text
    assert record(tmp_path / "b", mode="online").facts()["offline"]
    assert "WARNING W&B     offline, because no W&B key is configured" in said()  # who asked for online is warned


def test_online_holds_everything(tmp_path, monkeypatch, said):
    with serving() as server:
        online(monkeypatch, server.url)
        facts = record(tmp_path, mode="auto").facts()
    assert facts["offline"] is False and facts["entity"] == "me"
    ((name, run),) = server.runs.items()
    assert name == facts["id"] and run["groupName"] == "g" and run["jobType"] == "j" and run["exit_code"] == 0
    rows = [json.loads(line) for line in run["lines"]["wandb-history.jsonl"]]
    assert [row["pretrain/loss"] for row in rows if "pretrain/loss" in row] == [1.0, 0.5]
    assert json.loads(run["lines"]["wandb-summary.json"][-1])["test/linear_accuracy"] == 0.5
    assert server.files["/upload/artifact/encoder.pt"] == b"weights"
    assert any("figures/empty" in path for path in server.files)
    text = said()
    assert f"W&B     online: {server.url}" in text and "sync" not in text and KEY not in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_waiting_for_a_server_ends_within_20_seconds():
    assert tracking.INIT_TIMEOUT + 5.5 <= 20  # 5.5 s: what a start may take beyond its timeout, as the test below times it


@pytest.mark.parametrize("kind, mode", [("refusing", "auto"), ("silent", "online")])
def test_a_server_that_does_not_answer_is_waited_for_once(kind, mode, tmp_path, monkeypatch, said):
    monkeypatch.setattr(tracking, "INIT_TIMEOUT", 5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        online(monkeypatch, f"http://127.0.0.1:{9 if kind == 'refusing' else server.getsockname()[1]}")
        started = time.monotonic()
        assert record(tmp_path / "a", mode=mode).facts()["offline"]
        assert time.monotonic() - started < 5.5 + 5 + 4
        text = said()
        assert text.count("offline, because") == 1 and KEY not in text
        started = time.monotonic()
        assert record(tmp_path / "b", mode=mode).facts()["offline"]
        assert time.monotonic() - started < 5
    assert "offline, because the server did not answer an earlier run of this process" in said()
    assert wandb_files.read(tmp_path / "b").exit_code == 0


def test_a_server_that_dies(tmp_path, monkeypatch, said):
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT", 3)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "3")
    with serving() as server:
        online(monkeypatch, server.url)

        def die():
            server.shutdown()
            server.server_close()

        started = time.monotonic()
        tracker = record(tmp_path / "a", mode="online", pause=die, artifacts=False)  # each of which waits up to 20 s
        assert time.monotonic() - started < 3 + 5
    text = said()
    assert (
        text.count("WARNING W&B did not take everything") == 1
        and "the server stopped answering" in text
        and sync_line([tracker.place]) in text
    )
    assert list(tmp_path.glob("a/wandb/run-*/run-*.wandb")), "the record that wandb sync can send later"
    assert record(tmp_path / "b", mode="online").facts()["offline"]


def test_a_service_that_dies_in_mid_training(tmp_path, monkeypatch, said):
    tracker = record(tmp_path / "a", pause=kill_service)
    assert tracker.failed and said().count("WARNING W&B did not take everything") == 1
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lightgbm.py").write_text("")
    import lightgbm  # noqa: F401  # the client has a hook on it, which must not raise

    record(tmp_path / "b")
    assert wandb_files.read(tmp_path / "b").exit_code == 0 and "WARNING" not in said()


def test_artifacts_that_cannot_be_staged(tmp_path, monkeypatch, said):
    monkeypatch.delenv("WANDB_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/nope")
    record(tmp_path)
    text = said()
    assert text.count("WARNING W&B did not take everything") == 1 and "/proc/nope" in text
    saved = wandb_files.read(tmp_path)
    assert saved.exit_code == 0 and saved.summary["test/linear_accuracy"] == 0.5


@pytest.mark.parametrize(
    "variable, value, words", [("BASE_URL", "nonsense", "base_url"), ("MODE", "nonsense", "mode"), ("TAGS", "a,,b", "tag")]
)
def test_variables_that_wandb_refuses_are_one_warning(variable, value, words, tmp_path, monkeypatch, said):
    monkeypatch.setenv(f"WANDB_{variable}", value)
    assert record(tmp_path, mode="auto").facts() is None
    text = said()
    assert text.count("\n") == 1 and text.startswith("WARNING") and words in text


def test_whatever_init_raises_is_one_warning(tmp_path, monkeypatch, said):
    def init(**_):
        raise OSError("no such luck")

    monkeypatch.setattr(wandb, "init", init)
    assert record(tmp_path, mode="auto").facts() is None
    assert "no such luck" in (text := said()) and text.count("\n") == 1


def test_a_service_that_cannot_write_its_log_is_quiet(tmp_path, monkeypatch, capfd):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "file" / "cache"))  # on a full disk or in a home that is read-only
    record(tmp_path / "run", artifacts=False)
    print("stderr is back", file=sys.stderr)
    assert capfd.readouterr().err == "stderr is back\n"
    assert wandb_files.read(tmp_path / "run").exit_code == 0


SCRIPT = """
import sys
sys.path[:0] = {paths}
import test_tracking
from pathlib import Path
folder = Path({folder!r})
{lines}
print("scores")
"""


@pytest.mark.parametrize(
    "limit, lines",
    [
        ("unlimited", "test_tracking.record(folder, pause=test_tracking.kill_service)"),
        ("unlimited", "test_tracking.record(folder); test_tracking.kill_service()"),
        ("4", "test_tracking.record(folder)"),  # KiB a file may have, for the client's logs and records as well: as on a full disk
    ],
)
def test_a_process_ends_well_whatever_happens_to_the_service(limit, lines, tmp_path):
    script = SCRIPT.format(paths=[str(REPOSITORY), str(REPOSITORY / "tests")], folder=str(tmp_path / "run"), lines=lines)
    words = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "-", sys.executable, "-c", script]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert result.returncode == 0 and result.stdout.splitlines()[-1] == "scores", result.stderr
    assert len(result.stderr.splitlines()) <= 1, result.stderr


def test_the_sync_line_can_be_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [Path("my sweep (1)"), Path("it's", "[0]", "#1"), Path('"q"'), Path("-v"), Path("a\nb"), Path("$HOME;*")]
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "wandb"
    stub.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    stub.chmod(0o755)
    line = sync_line([tmp_path / folder for folder in folders])
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    pasted = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, env=environment).stdout.split("\0")[:-1]
    assert pasted[0] == "sync" and [Path(path) for path in pasted[1:]] == folders
    assert not any(path.startswith("-") for path in pasted) and shlex.split(line)[0] == "wandb"
