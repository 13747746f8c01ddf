"""What a run says: its stages, its progress, its scores. Nothing that the console does can end a run."""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text now. Where the console is gone or full, it and all that follows are dropped."""
    stream = file or sys.stdout
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode(), file=stream, flush=True)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # what is still in the buffer must not fail again at exit
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


class Console:
    """Of one run."""

    def say(self, text: str) -> None:
        say(text)

    def stage(self, text: str) -> None:
        """What begins now, in a line that begins with its name."""
        say(text)

    @contextlib.contextmanager
    def training(self, num_steps: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
        """Show progress over some steps: a bar on a terminal, elsewhere, and beside other jobs, a line an epoch.

        Call what it returns with each row of metrics.
        """
        alone = multiprocessing.current_process().name == "MainProcess"
        if alone and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            with tqdm(total=num_steps, unit="step", dynamic_ncols=True, leave=False) as bar:

                def move(metrics: Mapping[str, float]) -> None:
                    bar.set_postfix_str(_progress(metrics), refresh=False)
                    bar.update(int(metrics["step"]) - bar.n)

                yield move
            return

        started = time.perf_counter()

        def line(metrics: Mapping[str, float]) -> None:
            if "pretrain/epoch_loss" in metrics:
                left = (time.perf_counter() - started) * (num_steps - metrics["step"]) / metrics["step"]
                rest = f", {left:,.0f} s left" if left >= 1 else ""
                epochs = metrics["epoch"] * num_steps / metrics["step"]
                say(f"        epoch {metrics['epoch']:.0f} of {epochs:.0f}: {_progress(metrics)}{rest}")

        yield line


def _progress(metrics: Mapping[str, float]) -> str:
    return f"loss {metrics['pretrain/loss']:.4f}, {metrics['pretrain/images_per_second']:,.0f} images/s"


def score_table(summary: Mapping[str, Any]) -> str:
    """A run's scores, as its summary names them, and its costs, as lines of text; accuracies in %."""
    rows: dict[str, dict[str, str]] = {}  # name without split -> title and cells
    for key, about in summary["scores"].items():
        split, _, name = key.partition("/")
        spread = summary.get(f"{key.removesuffix('_accuracy')}_std")
        cell = f"{100 * summary[key]:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")
        rows.setdefault(name, {"title": about["title"]})[split] = cell
    splits = [split for split in ("val", "test") if any(split in row for row in rows.values())]
    width = max(34, *(len(row["title"]) + 2 for row in rows.values()))
    source = f"{summary['data/source']}, seed {summary['seed']}" if summary.get("seed") is not None else summary["data/source"]
    lines = [f"{summary.get('choices/method') or 'encoder'} on {source}", ""]
    lines.append(f"{'accuracy (%)':<{width}}" + "".join(f"{split:>16}" for split in splits))
    for row in rows.values():
        lines.append(f"{row['title']:<{width}}" + "".join(f"{row.get(split, '-'):>16}" for split in splits))
    if any(key.endswith("_std") for key in summary):
        lines.append(f"{'':<{width}}{'± standard deviation over draws':>{16 * len(splits)}}")
    last = splits[-1]
    lines.append(f"{'most confused':<{width}}  {summary[f'{last}/most_confused']} ({last})")
    if "test" not in splits:
        lines.append(f"{'test':<{width}}  not read; python -m ssl_mnist.evaluate <run> reads it")
    if "pretrain/seconds" in summary:
        lines.append(
            f"{'pretraining':<{width}}  {summary['pretrain/seconds']:.1f} s, {summary['pretrain/images_per_second']:,.0f} images/s"
        )
        lines.append(f"{'in all':<{width}}  {summary['seconds']:.1f} s, encoder of {summary['model/parameters']:,} parameters")
    return "\n".join(lines)
