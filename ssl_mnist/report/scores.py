"""The scores of a run, and what they mean."""

import shlex

from ssl_mnist.compare.references import kind
from ssl_mnist.compare.runs import Run
from ssl_mnist.console import score_text, shown, splits_of
from ssl_mnist.intervals import sampling_error
from ssl_mnist.pages import Cell, Command, Note, Part, Section, Table

KINDS = {"floor": "a floor: no training", "ceiling": "a ceiling: trained with labels"}


def answer(run: Run) -> str:
    """The outcome in one sentence."""
    summary = run.summary
    split = splits_of(summary)[-1:]
    words = f"{run.method} on {summary['data/source']}"
    words += f" ({KINDS.get(kind(run), kind(run))})" if kind(run) else ""
    key = next((key for key in summary["scores"] if split and key.startswith(f"{split[0]}/") and _is_primary(run, key)), None)
    if key is None:
        words += ": the images have no labels, and there is no score" if not summary["scores"] else ""
    else:
        num = summary.get(f"data/{split[0]}_size")
        of = f"{num:,} {split[0]} images" if num else f"the {split[0]} images"
        words += f": {100 * summary[key]:.2f} % of {of} by the {summary['scores'][key]['title']}"
    verdict = summary.get("health/verdict")
    return f"{words}{f'; pretraining: {verdict}' if verdict else ''}."


def _is_primary(run: Run, key: str) -> bool:
    return key.partition("/")[2] == f"{run.summary.get('primary')}_accuracy"


def section(run: Run) -> Section:
    parts = table(run)
    if not parts:
        return Section("scores", "Scores", [Note("The images have no labels: no probe was fitted.", "")])
    return Section("scores", "Scores", [*parts, Note(_protocol(run)), *_unread(run)])


def table(run: Run) -> list[Part]:
    """A row a score, a column a split; nothing where there is no score."""
    summary, splits = run.summary, splits_of(run.summary)
    rows: dict[str, list[Cell]] = {}  # by score, without its split
    for key, about in summary["scores"].items():
        split, _, name = key.partition("/")
        title = about["title"] + ("" if about["higher_is_better"] else " (lower is better)")
        title += ", %" if key.endswith("_accuracy") else ""
        row = rows.setdefault(name, [Cell(title, look="name"), *(Cell("-", -1) for _ in splits), Cell("")])
        row[1 + splits.index(split)] = Cell(score_text(summary, key), summary[key])
        images = about.get("num_images") or summary.get(f"data/{split}_size")
        if split == splits[-1] and images and key.endswith("_accuracy"):
            row[-1] = Cell(f"± {100 * sampling_error(summary[key], images):.2f}")
    heads = ["score", *splits, f"sampling error, {splits[-1]}"] if splits else []
    return [Table(heads, list(rows.values()), "Scores")] if rows else []


def _protocol(run: Run) -> str:
    summary, splits = run.summary, splits_of(run.summary)
    train, val, test = (f"{num:,} " if (num := summary.get(f"data/{split}_size")) else "" for split in ("train", "val", "test"))
    text = (
        f"The encoder is frozen, and each probe is fitted on its features of the {train}images of train and their labels. "
        f"What a probe has to choose, such as the strength of a penalty, it chooses by the {val}images of val."
    )
    if "test" in splits:
        text += f" The {test}images of test are read once, after the last choice of all probes."
    if any(f"{key.removesuffix('_accuracy')}_std" in summary for key in summary["scores"]):
        text += " ± in a column of a split: standard deviation over draws of the labelled images."
    return text + (
        " Sampling error: half width of the 95 % interval that so many images leave around an accuracy; it does not hold what another "
        "seed of pretraining would change."
    )


def _unread(run: Run) -> list[Part]:
    if "test" in splits_of(run.summary):
        return []
    return [
        Note("Test was not read. To read it once everything is chosen:", ""),
        Command(f"python -m ssl_mnist.evaluate {shlex.quote(shown(run.folder))}"),
    ]
