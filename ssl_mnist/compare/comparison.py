"""A sweep's configurations side by side: a table, a ranking, verdicts and one sentence."""

import math
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ssl_mnist.compare.references import References, kind
from ssl_mnist.compare.runs import COSTS, Run, Sweep, configurations, differing_settings, swept
from ssl_mnist.compare.statistics import Verdict, compare_pairs
from ssl_mnist.console import shown
from ssl_mnist.intervals import estimate, percent, sampling_error

CHOOSE_NOTHING = {"method", "data"}  # to sweep these is to compare; scores on different data are not compared at all
MAX_ALL_PAIRS = 15  # configurations; beyond it each is compared with the best alone


@dataclass(frozen=True)
class Score:
    """One column: what the runs' summaries say about it."""

    key: str  # split/name
    title: str
    higher: bool  # whether higher is better
    num_images: int | None = None  # that it is measured on, where those are not the split's

    @property
    def split(self) -> str:
        return self.key.partition("/")[0]

    @property
    def is_accuracy(self) -> bool:
        return self.key.endswith("_accuracy")


@dataclass(frozen=True)
class Comparison:
    """split: what decides: test where nothing but data, method and seed was swept and test was read everywhere, else val."""

    sweep: Sweep
    groups: dict[str, list[Run]]
    split: str
    swept: list[str]  # keys, without the seed
    scores: list[Score]  # of both splits, in the order of the runs' summaries
    primary: Score | None  # the score that the answer is about
    ranking: list[str]  # configurations by the primary score, the best first; on the data that most runs used
    table: list[dict[str, Any]]
    verdicts: list[Verdict]
    different: dict[str, list[str]]  # settings that differ: a value a configuration
    parts: list["Comparison"] = field(default_factory=list)  # where the runs are of several data sets, one of each
    references: References = field(default_factory=References)  # what stands beside, and is neither ranked nor judged

    @property
    def by_data(self) -> dict[str, "Comparison"]:
        """A comparison of each data set, by its name; of one alone this comparison."""
        data = [next(iter(part.groups.values()))[0].data for part in self.parts]
        same = Counter(source for source, _ in data)
        names = [source if same[source] == 1 else f"{source} {fingerprint}" for source, fingerprint in data]
        return dict(zip(names, self.parts, strict=True)) or {"": self}

    def scores_on(self, split: str) -> list[Score]:
        return [score for score in self.scores if score.split == split]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table as it is shown: in the order of what was swept, and where that is long, the best first."""
        place = {name: i for i, name in enumerate(self.ranking)}
        key = (lambda row: place.get(row["configuration"], len(place))) if len(self.table) > MAX_ALL_PAIRS else (lambda row: 0)
        return sorted(self.table, key=key)

    @cached_property
    def reference_rows(self) -> list[dict[str, Any]]:
        """As the table's, of what stands beside it."""
        return [_row(name, runs, self.scores) for name, runs in self.references.runs.items()]

    @property
    def unread(self) -> list[Run]:
        """Runs that did not read test."""
        return [run for runs in self.groups.values() for run in runs if not any(key.startswith("test/") for key in run.summary["scores"])]

    @property
    def best_run(self) -> Run | None:
        """Of the best configuration, the run with the best primary score."""
        if self.primary is None:
            return None
        key, sign = self.primary.key, 1 if self.primary.higher else -1
        return max(self.groups[self.ranking[0]], key=lambda run: sign * run.summary.get(key, -sign * math.inf))

    def best_rows(self, key: str, higher: bool) -> set[str]:
        """The configurations with the best mean on their data, among at least two that differ."""
        if self.parts:
            return set().union(*(part.best_rows(key, higher) for part in self.parts))
        means = {row["configuration"]: round(row[f"{key} mean"], 6) for row in self.table if f"{key} mean" in row}
        if len(set(means.values())) < 2:
            return set()
        best = (max if higher else min)(means.values())
        return {name for name, mean in means.items() if mean == best}

    @cached_property
    def answer(self) -> str:
        """The outcome in one sentence; of several data sets, in one each."""
        if not self.groups:
            return "No run has finished"
        if self.parts:
            return ". ".join(part.sentence(f" on {name}") for name, part in self.by_data.items())
        return self.sentence()

    def sentence(self, where: str = "") -> str:
        """where: the data, where there are others."""
        if self.primary is None:
            return f"The runs{where} have no score in common"
        best = self.ranking[0]
        row = next(row for row in self.table if row["configuration"] == best)
        n, mean, unit = row["n"], row[f"{self.primary.key} mean"], f"{self.split} images"
        value = f"{100 * mean:.2f} % of {unit}" if self.primary.is_accuracy else f"{mean:.4g} on {self.split}"
        seeds = f"{n} seed{'s' * (n != 1)}"
        if len(self.ranking) == 1:
            return f"{best}: {value} by the {self.primary.title}{where} ({seeds})"
        second = next(row for row in self.table if row["configuration"] == self.ranking[1])
        if second[f"{self.primary.key} mean"] == mean:
            return f"{best} and {self.ranking[1]} are level on the {self.primary.title}{where}: {value} ({seeds})"
        mine = [verdict for verdict in self.verdicts if verdict.score == _label(self.primary) and best in (verdict.first, verdict.second)]
        kinds = Counter(verdict.kind for verdict in mine)
        if kinds["better"] == len(mine):
            others = "all others" if len(mine) > 1 else self.ranking[1]
            return f"{best} is better than {others} on the {self.primary.title}{where}: {value} ({seeds})"
        if kinds["too few seeds"]:
            comment = "too few to call it better"
        else:
            close = [v.first if v.second == best else v.second for v in mine if v.kind != "better"]
            comment = f"not told apart from {close[0] if len(close) == 1 else f'{len(close)} others'}"
        return f"{best} is ahead on the {self.primary.title}{where}: {value} ({seeds}, {comment})"

    @property
    def basis(self) -> str:
        """Which split decides, and why, in a sentence or two; what is missing where nothing can be decided."""
        if not self.scores:
            return "There are no scores to compare: the images have no labels."
        keys = [key for key in self.swept if key not in CHOOSE_NOTHING]
        if self.split == "test":
            return f"Decided by test: only {'the data, ' if 'data' in self.swept else ''}the method and the seed were swept."
        text = "Decided by val."
        if keys:
            be = "was" if len(keys) == 1 else "were"
            text = f"Decided by val, because {_and(keys)} {be} swept: choosing a setting by test would spoil the test score."
        if self.unread:
            which = "Test was not read" if len(self.unread) == len(self.sweep.runs) else f"{len(self.unread)} runs did not read test"
            text += f" {which}; to read it for the run that is chosen:"
        return text

    @property
    def evaluate(self) -> str:
        """The command that reads test for the best run; empty where test was read, or where there is nothing to read."""
        if not self.unread or not self.scores:
            return ""
        run = self.best_run or self.unread[0]
        return f"python -m ssl_mnist.evaluate {shlex.quote(shown(run.folder))}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if len(words) < 5 else f"{len(words)} settings"


def _label(score: Score) -> str:
    return f"{score.title} ({score.split})"


def num_images(run: Run, split: str, score: Score | None = None) -> int | None:
    """Of a split, or those that a score on it is measured on."""
    return (score and score.num_images) or run.summary.get(f"data/{split}_size")


def compare_runs(sweep: Sweep, groups: dict[str, list[Run]] | None = None) -> Comparison:
    """groups: the sweep's runs by configuration; by default what differs between them names these."""
    groups, keys = groups or configurations(sweep.runs), swept(sweep.runs)
    scores: dict[str, Score] = {}
    for run in sweep.runs:
        for key, about in run.summary["scores"].items():
            scores.setdefault(key, Score(key, about["title"], about["higher_is_better"], about.get("num_images")))
    test_read = all(any(key.startswith("test/") for key in run.summary["scores"]) for run in sweep.runs)
    split = "test" if set(keys) <= CHOOSE_NOTHING and test_read else "val"
    if not any(score.split == split for score in scores.values()):  # an evaluation without val
        split = "test"
    primary = _primary(sweep.runs, split, scores)
    ranking = _ranking(groups, primary) if primary else []
    deciding = [score for score in scores.values() if score.split == split]
    deciding.sort(key=lambda score: score is not primary)
    table = [_row(name, runs, list(scores.values())) for name, runs in groups.items()]
    parts = _parts(sweep, groups)
    verdicts = [verdict for part in parts for verdict in part.verdicts] if parts else _verdicts(groups, deciding, ranking)
    different = differing_settings(groups)
    return Comparison(sweep, groups, split, keys, list(scores.values()), primary, ranking, table, verdicts, different, parts)


def _parts(sweep: Sweep, groups: dict[str, list[Run]]) -> list[Comparison]:
    """A comparison of each data set; none where there is only one."""
    data = list(dict.fromkeys(runs[0].data for runs in groups.values()))
    if len(data) < 2:
        return []
    of_data = [{name: runs for name, runs in groups.items() if runs[0].data == each} for each in data]
    return [compare_runs(replace(sweep, runs=[run for runs in mine.values() for run in runs]), mine) for mine in of_data]


def _primary(runs: list[Run], split: str, scores: dict[str, Score]) -> Score | None:
    """The score of the probe that most runs name, else the first that any has."""
    named = Counter(f"{split}/{run.summary.get('primary')}_accuracy" for run in runs)
    keys = [*(key for key, _ in named.most_common()), *(key for key, score in scores.items() if score.split == split)]
    return next((scores[key] for key in keys if key in scores), None)


def _ranking(groups: dict[str, list[Run]], primary: Score) -> list[str]:
    values = {name: [run.summary[primary.key] for run in runs if primary.key in run.summary] for name, runs in groups.items()}
    data = Counter(run.data for name, runs in groups.items() for run in runs if values[name]).most_common(1)[0][0]
    means = {name: sum(found) / len(found) for name, found in values.items() if found and groups[name][0].data == data}
    return sorted(means, key=lambda name: -means[name] if primary.higher else means[name])


def _row(name: str, runs: list[Run], scores: list[Score]) -> dict[str, Any]:
    """Mean, standard deviation and half width of the 95 % interval of each score and cost; of an accuracy the sampling error too."""
    row: dict[str, Any] = {"configuration": name, "reference": kind(runs[0])}
    row |= {"n": len(runs), "seeds": " ".join(str(run.seed) for run in runs)}
    for score in scores:
        values = [run.summary[score.key] for run in runs if score.key in run.summary]
        if values:
            images = num_images(runs[0], score.split, score) if score.is_accuracy else None
            row |= _columns(score.key, values, 1 / images if images else 0.0)
            row |= {f"{score.key} values": values}
            if images:
                row[f"{score.key} sampling95"] = sampling_error(sum(values) / len(values), images)
    for key in COSTS:
        values = [run.summary[key] for run in runs if run.summary.get(key) is not None]
        if values:
            row |= _columns(key, values)
    return row | {"data/source": runs[0].summary["data/source"], "data/fingerprint": runs[0].summary["data/fingerprint"]}


def _columns(key: str, values: list[float], resolution: float = 0.0) -> dict[str, float]:
    found = estimate(values, resolution)
    return {f"{key} mean": found.mean, f"{key} std": found.std, f"{key} ci95": found.half_width}


def _verdicts(groups: dict[str, list[Run]], scores: list[Score], ranking: list[str]) -> list[Verdict]:
    """Each pair of configurations, all on the same data, on each score of the deciding split that both have.

    Of many configurations the pairs with the best one alone are told.
    """
    only = ranking[0] if ranking and len(groups) > MAX_ALL_PAIRS else None
    found = []
    for score in scores:
        by_seed = {name: {run.seed: run.summary[score.key] for run in runs if score.key in run.summary} for name, runs in groups.items()}
        having = {name: values for name, values in by_seed.items() if values}
        if len(having) > 1 and (only is None or only in having):
            images = num_images(groups[next(iter(having))][0], score.split, score) if score.is_accuracy else None
            found += compare_pairs(_label(score), having, images, score.higher, only)
    return found


def cell(row: dict[str, Any], score: Score) -> str:
    """A score of one configuration: mean ± half width; of two seeds both values; where the interval says nothing, lowest to highest."""
    values = row.get(f"{score.key} values")
    if not values:
        return "-"
    number: Callable[[float], str] = percent if score.is_accuracy else "{:.4g}".format
    mean, half_width = row[f"{score.key} mean"], row[f"{score.key} ci95"]
    if len(values) == 1:
        return number(mean)
    if len(values) == 2:
        return " and ".join(number(value) for value in values)
    if score.is_accuracy and half_width > 0.05 and not half_width <= mean <= 1 - half_width:
        return f"{number(min(values))} to {number(max(values))}"
    return f"{number(mean)} ± {number(half_width)}"
