"""Evaluations that were made after the runs, by `python -m ssl_mnist.evaluate`: each as a comparison of its own."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ssl_mnist.compare.comparison import Comparison, compare_runs
from ssl_mnist.compare.runs import Run


@dataclass(frozen=True)
class Afterwards:
    """One evaluation."""

    comparison: Comparison  # of the runs that were evaluated alike: their summaries are the evaluation's
    left_out: list[str]  # configurations without such a run


def afterwards(comparison: Comparison) -> dict[str, Afterwards]:
    """By name. Of runs that were evaluated under one name in several ways, those of the most frequent one are compared."""
    found = {}
    for name in dict.fromkeys(name for run in comparison.sweep.runs for name in run.evaluations):
        key = Counter(_way(run.evaluations[name]) for run in comparison.sweep.runs if name in run.evaluations).most_common(1)[0][0]
        groups = {
            configuration: [_evaluated(run, name) for run in runs if name in run.evaluations and _way(run.evaluations[name]) == key]
            for configuration, runs in comparison.groups.items()
        }
        left_out = [configuration for configuration, runs in groups.items() if not runs]
        groups = {configuration: runs for configuration, runs in groups.items() if runs}
        sweep = replace(comparison.sweep, runs=[run for runs in groups.values() for run in runs])
        found[name] = Afterwards(compare_runs(sweep, groups), left_out)
    return found


def _way(evaluation: dict[str, Any]) -> str:
    """What two evaluations have to share for their scores to be compared."""
    settings = evaluation.get("evaluation")
    settings = {key: value for key, value in settings.items() if key not in ("cache", "num_points")} if isinstance(settings, dict) else {}
    return json.dumps([evaluation["data/fingerprint"], settings], sort_keys=True)


def _evaluated(run: Run, name: str) -> Run:
    sizes = {"data/train_size": run.summary.get("data/train_size")} if run.data[1] == run.evaluations[name]["data/fingerprint"] else {}
    return replace(run, summary=sizes | run.evaluations[name])
