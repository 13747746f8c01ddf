"""The comparison as one self-contained HTML page: opens from disk, needs no network. Interactive plots are plotly's."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.sections import (
    afterwards,
    classes,
    costs,
    differences,
    effects,
    errors,
    health,
    labels,
    losses,
    made,
    notices,
    pictures,
    robustness,
    runs,
    scores,
    similarity,
    time,
    verdicts,
)
from ssl_mnist.pages import Note, Part, Section, render


def page(comparison: Comparison) -> str:
    return render(
        "comparison.html",
        title=f"{comparison.answer}.",
        introduction=_introduction(comparison),
        sections=[section for section in _sections(comparison) if section is not None],
        folder=os.fsencode(comparison.sweep.folder.absolute()).decode(errors="replace"),
        plotly=Markup(get_plotlyjs()),
    )


def _introduction(comparison: Comparison) -> list[Part]:
    if not comparison.groups:
        return []
    bases = {(part.basis, part.evaluate): None for part in comparison.by_data.values()}
    return [*(Note(basis, "", command) for basis, command in bases), Note(_overview(comparison))]


def _overview(comparison: Comparison) -> str:
    found = comparison.sweep.runs
    sizes = sorted({f"{run.data[0]} ({run.summary['data/train_size']:,} images)" for run in found if run.summary.get("data/train_size")})
    num, groups = len(found), len(comparison.groups)
    counts = [f"{num:,} run{'s' * (num != 1)}", f"{groups:,} configuration{'s' * (groups != 1)}"]
    return ", ".join([*counts, *sizes[:5], made.dates(found)])


def _sections(comparison: Comparison) -> list[Section | None]:
    if not comparison.groups:
        return [notices.section(comparison), made.section(comparison)]
    return [
        *_each(scores.section, comparison),
        notices.section(comparison),
        costs.section(comparison),
        *_each(verdicts.section, comparison),
        differences.section(comparison),
        *_each(time.section, comparison),
        *_each(labels.section, comparison),
        *_each(losses.section, comparison),
        health.section(comparison),
        *_each(classes.section, comparison),
        errors.section(comparison),
        similarity.section(comparison),
        *_each(effects.sections, comparison),
        *_each(robustness.section, comparison),
        *afterwards.sections(comparison),
        *pictures.sections(comparison),
        runs.section(comparison),
        made.section(comparison),
    ]


def _each(make: Callable[[Comparison], Section | list[Section] | None], comparison: Comparison) -> Iterator[Section]:
    """Sections of each data set by itself: what stands on one axis or in one column can be compared."""
    for i, (name, part) in enumerate(comparison.by_data.items()):
        found = make(part)
        for section in found if isinstance(found, list) else [found] if found else []:
            yield replace(section, id=f"{section.id}-of-{i}", title=f"{section.title} ({name})") if name else section
