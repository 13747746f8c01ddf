"""How the runs were made: commands, dates, machines, versions and code. A sweep may have been continued, or made by several commands."""

from collections import Counter

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Command, Items, Note, Part, Section

MAX_LISTED = 100


def section(comparison: Comparison) -> Section:
    runs = comparison.sweep.runs
    commands = list(dict.fromkeys(run.record["command"] for run in sorted(runs, key=lambda run: run.record["started"])))
    parts: list[Part] = [Command(command) for command in commands[:MAX_LISTED] if command]
    if len(commands) > MAX_LISTED:
        parts.append(Note(f"and {len(commands) - MAX_LISTED} more commands, in the runs' run.json"))
    commits = sorted({commit_of(run) for run in runs} - {""})
    ours = sorted({f"ssl_mnist {run.summary['versions/ssl_mnist']}" for run in runs})[:5]
    torch = sorted({f"torch {run.summary['versions/torch']}" for run in runs if "versions/torch" in run.summary})
    machines = [machine for machine, _ in Counter(machine_of(run) for run in runs).most_common(5)]
    parts.append(Items([Items.Item(fact) for fact in (dates(runs), *machines, *ours, *torch, *commits) if fact]))
    return Section("made", "How this was made", parts)


def dates(runs: list[Run]) -> str:
    days = sorted({run.record["started"][:10] for run in runs})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def machine_of(run: Run) -> str:
    about = {key: run.summary.get(f"machine/{key}", "?") for key in ("processor", "cpus", "threads", "device", "precision")}
    threads = f"{about['threads']} thread{'s' * (about['threads'] != 1)}"
    return f"{about['processor']}, {about['cpus']} cpus, {threads}, {about['device']}, precision {about['precision']}"


def commit_of(run: Run) -> str:
    git = run.record.get("git")
    if not isinstance(git, dict) or not isinstance(git.get("commit"), str):
        return ""
    return f"commit {git['commit'][:12]}{', with uncommitted changes' if git.get('dirty') else ''}"
