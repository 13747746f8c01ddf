"""Evaluations of a run that were made after its end."""

from dataclasses import replace

from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Note, Part, Section
from ssl_mnist.report.scores import table


def sections(run: Run) -> list[Section]:
    """The newest of each name."""
    found = []
    for i, (name, evaluation) in enumerate(run.evaluations.items()):
        day = str(evaluation.get("evaluated", ""))[:10]
        note = Note(f"Made by python -m ssl_mnist.evaluate{f' on {day}' if day else ''}, on {evaluation['data/source']}.")
        parts: list[Part] = [*table(replace(run, summary=evaluation)), note]
        found.append(Section(f"evaluation-{i}", f"Evaluated afterwards: {name}", parts))
    return found
