"""Which sections report.html has, and writing it."""

from pathlib import Path

from ssl_mnist.compare.reading import read
from ssl_mnist.compare.runs import Run
from ssl_mnist.errors import UserError
from ssl_mnist.files import EXPLORER, REPORT, atomic_write
from ssl_mnist.pages import Command, Heading, Items, Note, Part, Section, render
from ssl_mnist.report import afterwards, curves, figures, files, health, made, scores, settings


def write(folder: Path) -> list[Path]:
    """Write report.html of the run in a folder, or of every finished run below it; returns the files.

    Raises UserError where no run has finished, OSError where a file cannot be written.
    """
    sweep = read(folder)
    if not sweep.runs:
        raise UserError(f"{folder} holds no finished run{f': {sweep.failed[0].error}' if sweep.failed else ''}")
    written = []
    for run in sweep.runs:
        atomic_write(run.folder / REPORT, page(run).encode(errors="replace"))
        written.append(run.folder / REPORT)
    return written


def page(run: Run) -> str:
    sections = [
        scores.section(run),
        _warnings(run),
        curves.section(run),
        health.section(run),
        *figures.sections(run),
        *afterwards.sections(run),
        settings.section(run),
        made.section(run),
        files.section(run),
    ]
    return render(
        "report.html",
        title=scores.answer(run),
        introduction=_introduction(run),
        sections=[section for section in sections if section is not None],
    )


def _introduction(run: Run) -> list[Part]:
    links = [link for link in files.links(run) if link.address == EXPLORER]
    parts: list[Part] = [Note(_overview(run)), Heading("To repeat it"), Command(settings.command(run))]
    return [*parts, Items([Items.Item("See it:", links=links)])] if links else parts


def _overview(run: Run) -> str:
    summary = run.summary
    words = [run.record["started"][:16].replace("T", " "), f"seed {run.seed}"]
    if "seconds" in summary:
        words.append(f"{summary['seconds']:,.1f} s")
    if "model/parameters" in summary:
        words.append(f"encoder of {summary['model/parameters']:,} parameters")
    return ", ".join(words)


def _warnings(run: Run) -> Section | None:
    found = run.summary.get("warnings") or []
    return Section("warnings", "Warnings", [Items([Items.Item(text) for text in found])], bad=True) if found else None
