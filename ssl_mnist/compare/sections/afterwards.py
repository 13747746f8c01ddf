"""What `python -m ssl_mnist.evaluate` has measured after the runs: a section an evaluation, with its scores and its plots."""

from ssl_mnist.compare.afterwards import afterwards
from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.sections.labels import label_parts
from ssl_mnist.compare.sections.robustness import robustness_parts
from ssl_mnist.compare.sections.scores import score_table
from ssl_mnist.pages import Details, Heading, Note, Part, Section


def sections(comparison: Comparison) -> list[Section]:
    found = []
    for i, (name, evaluation) in enumerate(afterwards(comparison).items()):
        each = evaluation.comparison
        days = sorted({str(run.summary.get("evaluated", ""))[:10] for run in each.sweep.runs} - {""})
        made = f", on {days[0]}" if len(days) == 1 else f", from {days[0]} to {days[-1]}" if days else ""
        note = f"{len(each.sweep.runs)} of {len(comparison.sweep.runs)} runs, evaluated after their end{made}."
        if evaluation.left_out:
            note += f" Without {', '.join(evaluation.left_out[:10])}: not evaluated in this way."
        parts: list[Part] = [Note(f"{each.answer}. {each.basis}", "", each.evaluate), Note(note)]
        first, *others = [split for split in dict.fromkeys((each.split, "test", "val")) if each.scores_on(split)] or [each.split]
        parts += score_table(each, first) if each.scores else []
        parts += [Details(f"Scores on {split}", score_table(each, split)) for split in others]
        for title, plots in {"How few labels suffice": label_parts, "Corrupted images": robustness_parts}.items():
            more = plots(each, list(comparison.groups))
            parts += [Heading(title), *more] if more else []
        found.append(Section(f"evaluation-{i}", f"Evaluated afterwards: {name}", parts))
    return found
