"""What a run prints, and that a console that is closed, full, gone or narrow-minded ends none."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import REPOSITORY

from ssl_mnist.console import Console, say, score_table

ROWS = [
    {"step": 10, "epoch": 0.5, "pretrain/loss": 2.0, "pretrain/images_per_second": 1234.5},
    {"step": 20, "epoch": 1.0, "pretrain/loss": 1.5, "pretrain/images_per_second": 2000.0, "pretrain/epoch_loss": 1.75},
    {"step": 40, "epoch": 2.0, "pretrain/loss": 1.25, "pretrain/images_per_second": 3000.0, "pretrain/epoch_loss": 1.3},
]
SUMMARY = {
    "scores": {
        "val/linear_accuracy": {"title": "linear probe", "higher_is_better": True},
        "test/linear_accuracy": {"title": "linear probe", "higher_is_better": True},
        "val/few_accuracy": {"title": "linear probe, 100 labels", "higher_is_better": True},
        "test/few_accuracy": {"title": "linear probe, 100 labels", "higher_is_better": True},
    },
    "val/linear_accuracy": 0.9934,
    "test/linear_accuracy": 0.9936,
    "val/few_accuracy": 0.9,
    "val/few_std": 0.0123,
    "test/few_accuracy": 0.91,
    "test/few_std": 0.0045,
    "primary": "linear",
    "val/most_confused": "7 taken for 2, 5 times",
    "test/most_confused": "4 taken for 9, 3 times",
    "pretrain/seconds": 61.23,
    "pretrain/images_per_second": 3592.4,
    "seconds": 75.0,
    "model/parameters": 123456,
    "choices/method": "simclr",
    "data/source": "mnist",
    "seed": 3,
}


def test_score_table():
    assert score_table(SUMMARY).splitlines() == [
        "simclr on mnist, seed 3",
        "",
        "accuracy (%)                             val            test",
        "linear probe                           99.34           99.36",
        "linear probe, 100 labels               90.00 ± 1.23    91.00 ± 0.45",
        "                                      ± standard deviation over draws",
        "most confused (linear, test)          4 taken for 9, 3 times",
        "pretraining                           61.2 s, 3,592 images/s",
        "everything                            75.0 s, encoder of 123,456 parameters",
        "data                                  mnist",
    ]


def test_score_table_of_val_alone():
    scores = {key: about for key, about in SUMMARY["scores"].items() if key == "val/linear_accuracy"}
    assert score_table(SUMMARY | {"scores": scores}).splitlines()[2:6] == [
        "accuracy (%)                             val",
        "linear probe                           99.34",
        "most confused (linear, val)           7 taken for 2, 5 times",
        "test                                  not read; python -m ssl_mnist.evaluate <run> reads it",
    ]


def test_score_table_of_long_titles_and_unknown_probes():
    """Names, titles and order are the summary's; a score may be of one split only; columns stay below each other."""
    scores = {"test/new_accuracy": {"title": "a probe of the user's " * 4}, "val/b_accuracy": {"title": "b"}}
    summary = {key: value for key, value in SUMMARY.items() if not key.startswith("pretrain/")}
    lines = score_table(summary | {"scores": scores, "test/new_accuracy": 1.0, "val/b_accuracy": 0.5}).splitlines()
    assert [line[:22] for line in lines[3:5]] == ["a probe of the user's ", "b" + " " * 21]
    assert lines[3].endswith("       -  100.00") and lines[4].endswith("   50.00       -")
    assert len({len(line) for line in lines[2:5]}) == 1
    assert not any(line.startswith("pretraining") for line in lines)


def test_a_log_file_gets_a_line_an_epoch(capsys):
    console = Console()
    console.stage("train   simclr")
    with console.training(40) as progress:
        for row in ROWS:
            progress(row)
    assert capsys.readouterr().out.splitlines() == [
        "train   simclr",
        "        epoch 1 of 2: loss 1.5000, 2,000 images/s",
        "        epoch 2 of 2: loss 1.2500, 3,000 images/s",
    ]


def test_a_console_without_the_letter(capfd):
    with open(os.dup(1), "w", encoding="ascii") as narrow:
        say("90.00 ± 1.23", file=narrow)
        say("still here", file=narrow)
    assert capfd.readouterr().out == "90.00 ? 1.23\nstill here\n"


RUN = """
import sys, time
sys.path[:0] = {paths}
import logging
from pathlib import Path
from ssl_mnist.console import Console, keep_going, say
from test_console import ROWS
keep_going()
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
console = Console()
console.stage("train   simclr")
for _ in range(2000):
    logging.info("a line of a library's")
    say("a line")
with console.training(40) as progress:
    for row in ROWS:
        progress(row)
        time.sleep(0.15)  # the bar moves ten times a second at most
file = open("summary.json", "w")
say("on stderr", file=sys.stderr)
file.write("done")
file.close()
logging.warning("the last words")
"""


def script(folder: Path) -> Path:
    path = folder / "script.py"
    path.write_text(RUN.format(paths=[str(REPOSITORY), str(REPOSITORY / "tests")]))
    return path


@pytest.mark.parametrize(
    "redirection, errors",
    [("| head -1", 1), (">/dev/full", 1), (">&-", 1), ("2>&-", 0), (">&- 2>&-", 0), (">/dev/full 2>/dev/full", 0), ("2>/dev/full", 0)],
)
def test_a_console_that_takes_nothing_ends_no_run(redirection, errors, tmp_path):
    """It ends with its result and status 0; on standard error stands what was written there and no more."""
    line = f'set -o pipefail; "{sys.executable}" "{script(tmp_path)}" {redirection}'
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, (tmp_path / "summary.json").read_text()) == (0, "done"), result.stderr
    assert result.stderr == "on stderr\n" * errors
    assert "| head" not in redirection or result.stdout == "train   simclr\n"


def test_a_terminal_gets_a_bar(tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    words = [sys.executable, str(script(tmp_path))]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        out = process.stdout.read()
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "40/40" in text and "loss 1.2500, 3,000 images/s" in text
    assert process.returncode == 0 and "epoch" not in out


def test_keep_going_is_the_commands_alone():
    """Importing the package changes nothing in a user's own process."""
    code = "import logging, ssl_mnist.cli, ssl_mnist.console; assert logging.raiseExceptions"
    subprocess.run([sys.executable, "-c", code], check=True)
