"""A run's folder: files whole or not at all, one writer, and which folder belongs to which run."""

import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
import torch
from conftest import REPOSITORY, settings
from filelock import FileLock, Timeout

from ssl_mnist import record
from ssl_mnist.claim import Busy, claim, difference, is_locked, parts_difference, superseded
from ssl_mnist.errors import UserError
from ssl_mnist.files import atomic_save, atomic_write, is_complete, read_json, run_folders
from ssl_mnist.record import Record


def identity(name="a" * 16, **parts):
    """What `config.identity` returns, so far as a folder knows it."""
    parts = {
        "settings": {"seed": 0, "optimizer.lr": 0.1},
        "code": {"methods/simclr.py": "1"},
        "versions": {"torch": "2"},
        "device": "cpu",
    } | parts
    return {"identity": name, "identity_parts": parts, "resolved": {}}


def content(name="a" * 16, overrides=(), **parts):
    return {"format": 1, "overrides": list(overrides), **identity(name, **parts)}


AN_ARCHIVE = b"PK\5\6" + bytes(18)  # of nothing


def make(folder, run=None, complete=False):
    """A folder as a run leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content() if run is None else run))
    if complete:
        (folder / "summary.json").write_text(json.dumps({"scores": {}}))
        (folder / "encoder.pt").write_bytes(AN_ARCHIVE)
    return folder


def claimed(folder, sweep=None, what=None):
    with claim(folder, sweep, what or identity()) as found:
        return found


# --- files ------------------------------------------------------------------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
from pathlib import Path
from ssl_mnist.files import atomic_save, atomic_write
import torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
path = Path(sys.argv[2])
try:
    if sys.argv[1] == "save":
        atomic_save({"x": torch.ones(100_000)}, path)
    else:
        atomic_write(path, "y" * 100_000)
except OSError as error:
    sys.exit(7)
"""


@pytest.mark.faults
@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("kind", ["write", "save"])
def test_a_file_is_written_whole_or_not_at_all(kind, before, tmp_path):
    """Under a limit on a file's size: an OSError, the old file as it was, and no scrap beside it."""
    path = tmp_path / "file"
    if before:
        path.write_text(before)
    result = subprocess.run([sys.executable, "-c", LIMITED, kind, str(path)], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 7, result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == (["file"] if before else [])
    assert before is None or path.read_text() == before


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, "one ±")
    atomic_write(path, "two ±")
    assert path.read_text(encoding="utf-8") == "two ±"
    atomic_write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    atomic_save({"x": torch.arange(3)}, path)
    assert torch.load(path, weights_only=True)["x"].tolist() == [0, 1, 2] and [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.faults
def test_a_reader_never_sees_half_a_file(tmp_path):
    """While another process writes it over and over."""
    path = tmp_path / "file"
    atomic_write(path, "0" * 50_000)
    code = (
        "import sys; from pathlib import Path; from ssl_mnist.files import atomic_write\n"
        "for i in range(10**9): atomic_write(Path(sys.argv[1]), str(i % 10) * 50_000)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=REPOSITORY)
    try:
        seen = set()
        while len(seen) < 5:
            text = path.read_text()
            assert len(text) == 50_000 and len(set(text)) == 1
            seen.add(text[0])
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize("text", ["", "{", '{"a": ', "[1, 2]", "null", "\x00\x00"])
def test_a_torn_file_is_no_object(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "run.json")


# --- whose folder -----------------------------------------------------------------------------------------------------------------------


def test_a_run_is_complete_with_scores_and_encoder(tmp_path):
    folder = make(tmp_path / "run", complete=True)
    assert is_complete(folder)
    for text in ("", '{"scores": ', "[]", "{}"):
        (folder / "summary.json").write_text(text)
        assert not is_complete(folder)
    make(folder, complete=True)
    (folder / "encoder.pt").write_bytes(AN_ARCHIVE[:-1])
    assert not is_complete(folder)
    (folder / "encoder.pt").unlink()
    assert not is_complete(folder) and not is_complete(tmp_path / "nothing")


def test_run_folders_are_those_with_a_run_json(tmp_path):
    for name in ("b/run", "a", "a/evaluation/inner", "c/deep/er"):
        make(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert [str(found.relative_to(tmp_path)) for found in run_folders(tmp_path)] == ["a", "b/run", "c/deep/er"]
    assert list(run_folders(tmp_path / "a")) == [tmp_path / "a"]


@pytest.mark.parametrize("in_sweep", [False, True])
def test_a_new_folder_is_taken(in_sweep, tmp_path):
    sweep = tmp_path if in_sweep else None
    assert claimed(tmp_path / "run", sweep) == (tmp_path / "run", False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("a user's")
    assert claimed(tmp_path / "run", sweep) == (tmp_path / "run", False)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("in_sweep", [False, True])
def test_the_same_run_is_found_or_taken_over(in_sweep, complete, tmp_path):
    make(tmp_path / "run", complete=complete)
    assert claimed(tmp_path / "run", tmp_path if in_sweep else None) == (tmp_path / "run", complete)


def test_in_a_sweep_the_run_is_found_in_any_folder(tmp_path):
    """A complete one before an unfinished one, though it comes later; outside a sweep only in its own."""
    make(tmp_path / "0-unfinished")
    assert claimed(tmp_path / "9-new", tmp_path) == (tmp_path / "0-unfinished", False)
    make(tmp_path / "5-complete", complete=True)
    assert claimed(tmp_path / "9-new", tmp_path) == (tmp_path / "5-complete", True)
    assert claimed(tmp_path / "9-new") == (tmp_path / "9-new", False)


def test_another_run_in_the_folder(tmp_path):
    """Outside a sweep it is refused and what differs is said; in a sweep the new one is put beside it."""
    folder = make(tmp_path / "run", content("b" * 16, settings={"seed": 0, "optimizer.lr": 0.1}), complete=True)
    new = identity(settings={"seed": 7, "optimizer.lr": 0.1})
    with pytest.raises(UserError, match=r"run holds another run \(seed 0 -> 7\); choose another hydra\.run\.dir"):
        claimed(folder, None, new)
    assert claimed(folder, tmp_path, new) == (tmp_path / "run-aaaaaaaa", False)
    assert is_complete(folder)


@pytest.mark.parametrize("text", ["", '{"identity": "aaaa', "[]"])
def test_a_torn_run_json_is_another_run(text, tmp_path):
    """It says nothing, so its folder is nobody's to take."""
    folder = make(tmp_path / "run", complete=True)
    (folder / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"holds another run \(its run\.json cannot be read\)"):
        claimed(folder)
    assert claimed(folder, tmp_path) == (tmp_path / "run-aaaaaaaa", False)


def test_a_torn_summary_is_an_unfinished_run(tmp_path):
    folder = make(tmp_path / "run", complete=True)
    (folder / "summary.json").write_text('{"scores": ')
    assert claimed(folder) == (folder, False)


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "encoder.pt", "error.txt", "figures/pca.png"])
@pytest.mark.parametrize("in_sweep", [False, True])
def test_files_that_would_be_overwritten_are_refused(name, in_sweep, tmp_path):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("a user's")
    with pytest.raises(UserError, match=f"{name} is there and not of a run of ssl_mnist; choose another"):
        claimed(tmp_path / "run", tmp_path if in_sweep else None)
    assert path.read_text() == "a user's"


def test_a_folder_that_is_being_written_is_refused(tmp_path):
    """Outside a sweep; in a sweep an unfinished run whose process lives is not taken over."""
    folder = make(tmp_path / "run")
    assert not is_locked(folder) and not is_locked(tmp_path / "nothing")
    with FileLock(folder / "run.lock"):
        assert is_locked(folder)
        with pytest.raises(UserError, match=r"run is being written by another process; choose another hydra\.run\.dir"), Record(folder, {}):
            pass
        assert claimed(tmp_path / "new", tmp_path) == (tmp_path / "new", False)
    assert not is_locked(folder) and claimed(tmp_path / "new", tmp_path) == (folder, False)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "run.lock"]


def test_a_run_on_another_host_lives_as_long_as_it_shows(tmp_path, monkeypatch):
    """Where its lock is not seen: its sign of life is in a file, two minutes at most."""
    folder = make(tmp_path / "run")
    with Record(folder, content()):
        until = time.monotonic() + 10
        while not (folder / "run.alive").exists():
            assert time.monotonic() < until
    assert not (folder / "run.alive").exists()
    (folder / "run.alive").write_text("another-host")
    assert is_locked(folder)
    with pytest.raises(UserError, match="is being written by another process"):
        claimed(folder)
    with pytest.raises(Busy, match="another host runs this job"), claim(tmp_path / "new", tmp_path, identity(), wait=False):
        pass
    with pytest.raises(Busy), claim(folder, tmp_path, identity("d" * 16), wait=False):  # whatever run it is
        pass
    os.utime(folder / "run.alive", (time.time() - 121, time.time() - 121))
    assert not is_locked(folder) and claimed(folder) == (folder, False)
    (folder / "run.alive").write_text("")
    assert not is_locked(folder)


def _hold(sweep, held, release):
    with claim(sweep / "first", sweep, identity()) as (place, _), Record(place, content()) as files:
        files.write_run(None)
        held.set()
        release.wait(30)
        (place / "encoder.pt").write_bytes(AN_ARCHIVE)
        files.summary({"scores": {}})


@pytest.mark.faults
def test_a_second_process_with_the_same_run_waits_and_finds_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(Timeout):
            FileLock(tmp_path / ".locks" / f"{'a' * 16}.lock").acquire(blocking=False)
        assert claimed(tmp_path / "third", tmp_path, identity("c" * 16)) == (tmp_path / "third", False)  # another run does not wait
        release.set()
        assert claimed(tmp_path / "second", tmp_path) == (tmp_path / "first", True)
    finally:
        release.set()
        other.join()
    assert other.exitcode == 0


# --- what is written --------------------------------------------------------------------------------------------------------------------


def test_a_record_replaces_an_earlier_try_and_nothing_else(tmp_path):
    folder = make(tmp_path / "run")
    for name in ("summary.json", "error.txt", "metrics.jsonl", "notes.txt"):
        (folder / name).write_text("old")
    with Record(folder, content()) as files:
        files.write_run({"id": "w"})
        assert files.continue_metrics(0) == ([], 0)
        files.log({"step": 1, "pretrain/loss": 0.5})
        files.log({"step": 2, "pretrain/loss": 0.25})
        files.summary({"scores": {"val/x_accuracy": {}}})
    assert read_json(folder / "run.json") == content() | {"wandb": {"id": "w"}}
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert read_json(folder / "summary.json") == {"scores": {"val/x_accuracy": {}}}
    assert (folder / "notes.txt").read_text() == "old" and not (folder / "error.txt").exists()


@pytest.mark.parametrize(
    "error,line",
    [
        (UserError("seed must be\n1"), "seed must be 1"),
        (ZeroDivisionError("x"), "ZeroDivisionError: x"),
    ],
)
def test_an_error_is_written_with_its_traceback(error, line, tmp_path):
    with pytest.raises(type(error)), Record(tmp_path / "run", content()) as files:
        files.write_run(None)
        raise error
    first, blank, *rest = (tmp_path / "run" / "error.txt").read_text().splitlines()
    assert first == line and blank == "" and rest[0].startswith("Traceback") and "raise error" in "\n".join(rest)
    assert not is_locked(tmp_path / "run")
    assert record.failed(tmp_path / "run", settings(), tmp_path, error, line) == tmp_path / "run"  # it has its record already
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_stop_by_the_user_leaves_an_unfinished_run_not_a_failed_one(tmp_path):
    with pytest.raises(KeyboardInterrupt), Record(tmp_path / "run", content()) as files:
        files.write_run(None)
        raise KeyboardInterrupt
    assert (tmp_path / "run" / "run.json").exists() and not (tmp_path / "run" / "error.txt").exists()
    assert not is_locked(tmp_path / "run")


def test_an_error_before_run_json_leaves_no_error_txt(tmp_path):
    with pytest.raises(ZeroDivisionError), Record(tmp_path / "run", content()):
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "run").iterdir()] in ([], ["run.lock"])


def test_a_job_that_never_began_leaves_its_record(tmp_path):
    """Beside what is there already."""
    error = UserError("optimizer.lr must be above 0, got -1")
    place = record.failed(tmp_path / "0-x", settings("seed=3"), tmp_path, error, str(error))
    assert place == tmp_path / "0-x"
    saved = read_json(place / "run.json")
    assert saved["identity"] is None and saved["overrides"] == ["data=mnist_5k", "seed=3"] and saved["settings"]["seed"] == 3
    assert (place / "error.txt").read_text().startswith("optimizer.lr must be above 0, got -1\n\n")
    other = make(tmp_path / "1-x", complete=True)
    beside = record.failed(other, settings(), tmp_path, error, str(error))
    assert beside != other and beside.name.startswith("1-x-failed-") and is_complete(other) and not (other / "error.txt").exists()


def test_what_run_json_says():
    what = record.describe(settings("seed=3"), REPOSITORY / "some" / "sweep", identity())
    assert {"format", "command", "overrides", "choices", "settings", "identity", "git", "host", "pid", "started", "wandb"} <= set(what)
    assert what["sweep"] == "sweep" and what["choices"]["data"] == "mnist_5k" and what["settings"]["seed"] == 3
    assert what["git"] is None or (len(what["git"]["commit"]) == 40 and isinstance(what["git"]["dirty"], bool))
    assert json.loads(json.dumps(what)) == what


BOTH = "seed 0 -> 1, optimizer.lr 0.1 -> 0.2"

# --- differences ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change,words",
    [
        ({"settings": {"seed": 7, "optimizer.lr": 0.1}}, "seed 0 -> 7"),
        ({"settings": {"seed": 0}}, "optimizer.lr 0.1 -> None"),
        ({"settings": {"seed": 0, "optimizer.lr": 0.1, "method.temperature": 1.0}}, "method.temperature None -> 1.0"),
        ({"code": {"methods/simclr.py": "2"}}, "code of methods/simclr.py"),
        ({"versions": {"torch": "3"}}, "torch 2 -> 3"),
        ({"device": "cuda"}, "device cpu -> cuda"),
        ({"settings": {"seed": 1, "optimizer.lr": 0.2}, "code": {"methods/simclr.py": "2"}}, f"{BOTH}, code of methods/simclr.py"),
        (
            {"settings": {"seed": 1, "optimizer.lr": 0.2}, "code": {"a.py": "2"}, "device": "mps"},
            f"{BOTH}, code of methods/simclr.py and 2 more",
        ),
        ({}, "nothing that is recorded"),
    ],
)
def test_a_difference_is_said_in_words(change, words, tmp_path):
    before, now = content(), identity("c" * 16, **change)
    assert parts_difference(before["identity_parts"], now["identity_parts"]) == words
    assert difference(make(tmp_path / "run", before), now) == words


@pytest.mark.parametrize("run", ["", "{}", '{"identity_parts": 3}', "[]"])
def test_a_run_that_cannot_be_read_differs_by_that(run, tmp_path):
    (tmp_path / "run.json").write_text(run)
    assert difference(tmp_path, identity()) == "its run.json cannot be read"


def test_a_run_made_again_says_why(tmp_path):
    """The complete one with the same overrides, in whatever order; not one that is unfinished, torn, of other words or the same."""
    words = ["seed=1", "method=simclr"]
    new = identity("c" * 16, device="cuda")
    make(tmp_path / "0", content("b" * 16, words))
    make(tmp_path / "1", content("b" * 16, ["seed=2"]), complete=True)
    make(tmp_path / "2", content("c" * 16, words), complete=True)
    (make(tmp_path / "3", complete=True) / "run.json").write_text("{")
    assert superseded(tmp_path, words, new) is None
    make(tmp_path / "4", content("b" * 16, words[::-1]), complete=True)
    assert superseded(tmp_path, words, new) == "4 differs: device cpu -> cuda"
