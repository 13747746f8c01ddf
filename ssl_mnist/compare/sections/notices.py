"""What went wrong, is unfinished, or has to be known of the runs."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.report import run_warnings
from ssl_mnist.compare.runs import Job
from ssl_mnist.pages import Heading, Items, Note, Part, Section

MAX_LISTED = 100


def section(comparison: Comparison) -> Section | None:
    sweep = comparison.sweep
    parts: list[Part] = []
    title = []
    if sweep.failed:
        title.append(f"{len(sweep.failed)} failed")
        items = [Items.Item(job.error, job.name) for job in sweep.failed[:MAX_LISTED]]
        parts += [Heading("Failed"), Items([*items, *_more(len(sweep.failed), "")])]
    if warnings := [*sweep.warnings, *run_warnings(comparison)]:
        title.append(_count(len(warnings), "warning"))
        items = [Items.Item(warning) for warning in warnings[:MAX_LISTED]]
        parts += [Heading("Warnings"), Items([*items, *_more(len(warnings), " warnings, in comparison.json")])]
    if sweep.running:
        title.append(f"{len(sweep.running)} running")
        parts.append(Note(f"{_count(len(sweep.running), 'job')} still running: {_names(sweep.running)}", ""))
    if sweep.killed:
        title.append(f"{len(sweep.killed)} stopped")
        parts.append(Note(f"{_count(len(sweep.killed), 'job')} stopped before the end: {_names(sweep.killed)}"))
    return Section("notices", ", ".join(title), parts, bad=bool(sweep.failed or warnings)) if parts else None


def _more(number: int, of: str) -> list[Items.Item]:
    return [Items.Item(f"and {number - MAX_LISTED} more{of}")] if number > MAX_LISTED else []


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _names(jobs: list[Job]) -> str:
    return "; ".join(job.name for job in jobs[:10]) + (f" and {len(jobs) - 10} more" if len(jobs) > 10 else "")
