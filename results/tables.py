"""The tables of README.md and docs/results.md, made from the summaries of the published runs in this folder.

    python results/tables.py            print every block
    python results/tables.py --write    put each block between its markers in README.md and docs/results.md

A run is a folder `<set>-<number>-<method>` with the `summary.json` and `run.json` that the run wrote. A block named NAME stands between the
lines `<!-- results: NAME -->` and `<!-- /results -->`. tests/test_results.py fails where a block and this folder differ.
"""

import argparse
import itertools
import json
import re
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mnist.compare.errors import Errors, mean, pairs_table
from ssl_mnist.compare.predictions import Predictions
from ssl_mnist.compare.statistics import against_published, compare_pairs
from ssl_mnist.data.mnist import REBUILT_NOTE
from ssl_mnist.intervals import estimate, percent, sampling_error
from ssl_mnist.plots import Point, label_curves

HERE = Path(__file__).resolve().parent
DOCUMENTS = [HERE.parent / "README.md", HERE.parent / "docs" / "results.md"]
SETS = {"default": "`{}`, default recipe", "untrained": "untrained encoder"}  # in the order of the tables; {} is the method
NOTES = {"mnist-rebuilt": REBUILT_NOTE}
PUBLISHED = [  # score, accuracy, what it is of
    ("knn", 0.993, "k-NN on features learned without labels, sparse manifold transform (https://arxiv.org/abs/2209.15261)"),
    ("linear", 0.9965, "an SVM on features learned without labels, C-SVDDNet (https://arxiv.org/abs/1412.7259)"),
]


CLAIMED = [("3", "9"), ("6", "9")]  # what rotation is said to confuse, and what half a turn makes of one of the two
MOST = 5  # pairs of classes that count as what a method confuses most


class Row(NamedTuple):
    label: str
    runs: list[tuple[dict[str, Any], dict[str, Any]]]  # summary and run.json, by seed

    @property
    def seeds(self) -> list[int]:
        return [summary["seed"] for summary, _ in self.runs]

    def has(self, key: str) -> bool:
        return all(key in summary for summary, _ in self.runs)

    def values(self, key: str) -> list[float]:
        return [summary[key] for summary, _ in self.runs]

    def by_seed(self, key: str) -> dict[int, float]:
        return {summary["seed"]: summary[key] for summary, _ in self.runs}

    def same(self, key: str) -> Any:
        """A fact that all runs of a row share."""
        found = {summary[key] for summary, _ in self.runs}
        assert len(found) == 1, f"{self.label}: {key} differs between the runs: {found}"
        return found.pop()


def read() -> list[Row]:
    """The rows: in the order of SETS, the best mean of the first score first."""
    found: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for folder in sorted(path.parent for path in HERE.glob("*/summary.json")):
        name, _, method = folder.name.split("-", 2)
        summary, run = _run_in(folder)
        assert run["choices"]["method"] == method, folder
        found.setdefault((name, method), []).append((summary, run))
    rows = []
    for name, label in SETS.items():
        of_set = [Row(label.format(method), sorted(runs, key=_seed)) for (kind, method), runs in found.items() if kind == name]
        rows += sorted(of_set, key=lambda row: -statistics.mean(row.values(scores("test", [row])[0])))
    return rows


def _run_in(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run's summary.json and run.json hold."""
    summary, run = (json.loads((folder / file).read_text()) for file in ("summary.json", "run.json"))
    assert summary["identity"] == run["identity"], folder
    return summary, run


def _seed(run: tuple[dict[str, Any], dict[str, Any]]) -> int:
    return run[0]["seed"]


def scores(split: str, rows: list[Row]) -> list[str]:
    """Keys of the scores on a split, in the order of the summaries."""
    return [key for key in rows[0].runs[0][0]["scores"] if key.startswith(f"{split}/")]


def titles(keys: list[str], rows: list[Row]) -> list[str]:
    return [rows[0].runs[0][0]["scores"][key]["title"] for key in keys]


def table(heads: list[str], lines: Iterable[list[str]]) -> str:
    return (
        "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ["---"] * len(heads), *lines])
        .replace("| --- ", "|---")
        .replace("|--- |", "|---|")
    )


def accuracies(split: str, rows: list[Row]) -> str:
    keys = scores(split, rows)
    lines = []
    for row in rows:
        cells = [estimate(row.values(key), 1 / row.same(f"data/{split}_size")) if row.has(key) else None for key in keys]
        shown = ["-" if found is None else percent(found.mean, found.half_width) for found in cells]
        lines.append([row.label, str(len(row.runs)), *shown])
    images = rows[0].same(f"data/{split}_size")
    best = [max(statistics.mean(row.values(key)) for row in rows if row.has(key)) for key in keys]
    errors = [f"± {100 * sampling_error(mean, images):.2f}" for mean in best]
    lines.append([f"sampling error of {images:,} images, at the column's best", "", *errors])
    return table([f"accuracy on {split}, %", "seeds", *titles(keys, rows)], lines)


def block_scores(rows: list[Row]) -> str:
    """The main table, and what its numbers are."""
    caption = f"Mean over seeds ± half width of its 95 % confidence interval. {sources(rows)} {machines(rows)}"
    return f"{accuracies('test', rows)}\n\n{caption}"


def sources(rows: list[Row]) -> str:
    found = sorted({row.same("data/source") for row in rows})
    return " ".join(f"Data: `{name}`{f', {NOTES[name]}' if name in NOTES else ''}." for name in found)


def machines(rows: list[Row]) -> str:
    found = {
        f"{s['machine/processor']}, {s['machine/cpus']} cores, {s['machine/threads']} thread{'s' * (s['machine/threads'] != 1)} a run, "
        f"device {s['machine/device']}, precision {s['machine/precision']}, torch {s['versions/torch']}"
        for row in rows
        for s, _ in row.runs
    }
    return f"Machine: {'; '.join(sorted(found))}."


def block_warnings(rows: list[Row]) -> str:
    """What the runs warned of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for summary, _ in row.runs:
            for warning in summary["warnings"]:
                found.setdefault(warning, []).append(f"{row.label} seed {summary['seed']}")
    return "\n".join(f"- {warning} ({', '.join(where)})" for warning, where in found.items()) or "None."


def block_val(rows: list[Row]) -> str:
    return accuracies("val", rows)


def block_sampling(rows: list[Row]) -> str:
    """The half width that the test set's size leaves around each mean."""
    keys = scores("test", rows)
    lines = [
        [row.label, *(f"± {100 * sampling_error(statistics.mean(row.values(key)), row.same('data/test_size')):.2f}" for key in keys)]
        for row in rows
    ]
    return table(["sampling error, points", *titles(keys, rows)], lines)


def block_runs(rows: list[Row]) -> str:
    """Seeds, cost and source of each row."""
    heads = ["recipe", "seeds", "parameters", "steps", "images/s", "pretraining, s", "evaluation, s", "commit"]
    lines = []
    for row in rows:
        numbers = [f"{row.same(key):,}" for key in ("model/parameters", "pretrain/steps")]
        costs = [_spread(row.values(key)) for key in ("pretrain/images_per_second", "pretrain/seconds", "evaluate/seconds")]
        commits = sorted({f"{run['git']['commit'][:7]}{'+' * run['git']['dirty']}" for _, run in row.runs})
        lines.append([row.label, ", ".join(map(str, row.seeds)), *numbers, *costs, ", ".join(commits)])
    commands = dict.fromkeys(run["command"] for row in rows for _, run in row.runs)
    shown = "\n".join(f"    {command}" for command in commands)
    fingerprints = sorted({f"`{row.same('data/fingerprint')}`" for row in rows})
    return (
        f"{table(heads, lines)}\n\nMedian (lowest to highest) over seeds. {machines(rows)} {sources(rows)} "
        f"Fingerprint: {', '.join(fingerprints)}. Commands:\n\n{shown}"
    )


def _spread(values: list[float]) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return "-" if high < 1 else f"{middle:,.0f} ({low:,.0f} to {high:,.0f})"


def block_verdicts(rows: list[Row]) -> str:
    """Pairs of default recipes by the first three scores on test, paired by seed."""
    trained = [row for row in rows if "default" in row.label]
    lines = []
    for key, title in list(zip(scores("test", rows), titles(scores("test", rows), rows), strict=True))[:3]:
        values = {row.label.split("`")[1]: row.by_seed(key) for row in trained}
        for verdict in compare_pairs(f"{title} (test)", values, trained[0].same("data/test_size")):
            size = f"{100 * verdict.difference.mean:+.2f} ± {100 * verdict.difference.half_width:.2f}"
            lines.append([title, f"{verdict.first} - {verdict.second}", str(verdict.difference.n), size, verdict.kind])
    return table(["score", "difference of", "common seeds", "points", "verdict"], lines)


def block_published(rows: list[Row]) -> str:
    """The best default recipe against published accuracies; intervals hold the seeds' spread and the test set's sampling error."""
    best = rows[0]
    lines = []
    for name, published, what in PUBLISHED:
        key = f"test/{name}_accuracy"
        title = best.runs[0][0]["scores"][key]["title"]
        lines.append(
            f"- {best.label}, {title}: {against_published(best.values(key), best.same('data/test_size'), published)} Published: {what}."
        )
    return "\n".join(lines)


def block_images(rows: list[Row]) -> str:
    """Other images: one run a line, from `images/<name>/`."""
    runs = [_run_in(folder) for folder in sorted((HERE / "images").iterdir())]
    lines = []
    for summary, run in sorted(runs, key=lambda each: (each[0]["data/source"], -each[0]["test/knn_accuracy"])):
        (map_key,) = (key for key in summary["scores"] if key.startswith("test/linear_map"))
        keys = ("test/linear_accuracy", map_key, "test/knn_accuracy")
        cells = [f"{100 * summary[key]:.2f} ± {100 * sampling_error(summary[key], summary['data/test_size']):.2f}" for key in keys]
        settings = run["settings"]
        encoder = f"{run['choices']['encoder']}{f', width {width}' if (width := settings['encoder'].get('width')) else ''}"
        epochs, seconds = settings["pretrain"]["epochs"], summary["pretrain/seconds"]
        lines.append([summary["data/source"], summary["choices/method"], encoder, str(epochs), *cells, f"{seconds / 60:,.0f}"])
    heads = ["images", "method", "encoder", "epochs", "linear probe", "linear probe, map", "k-NN, k = 20", "pretraining, minutes"]
    facts = sorted(
        {
            f"{s['machine/processor']}, {s['machine/threads']} of {s['machine/cpus']} cores a run, precision {s['machine/precision']}, "
            f"torch {s['versions/torch']}, seed {s['seed']}"
            for s, _ in runs
        }
    )
    commands = "\n".join(f"    {run['command']}" for _, run in runs)
    return (
        f"{table(heads, lines)}\n\nTest accuracy, % ± half width of the 95 % interval that the size of the test set leaves; one run each. "
        f"Machine: {'; '.join(facts)}. Commands:\n\n{commands}"
    )


def block_references(rows: list[Row]) -> str:
    """Floors and ceilings, of the runs in `references/`."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for folder in sorted((HERE / "references").iterdir()):
        summary, run = _run_in(folder)
        found.setdefault(f"`{summary['choices/method']}`, {summary['reference']}", []).append((summary, run))
    references = [Row(label, sorted(runs, key=_seed)) for label, runs in found.items()]
    references.sort(key=lambda row: -statistics.mean(row.values("test/linear_accuracy")))
    ((command, commit),) = {(run["command"], run["git"]["commit"][:7]) for row in references for _, run in row.runs}
    caption = (
        "Mean over seeds ± half width of its 95 % confidence interval; raw pixels and PCA have no seed. Encoder: the default, `conv`. "
        f"{sources(references)} {machines(references)} Commit {commit}. Command:"
    )
    return f"{accuracies('test', references)}\n\n{caption}\n\n    {command}"


def block_best(rows: list[Row]) -> str:
    """Scores of `experiment=best`, of the runs in `few_labels/`."""
    row = Row("`experiment=best`", [_run_in(folder) for folder in sorted((HERE / "few_labels").glob("best-*"))])
    seconds = [summary["pretrain/seconds"] for summary, _ in row.runs]
    commits = ", ".join(sorted({run["git"]["commit"][:7] for _, run in row.runs}))
    caption = (
        f"Mean over seeds {', '.join(map(str, row.seeds))} ± half width of its 95 % confidence interval. "
        f"{row.same('model/parameters'):,} parameters; pretraining {min(seconds) / 60:.0f} to {max(seconds) / 60:.0f} minutes, beside "
        f"other programs. {sources([row])} {machines([row])} Commits {commits}. Commands:"
    )
    return f"{accuracies('test', [row])}\n\n{caption}\n\n" + "\n".join(f"    {run['command']}" for _, run in row.runs)


def block_few_labels(rows: list[Row]) -> str:
    """Accuracy by the number of labels: a table for the runs in `few_labels/` of each recipe."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    commands: dict[str, list[str]] = {}
    for folder in sorted((HERE / "few_labels").iterdir()):
        name = folder.name.partition("-")[0]
        summary, run, again = _evaluated(folder)
        found.setdefault(name, []).append((summary, run))
        commands.setdefault(name, []).extend([run["command"], *again])
    return "\n\n".join(
        f"{_few_labels(runs)} Commands:\n\n" + "\n".join(f"    {command}" for command in dict.fromkeys(commands[name]))
        for name, runs in sorted(found.items(), reverse=True)
    )


def _evaluated(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Of a run: the scores of its later evaluations, a later one's over an earlier one's, in one summary; its run.json; their commands."""
    summary, run = _run_in(folder)
    found, commands = {"data/train_size": summary["data/train_size"]}, []
    for path in sorted(folder.glob("evaluation-*.json")):
        each = json.loads(path.read_text())
        assert each["identity"] == run["identity"], folder
        found |= each | {"scores": found.get("scores", {}) | each["scores"]}
        commands.append(f"python -m ssl_mnist.evaluate outputs/runs/<run> {shlex.join(each['overrides'])}")
    return found, run, commands


def _few_labels(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Table and caption of one recipe's runs, one or several seeds."""
    curves = [label_curves(summary, "test") for summary, _ in runs]
    (ways,) = {tuple(each) for each in curves}
    points: dict[tuple[str, int], list[Point]] = {}
    for each, way in itertools.product(curves, ways):
        for point in each[way]:
            points.setdefault((way, point.num), []).append(point)
    if len(runs) > 1:
        cells = {key: percent(*estimate([point.accuracy for point in of])[::2]) for key, of in points.items()}
    else:
        cells = {key: percent(point.accuracy, point.half_width) for key, (point,) in points.items()}
    lines = [[f"{num:,}", *(cells.get((way, num), "") for way in ways)] for num in sorted({num for _, num in points})]
    (num_draws,) = {about["draws"] for summary, _ in runs for about in summary["scores"].values() if about.get("draws", 1) > 1}
    seeds = ", ".join(str(summary["seed"]) for summary, _ in runs)
    (method,) = {summary["choices/method"] for summary, _ in runs}
    (experiment,) = {run["choices"]["experiment"] for _, run in runs}
    over = "of the mean over seeds" if len(runs) > 1 else "over draws"
    caption = (
        f"Test accuracy, %: mean over {num_draws} draws of the labels, the same for all columns, ± half width of its 95 % interval "
        f"{over}; all labels are drawn once. `{method}`, {f'`experiment={experiment}`' if experiment else 'default recipe'}, "
        f"seed{'s' * (len(runs) > 1)} {seeds}. {sources([Row(method, runs)])} {machines([Row('', runs)])}"
    )
    return f"{table(['labels', *ways], lines)}\n\n{caption}"


def block_confusions(rows: list[Row]) -> str:
    """Whether rotation confuses the digits that it is said to, from the confusion matrices in confusions.json."""
    runs = json.loads((HERE / "confusions.json").read_text())
    (classes,) = {tuple(run["classes"]) for run in runs}
    ((title, split),) = {(run["title"], run["split"]) for run in runs}
    found: dict[str, list[Predictions]] = {}
    for run in runs:
        counts = Counter({(i, j): num for i, row in enumerate(run["confusion"]) for j, num in enumerate(row) if num and i != j})
        images = sum(map(sum, run["confusion"]))
        found.setdefault(f"`{run['method']}`", []).append(Predictions(split, run["score"], images, counts))
    errors = Errors(found, list(classes), "")
    head, *lines = pairs_table(errors, [",".join(pair) for pair in CLAIMED])
    lines = [[line[0].replace(",", " and "), *line[1:]] for line in lines]
    said = "\n".join(f"- {_claim(errors, '`rotation`', *pair)}" for pair in CLAIMED)
    machines = {
        f"{run['machine/processor']}, {run['machine/threads']} of {run['machine/cpus']} cores a run, "
        f"precision {run['machine/precision']}, torch {run['versions/torch']}, commit {run['commit'][:7]}"
        for run in runs
    }
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))
    caption = (
        f"Errors of the {title} among {errors.of.num:,} {split} images, default recipes, seeds {seeds}: mean ± half width of the 95 % "
        "interval over seeds. The place is that among all pairs of digits, by the sum over seeds. "
        f"Data: `{runs[0]['data/source']}`. Machine: {'; '.join(sorted(machines))}."
    )
    return f"{said}\n\n{table(head, lines)}\n\n{caption}"


def _claim(errors: Errors, method: str, first: str, second: str) -> str:
    """What the counts say of the claim that a method confuses two classes, in a sentence."""
    a, b = (errors.classes.index(name) for name in (first, second))
    place, num = errors.rank(method, a, b)
    pairs = sorted(itertools.combinations(range(len(errors.classes)), 2), key=lambda pair: -sum(errors.between(method, *pair)))
    most = ", ".join(f"{errors.classes[i]} and {errors.classes[j]}" for i, j in pairs[:MOST])
    counts = f"{mean(errors.between(method, a, b))} of its {mean(errors.totals(method))} errors, place {place} of {num}"
    among = "among" if place <= MOST else "not among"
    return f"{first} and {second} are {among} the {MOST} pairs that {method} confuses most: {counts}. Those are {most}."


SPEEDS = [  # benchmark, the name of its number, what it is, unit
    ("startup", "help", "until `--help` has ended, median of five", " s"),
    ("startup", "seconds", "until the first training step, median of five", " s"),
    ("overhead", "ratio", "views per second of SimCLR's training over those of its bare model", ""),
]


def block_speed(rows: list[Row]) -> str:
    """What speed.json says: the machine, and each benchmark's command with the lines that it printed."""
    found = json.loads((HERE / "speed.json").read_text())
    commands = {run["command"].partition("/")[2].removesuffix(".py"): run for run in found["runs"]}
    lines = []
    for name, key, what, unit in SPEEDS:
        number = re.search(rf"^{key}: (.+)$", commands[name]["output"], re.M)
        assert number, (name, key)
        lines.append([what, number[1] + unit, f"`{commands[name]['command']}`"])
    return table([f"speed on {found['machine']}; version {found['version']}", "", "command"], lines)


def block_checks(rows: list[Row]) -> str:
    """Benchmarks and long tests: what checks.json says that each command printed."""
    runs = json.loads((HERE / "checks.json").read_text())["runs"]
    about = "`{command}` (commit {commit}, {date}, {machine}):"
    return "\n\n".join(f"{about.format(**run)}\n\n{_indented(run['output'])}" for run in runs)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


BLOCKS: dict[str, Callable[[list[Row]], str]] = {
    "scores": block_scores,
    "speed": block_speed,
    "val": block_val,
    "warnings": block_warnings,
    "sampling": block_sampling,
    "runs": block_runs,
    "verdicts": block_verdicts,
    "published": block_published,
    "images": block_images,
    "references": block_references,
    "few_labels": block_few_labels,
    "best": block_best,
    "confusions": block_confusions,
    "checks": block_checks,
}


def filled(text: str, blocks: dict[str, str]) -> str:
    """A document with each block in its place. Raises KeyError for a marker that names no block."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- results: {found[1]} -->\n{blocks[found[1]]}\n<!-- /results -->"

    return re.sub(r"<!-- results: (\w+) -->\n.*?<!-- /results -->", fill, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tables of README.md and docs/results.md.")
    parser.add_argument("--write", action="store_true", help="write them to their places")
    rows = read()
    blocks = {name: make(rows) for name, make in BLOCKS.items()}
    if parser.parse_args().write:
        for path in DOCUMENTS:
            path.write_text(filled(path.read_text(), blocks))
    else:
        print("\n\n".join(f"{name}\n{text}" for name, text in blocks.items()))


if __name__ == "__main__":
    main()
