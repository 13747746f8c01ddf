"""Full disks, folders that vanish, files that are damaged: one line, or a result; and afterwards the run goes on to the same bits."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from conftest import command

from .conftest import RUN, is_one_line, results

WORDS = (*RUN, "tracking.mode=offline", "hydra.run.dir=run")


def limited(kilobytes, cwd):
    """The command under RLIMIT_FSIZE: no file can grow beyond so many kilobytes."""
    set_limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1024 * kilobytes, resource.RLIM_INFINITY))
    code = "import signal, sys, runpy; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); runpy.run_module('ssl_mnist', run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code, *WORDS], cwd=cwd, capture_output=True, text=True, preexec_fn=set_limit)


@pytest.mark.parametrize("kilobytes", [1, 8, 64, 200, 800, 3000])
def test_a_limit_to_the_size_of_files(kilobytes, reference, tmp_path):
    """What is refused, with rising limits: run.json, the W&B run's files, figures, checkpoints, features."""
    result = limited(kilobytes, tmp_path)
    assert result.returncode == 0 or is_one_line(result), result.stdout + result.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    again = command(*WORDS, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert results(tmp_path / "run") == results(reference[0])


@pytest.mark.parametrize("kilobytes", [100, 600, 2000, 6000])
def test_a_full_disk(kilobytes, reference, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        words = [word.replace("hydra.run.dir=run", "hydra.run.dir=small/run") for word in WORDS]
        result = command(*words, cwd=tmp_path)
        assert result.returncode == 0 or is_one_line(result), result.stdout + result.stderr
        assert not list(place.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
        again = command(*words, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert results(place / "run") == results(reference[0])
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_the_folder_vanishes_in_mid_run(tmp_path):
    errors = (tmp_path / "errors").open("w")
    process = subprocess.Popen([sys.executable, "-m", "ssl_mnist", *WORDS], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=errors)
    while not list((tmp_path / "run").glob("checkpoints/*.pt")):
        time.sleep(0.01)
    while (tmp_path / "run").exists():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert process.wait(60) == 1
    text = (tmp_path / "errors").read_text()
    assert "Traceback" not in text and "ssl_mnist: " in text.splitlines()[-1] and str(tmp_path / "run") in text


def signalled(signum, pattern, cwd):
    """Start a run, send it a signal once it has written a file of that name, and return its exit status."""
    process = command(*WORDS, cwd=cwd, wait=False)
    while not list((cwd / "run").glob(pattern)):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signum)
    return process.wait()


@pytest.fixture(scope="module")
def killed(reference, tmp_path_factory):
    """A run that was killed in training, and one that was killed while drawing."""
    folders = []
    for name, pattern in {"training": "checkpoints/*.pt", "drawing": "summary.json"}.items():
        folder = tmp_path_factory.mktemp(name)
        signalled(signal.SIGKILL, pattern, folder)
        folders.append(folder)
    return dict(zip(("training", "drawing"), folders, strict=True))


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :] if data else b"\1",
    "other": lambda data: b"[5]\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("when", ["training", "drawing"])
def test_each_file_of_a_killed_run_is_damaged(when, damage, killed, reference, tmp_path, count):
    """The run goes on or begins anew, to the same bits, or says in one line which file cannot be read."""
    tried = 0
    names = [path.relative_to(killed[when]) for path in sorted(killed[when].rglob("*")) if path.is_file()]
    for name in names:
        if {"wandb", "home", "figures", "run.lock", "run.alive"} & set(name.parts):  # another name in run.alive counts for two minutes
            continue
        folder = tmp_path / str(tried)
        shutil.copytree(killed[when], folder, symlinks=True)
        (folder / name).write_bytes(DAMAGE[damage]((folder / name).read_bytes()))
        result = command(*WORDS, cwd=folder)
        if result.returncode:
            assert is_one_line(result) and name.name in result.stderr, (name, result.stderr)
        else:
            assert results(folder / "run") == results(reference[0]), (name, result.stdout + result.stderr)
        tried += 1
    assert tried >= 3
    count(tried)


def test_a_run_that_is_stopped_says_how_to_go_on(reference, tmp_path):
    status = signalled(signal.SIGTERM, "checkpoints/*.pt", tmp_path)
    again = command("resume=run", cwd=tmp_path)
    assert status == 143 and again.returncode == 0 and results(tmp_path / "run") == results(reference[0])
