"""What a run says: its stages, its progress and its scores. A console that is closed, full or gone ends no run.

Everything is printed through `say`. The first time that a stream refuses a text, the stream's file descriptor is pointed at
the null device: nothing is printed there from then on, and the interpreter's own flush at exit cannot fail either.
"""

import atexit
import contextlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

SPLITS = ("val", "test")


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text at once; file: standard output unless given. Where it cannot be printed, it is dropped."""
    stream = sys.stdout if file is None else file
    if stream is None:  # Python was started with the descriptor closed
        return
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError:  # LANG=C with ± in a score
            print(text.encode("ascii", "replace").decode(), file=stream, flush=True)
    except (OSError, ValueError):
        _silence(stream)


_place: str | None = None  # where the user stands, where that is not the working folder


def standing(place: str) -> None:
    """Say where the user stands, whatever the working folder is (hydra.job.chdir=true moves it)."""
    global _place
    _place = place


def shown(path: str | os.PathLike) -> str:
    """A path as the user can paste it where they stand."""
    return os.path.relpath(path, _place)


def address(path: Path) -> str:
    """A file's, as terminals make a link of it and browsers open it: file://, percent-encoded."""
    return path.absolute().as_uri()


def show_page(path: Path, open_it: bool) -> None:
    """Say where a page is, and open it in the browser, if there is one."""
    import webbrowser

    say(f"page    {address(path)}")
    if open_it and not webbrowser.open(address(path)):
        say("        no browser was found that opens it")


def _silence(stream: TextIO) -> None:
    """Send what a broken stream still holds, and all that is to come, to the null device."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)
        stream.flush()


def keep_going() -> None:
    """Let no text that cannot be printed become an error: in logging, in a library that writes to standard error, or at exit.

    For the command, which owns the process. What cannot be flushed at exit is dropped then, where Python would end with status 120.
    A closed standard output or error is opened on the null device, so that the next file that is opened does not get its number.
    """
    atexit.register(_flush)
    logging.raiseExceptions = False  # else 15 lines of "Logging error" for each line that a full device refuses
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)


@contextlib.contextmanager
def progress_bar(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; yields a function that moves it on."""
    if multiprocessing.current_process().name != "MainProcess" or not _is_terminal(sys.stderr):
        yield lambda num: None
        return
    from tqdm import tqdm

    bar = tqdm(total=total, unit=unit, dynamic_ncols=True, leave=False)
    try:
        yield bar.update
    finally:
        with contextlib.suppress(OSError, ValueError):
            bar.close()


class Console:
    """The console of one run."""

    def say(self, text: str) -> None:
        say(text)

    def stage(self, text: str) -> None:
        """What begins now, in a line that begins with its name."""
        say(text)

    @contextlib.contextmanager
    def training(self, num_steps: int, done: int = 0) -> Iterator[Callable[[Mapping[str, float]], None]]:
        """Show the progress of `num_steps`, `done` of them before: a bar on a terminal, one line an epoch elsewhere or in a worker process.

        Yields a function that is called with each row of metrics.
        """
        if multiprocessing.current_process().name == "MainProcess" and _is_terminal(sys.stderr):
            from tqdm import tqdm

            bar = tqdm(total=num_steps, initial=done, unit="step", dynamic_ncols=True, leave=False)
            try:
                yield lambda metrics: _move(bar, metrics)
            finally:
                with contextlib.suppress(OSError, ValueError):
                    bar.close()
        else:
            started = time.perf_counter()
            yield lambda metrics: _epoch(num_steps, done, started, metrics)


def _is_terminal(stream: TextIO | None) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return stream is not None and stream.isatty()
    return False


def _move(bar: Any, metrics: Mapping[str, float]) -> None:
    with contextlib.suppress(OSError, ValueError):  # a terminal that was closed
        bar.set_postfix_str(_progress(metrics), refresh=False)
        bar.update(int(metrics["step"]) - bar.n)


def _epoch(num_steps: int, done: int, started: float, metrics: Mapping[str, float]) -> None:
    if "pretrain/epoch_loss" not in metrics:
        return
    step, epoch = metrics["step"], metrics["epoch"]
    left = (time.perf_counter() - started) * (num_steps - step) / (step - done)
    rest = f", {left:,.0f} s left" if left >= 1 else ""
    say(f"        epoch {epoch:.0f} of {epoch * num_steps / step:.0f}: {_progress(metrics)}{rest}")


def _progress(metrics: Mapping[str, float]) -> str:
    return f"loss {metrics['pretrain/loss']:.4f}, {metrics['pretrain/images_per_second']:,.0f} images/s"


def splits_of(summary: Mapping[str, Any]) -> list[str]:
    """The splits that there are scores on, val before test."""
    return [split for split in SPLITS if any(key.startswith(f"{split}/") for key in summary["scores"])]


def score_text(summary: Mapping[str, Any], key: str) -> str:
    """A score as text: an accuracy in % without the sign, ± its standard deviation over draws where there are several."""
    if not key.endswith("_accuracy"):
        return f"{summary[key]:.4f}"
    deviation = summary.get(f"{key.removesuffix('_accuracy')}_std")
    return f"{100 * summary[key]:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def score_table(summary: Mapping[str, Any]) -> str:
    """A run's scores, with the names, titles and order that `summary["scores"]` gives them, and its costs, as lines of text.

    Accuracies are in %; ± is the standard deviation over draws, where a probe has several. Scores of another kind stand below them.
    """
    rows: dict[str, dict[str, str]] = {}  # score without its split -> its title and a cell for each split
    for key, about in summary["scores"].items():
        split, _, score = key.partition("/")
        rows.setdefault(score, {"title": about["title"]})[split] = score_text(summary, key)
    splits = splits_of(summary)
    first = max([34, *(len(row["title"]) for row in rows.values())]) + 2
    # A deviation stands right of its number, so that the numbers stay below each other.
    widths = {split: 16 if any("±" in row.get(split, "") for row in rows.values()) else 8 for split in splits}

    def line(title: str, cells: Mapping[str, str]) -> str:
        text = f"{title:<{first}}"
        for split in splits:
            number, space, deviation = cells.get(split, "-").partition(" ")
            text += f"{number:>8}{space}{deviation}".ljust(widths[split])
        return text.rstrip()

    lines = [f"{summary.get('choices/method') or 'encoder'} on {_source(summary)}", ""]
    if splits:
        lines.append(line("accuracy (%)", {split: split for split in splits}))
    else:
        lines.append("no score: the images have no labels; figures/ shows the embeddings and their neighbours")
    lines += [line(row["title"], row) for score, row in rows.items() if score.endswith("_accuracy")]
    other = {key.partition("/")[2]: about["higher_is_better"] for key, about in summary["scores"].items() if not key.endswith("_accuracy")}
    for higher, head in ((False, "lower is better"), (True, "higher is better")):
        of_kind = [line(row["title"], row) for score, row in rows.items() if other.get(score) is higher]
        lines += [head, *of_kind] if of_kind else []
    if any("±" in cell for row in rows.values() for cell in row.values()):
        lines.append(f"{'':<{first}}  ± standard deviation over draws")
    notes = {}
    if splits and (confused := summary.get(f"{splits[-1]}/most_confused")) is not None:
        notes[f"most confused ({summary['primary']}, {splits[-1]})"] = confused
    if splits and "test" not in splits:
        notes["test"] = "not read; python -m ssl_mnist.evaluate <run> reads it"
    if "pretrain/seconds" in summary:
        notes["pretraining"] = f"{summary['pretrain/seconds']:.1f} s, {summary['pretrain/images_per_second']:,.0f} images/s"
        notes["everything"] = f"{summary['seconds']:.1f} s, encoder of {summary['model/parameters']:,} parameters"
    notes["data"] = summary["data/source"]
    return "\n".join([*lines, *(f"{title:<{first}}  {text}" for title, text in notes.items())])


def _source(summary: Mapping[str, Any]) -> str:
    seed = summary.get("seed")
    return summary["data/source"] if seed is None else f"{summary['data/source']}, seed {seed}"
