"""A training that was ended and goes on: the same bits, whatever ended it and wherever; and what is done with damaged checkpoints."""

import io
import json
import os
import shlex
import shutil
import signal
import sys
import time

import pytest
import torch
from conftest import METHODS, TINY, command, experiment, summary_of, without_times

from ssl_mnist import UserError, cli, compose, pipeline
from ssl_mnist.files import sha256
from ssl_mnist.pipeline import run
from ssl_mnist.training import state, stops
from ssl_mnist.training.loop import steps

ROWS = b"".join(b'{"step": %d}\n' % step for step in range(100))  # more than 1,000 bytes
EPOCHS = "pretrain.epochs=2"  # of 6 steps of 20 images, with rows of metrics after steps 3, 6, 9 and 12


def made(method="simclr"):
    return experiment(f"method={method}", EPOCHS, "pretrain.batch_size=20", "pretrain.log_every=3")


def trained(built, progress, until=12):
    """Rows of metrics up to a step."""
    rows = []
    for row in steps(built, progress):
        rows += [row] if row is not None else []
        if progress.step == until:
            break
    return without_times(rows)


@pytest.mark.parametrize("method", [*METHODS, "supervised"])
def test_going_on_from_any_step_gives_the_same_bits(method, tmp_path):
    whole = made(method)
    rows = trained(whole, state.Progress())
    for step in (1, 3, 5, 6, 11, 12):
        first, checkpoints = made(method), state.Checkpoints(tmp_path / str(step), "id", 60)
        progress = state.Progress()
        before = trained(first, progress, until=step)
        checkpoints.save(first, progress, metrics=b"", seconds=0.0)
        again = made(method)
        torch.manual_seed(step)  # nothing may depend on what was drawn before
        after = trained(again, state.restore(checkpoints.newest(b""), again))
        assert before + after == rows, step
        for name, value in whole.method.state_dict().items():
            assert torch.equal(again.method.state_dict()[name], value), (step, name)


def test_the_last_two_are_kept_and_the_newest_whole_one_is_read(tmp_path, caplog):
    built, progress, checkpoints = made(), state.Progress(), state.Checkpoints(tmp_path / "c", "id", 60)
    for step in (1, 2, 3):
        trained(built, progress, until=step)
        checkpoints.save(built, progress, metrics=ROWS[: 100 * step], seconds=0.0)
    (tmp_path / "c" / "notes.txt").write_text("mine")
    second, third = sorted((tmp_path / "c").glob("*.pt"))
    assert checkpoints.newest(ROWS[:300])["step"] == 3
    for other in (ROWS[:299], ROWS[:250] + b"x" + ROWS[251:]):  # metrics.jsonl was cut short, or a bit of it was flipped
        caplog.clear()
        assert checkpoints.newest(other)["step"] == 2 and "metrics.jsonl does not begin with the rows that it had then" in caplog.text
    data = bytearray(third.read_bytes())
    data[len(data) // 2] ^= 1
    third.write_bytes(data)
    assert checkpoints.newest(ROWS)["step"] == 2 and f"{third} is not used: its content does not match" in caplog.text
    assert state.Checkpoints(tmp_path / "c", "other", 60).newest(ROWS) is None
    second.write_bytes(second.read_bytes()[:100])
    (tmp_path / "c" / f"{third.name}.77.tmp").write_bytes(b"")  # a kill while it was written
    assert checkpoints.newest(ROWS) is None
    fresh, progress = made(), state.Progress()
    trained(fresh, progress, until=1)
    checkpoints.save(fresh, progress, metrics=b"", seconds=0.0)  # which is behind the unusable ones, and stays
    assert checkpoints.newest(ROWS)["step"] == 1 and len(list((tmp_path / "c").glob("step-*.pt"))) == 1
    checkpoints.remove()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["notes.txt"]


def test_a_checkpoint_that_is_a_pickle_runs_nothing(tmp_path):
    """Its name has the right checksum: whoever can write the one can write the other."""
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return open, (str(canary), "w")

    buffer = io.BytesIO()
    torch.save({"format": 1, "identity": "id", "method": Evil()}, buffer)
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / f"step-00000001-{sha256(buffer.getvalue())[:16]}.pt").write_bytes(buffer.getvalue())
    assert state.Checkpoints(folder, "id", 60).newest(ROWS) is None and not canary.exists()


def test_a_full_disk_costs_a_checkpoint_and_no_run(tmp_path, monkeypatch, caplog):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(state, "atomic_write", full)
    checkpoints = state.Checkpoints(tmp_path / "c", "id", 60)
    checkpoints.save(made(), state.Progress(), metrics=b"", seconds=0.0)
    assert "no checkpoint of step 0" in caplog.text and "No space left" in caplog.text


def test_a_clock_that_jumps_back_stops_no_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert state.Checkpoints(tmp_path, "id", 0.0).due() and not state.Checkpoints(tmp_path, "id", 1e9).due()


def test_a_signal_is_noted_and_a_second_one_ends_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with stops.deferred() as stop:
        assert stop() is None
        signal.raise_signal(signal.SIGTERM)
        assert stop() == signal.SIGTERM
        with pytest.raises(stops.Stopped) as ended:
            signal.raise_signal(signal.SIGINT)
    assert ended.value.signum == signal.SIGINT and signal.getsignal(signal.SIGTERM) is before


LONG = ("experiment=smoke", "pretrain.epochs=3", "evaluation=quick", "evaluation.num_points=50", "checkpoint.every_seconds=0")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = command(*LONG, "tracking.mode=offline", "hydra.run.dir=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def is_same(folder, other):
    """Whether two runs have the same encoder, metrics and scores, but for times."""
    rows = [without_times(map(json.loads, (place / "metrics.jsonl").read_text().splitlines())) for place in (folder, other)]
    scores = without_times([summary_of(place) for place in (folder, other)])
    return (folder / "encoder.pt").read_bytes() == (other / "encoder.pt").read_bytes() and rows[0] == rows[1] and scores[0] == scores[1]


def stop_after_rows(folder, num, signum, **variables):
    """Start the run, send it a signal once it has written some rows; returns its status."""
    process = command(*LONG, "tracking.mode=offline", "hydra.run.dir=run", cwd=folder, wait=False, **variables)
    metrics = folder / "run" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < num:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signum)
    return process.wait(60)


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.nightly), (signal.SIGKILL, -9)],
    ids=["SIGTERM", "SIGINT", "SIGKILL"],
)
def test_a_run_that_was_ended_goes_on_to_the_same_bits(signum, status, uninterrupted, tmp_path):
    assert stop_after_rows(tmp_path, 2, signum) == status
    assert not (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "error.txt").exists()
    first = json.loads((tmp_path / "run" / "run.json").read_text())
    result = command("resume=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "resume  from step " in result.stdout
    assert is_same(tmp_path / "run", uninterrupted) and not (tmp_path / "run" / "checkpoints").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["wandb"]["id"] == first["wandb"]["id"]
    assert len(list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{first['wandb']['id']}"))) == 2
    assert "done    already in run" in command("resume=run", cwd=tmp_path).stdout


@pytest.mark.nightly
def test_slurm_is_asked_to_start_the_job_again(uninterrupted, tmp_path):
    """On SIGUSR1, by which SLURM says that the time is nearly over; a scontrol of ours notes what it is asked."""
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    tool.chmod(0o755)
    status = stop_after_rows(tmp_path, 2, signal.SIGUSR1, SLURM_JOB_ID="7", PATH=f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    assert status == 0 and (tmp_path / "asked").read_text() == "requeue 7\n"
    again = command(*LONG, "tracking.mode=offline", "hydra.run.dir=run", cwd=tmp_path)  # what SLURM starts
    assert again.returncode == 0 and is_same(tmp_path / "run", uninterrupted)


def test_resume_takes_the_runs_own_command_and_what_is_added(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    line = shlex.join(["python", "-m", "ssl_mnist", "--config-dir", "my conf", "method=mine", "seed=3"])
    (tmp_path / "a b" / "run.json").write_text(json.dumps({"command": line, "overrides": ["method=mine", "seed=3"]}))
    monkeypatch.chdir(tmp_path)
    assert cli._resumed(["resume=a b", "device=cpu"]) == [
        "--config-dir", "my conf", "method=mine", "seed=3", "hydra.mode=RUN", "device=cpu", 'hydra.run.dir="a b"'
    ]  # fmt: skip
    assert cli._resumed(["seed=1"]) == ["seed=1"]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "holds no run to go on with"), ("{", "cannot be read"), ('{"command": 5}', "cannot be")]
)
def test_what_cannot_be_resumed_is_one_line(content, words, tmp_path, monkeypatch):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    monkeypatch.setattr(sys, "argv", ["ssl_mnist", f"resume={tmp_path}"])
    with pytest.raises(SystemExit, match=words):
        cli.main()


def test_more_epochs_extend_a_finished_run_that_kept_its_checkpoint(tmp_path, monkeypatch, capsys):
    """It is another run than that of as many epochs from the beginning; each shorter one's scores are kept."""
    monkeypatch.setattr(pipeline, "draw", lambda *_: None)
    words = (*TINY, "pretrain.batch_size=1000", "checkpoint.keep=true")
    place = tmp_path / "run"
    found = {epochs: run(compose(*words, f"pretrain.epochs={epochs}"), place) for epochs in (1, 2, 3)}
    said = capsys.readouterr().out
    assert "resume  from step 4 of 8" in said and "resume  from step 8 of 12" in said
    assert said.count("the learning rate, which had come to its end, rises to the longer schedule's") == 2
    assert [summary["pretrain/steps"] for summary in found.values()] == [4, 8, 12]
    assert len((place / "metrics.jsonl").read_text().splitlines()) == 3
    for epochs in (1, 2):
        assert json.loads((place / f"summary-{epochs}-epochs.json").read_text()) == found[epochs]
    assert run(compose(*words, "pretrain.epochs=3"), place) == found[3] and "already in" in capsys.readouterr().out

    (place / "run.json").write_text((place / "run.json").read_text().replace('"ended": "', '"ended": null, "x": "'))  # killed while drawing
    assert without_times([run(compose(*words, "pretrain.epochs=3"), place)]) == without_times([found[3]])
    assert json.loads((place / "summary-2-epochs.json").read_text()) == found[2]
    whole = run(compose(*words, "pretrain.epochs=2"), tmp_path / "whole")
    assert whole["identity"] != found[2]["identity"]


def test_what_cannot_be_extended_is_refused(tmp_path, monkeypatch):
    """Fewer epochs, a run without a checkpoint, one that is not finished, and one whose checkpoints are damaged."""
    monkeypatch.setattr(pipeline, "draw", lambda *_: None)
    words, place = (*TINY, "pretrain.batch_size=1000", "checkpoint.keep=true"), tmp_path / "run"
    run(compose(*words, "pretrain.epochs=2"), place)

    def refused(epochs, text):
        with pytest.raises(UserError, match=text):
            run(compose(*words, f"pretrain.epochs={epochs}"), place)

    refused(1, r"holds another run \(pretrain\.epochs 2 -> 1")
    summary = (place / "summary.json").read_text()
    (place / "summary.json").unlink()
    refused(3, r"pretrain\.epochs 2 -> 3")
    (place / "summary.json").write_text(summary)
    for path in (place / "checkpoints").iterdir():
        path.write_bytes(b"")
    refused(3, "no checkpoint from which a longer run can go on")
    assert (place / "summary.json").read_text() == summary
    shutil.rmtree(place / "checkpoints")
    refused(3, r"pretrain\.epochs 2 -> 3")


def test_a_run_that_ends_in_its_evaluation_fits_no_probe_twice(tmp_path, monkeypatch):
    """k-means fails in a first try; the second reads the linear probe that had been fitted before it."""
    from ssl_mnist.evaluate.kmeans import ClusterProbe
    from ssl_mnist.evaluate.linear import Linear

    settings = compose(*TINY, "evaluation.cache=true", "+evaluation/probe=kmeans")
    whole = run(settings, tmp_path / "whole")

    def fail(self, train, val):
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(ClusterProbe, "fit", fail)
        run(settings, tmp_path / "run")
    monkeypatch.setattr(Linear, "fit", fail)
    again = run(settings, tmp_path / "run")
    assert without_times([again]) == without_times([whole])
