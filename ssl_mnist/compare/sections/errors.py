"""Which classes are taken for which: the pairs whose errors differ most between configurations."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.errors import errors_of, mean
from ssl_mnist.pages import Cell, Items, Note, Part, Section, Table

MAX_CONFIGURATIONS = 15  # in the list of single pairs
TITLE = "Which classes are taken for which"


def section(comparison: Comparison) -> Section | None:
    found = errors_of(comparison)
    if isinstance(found, str):
        return Section("errors", TITLE, [Note(f"No table: {found}."), *_confusions(comparison)]) if comparison.scores else None
    rows = []
    for true, predicted in found.differing():
        counts = [found.counts(name, true, predicted) for name in found.predictions]
        means = [sum(each) / len(each) for each in counts]
        fewest = min(means) if min(means) < max(means) else None
        cells = [
            Cell(mean(each), _sorted_by(value), "fewest errors of the row" if value == fewest else "")
            for each, value in zip(counts, means, strict=True)
        ]
        rows.append([Cell(f"{found.classes[true]} taken for {found.classes[predicted]}", look="name"), *cells])
    foot = [Cell("all errors", look="short"), *(Cell(mean(found.totals(name))) for name in found.predictions)]
    title = next((s.title for s in comparison.scores if s.key == f"{found.of.split}/{found.of.score}_accuracy"), found.of.score)
    note = (
        f"Errors among {found.of.num:,} {found.of.split} images by the {title}: mean over seeds, from 3 on "
        "± half width of its 95 % interval. "
        f"{'The pairs that differ most between configurations' if len(found.predictions) > 1 else 'The most frequent pairs'} stand first; "
        f"the fewest errors of a pair are marked. {found.missing}"
    )
    table = Table(["classes", *found.predictions], rows, "Errors by pair of classes", foot)
    return Section("errors", TITLE, [table, Note(note)])


def _sorted_by(value: float) -> float:
    """Without a fraction where there is none."""
    return int(value) if value == int(value) else round(value, 6)


def _confusions(comparison: Comparison) -> list[Part]:
    items, shown = [], set((comparison.ranking or list(comparison.groups))[:MAX_CONFIGURATIONS])
    for name, runs in ((name, runs) for name, runs in comparison.groups.items() if name in shown):
        told = [(run.seed, pair) for run in runs[:5] if (pair := run.summary.get(f"{comparison.split}/most_confused"))]
        if told:
            items.append(Items.Item(f"{name}: {'; '.join(f'seed {seed}: {pair}' for seed, pair in told)}"))
    if not items:
        return []
    parts: list[Part] = [Note("The most confused pair of each run:", ""), Items(items)]
    if len(shown) < len(comparison.groups):
        parts.append(Note(f"The {len(shown)} best of {len(comparison.groups)} configurations."))
    return parts
