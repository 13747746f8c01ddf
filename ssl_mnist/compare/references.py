"""Floors and ceilings beside a comparison: kept runs of the same data, encoder and evaluation, and the command that makes what is missing.

What has to be the same for a kept run to stand beside a sweep's run: the data; the settings of each probe; the encoder, unless the kept run
has one of its own without a parameter (raw pixels, PCA); and, where it was trained, its augmentation, optimizer, epochs, batch size and
warm-up. One with fewer probes than the sweep stands there with the scores that it has, as long as none with all is kept. Code and versions
may differ: such a reference is shown, and a note says what differs, since a floor that was measured by older code still tells more than
none, and making a ceiling again costs minutes.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import yaml

from ssl_mnist import config, references
from ssl_mnist.claim import parts_difference
from ssl_mnist.compare.reading import kept_run
from ssl_mnist.compare.runs import Run, by_size
from ssl_mnist.errors import UserError

GROUPS = ("data", "encoder", "evaluation", "augmentation", "optimizer")
UNREAD = ("evaluation.test", "evaluation.cache", "evaluation.num_points")  # change which scores there are or nothing, and no score
# Overrides that are not part of a command that makes references.
DROPPED = ("method", "seed", "tracking", "hydra", "objective", "device", "threads", "checkpoint", "compare", "experiment")


@dataclass(frozen=True)
class References:
    """What stands beside a sweep. All empty where nothing does."""

    runs: dict[str, list[Run]] = field(default_factory=dict)  # by name, a run a seed
    notes: dict[str, str] = field(default_factory=dict)  # by name: that it was made by other code or versions, and which
    missing: list[str] = field(default_factory=list)  # methods of which none with all probes is kept for `best`
    in_part: list[str] = field(default_factory=list)  # of these, those that stand there with fewer
    best: Run | None = None  # the run whose data, encoder and evaluation the command is for
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def command(self) -> str:
        """The command that makes what is missing. Composing the settings that it leads to takes half a second."""
        return _command(self.best, self.missing) if self.best and self.missing else ""

    @property
    def line(self) -> str:
        """What is missing, before the command that makes it; empty where all are there."""
        none = [name for name in self.missing if name not in self.in_part]
        said = [f"not yet made for this data, encoder and evaluation: {', '.join(none)}"] if none else []
        said += [f"evaluated with fewer probes: {', '.join(self.in_part)}"] if self.in_part else []
        return "; ".join([*said, "to make them:"]) if said else ""


def kind(run: Run) -> str:
    """ "floor" or "ceiling", or an empty text for a run that is no reference."""
    if found := run.summary.get("reference"):
        return str(found)
    return "floor" if run.settings.get("pretrain.epochs") == "0" else ""


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The methods that `experiment=references` makes."""
    content = yaml.safe_load((config.CONFIG_DIR / "experiment" / "references.yaml").read_text())
    return tuple(content["hydra"]["sweeper"]["params"]["method"].split(","))


def find(runs: list[Run], best: Run | None) -> References:
    """The kept runs that match any of a sweep's, but for methods that the sweep holds itself. best: whose references may be missing."""
    runs = [run for run in runs if run.summary["scores"]]
    if not runs or any(run.settings.get("compare.references") == "false" for run in runs):
        return References()
    warnings: list[str] = []
    swept = {run.method for run in runs}
    wanted = list({json.dumps(_what(run), sort_keys=True): run for run in runs}.values())
    kept = [run for run in _kept({run.data[1] for run in runs}, warnings) if run.method not in swept]
    matching = [run for run in kept if any(_matches(run, other) for other in wanted)]
    whole = {run.method for run in matching}
    matching += [run for run in kept if run.method not in whole and any(_matches(run, other, in_part=True) for other in wanted)]
    newest = max(runs, key=lambda run: run.record["started"])
    groups: dict[str, list[Run]] = {}
    notes: dict[str, str] = {}
    for name, group in _named(matching).items():
        stale = {run.folder: why for run in group if (why := _difference(run, newest))}
        by_seed = {run.seed: run for run in sorted(group, key=lambda run: (run.folder not in stale, run.record["started"]))}
        groups[name] = [by_seed[seed] for seed in sorted(by_seed)]
        if whys := [stale[run.folder] for run in groups[name] if run.folder in stale]:
            notes[name] = f"made with other code or versions ({whys[0]})"
    first = best or runs[0]
    alike = [
        run for run in wanted if all(_what(run)[part] == _what(first)[part] for part in ("fingerprint", "data", "encoder", "evaluation"))
    ]
    there = swept | {run.method for run in kept if any(_matches(run, other) for other in alike)}
    missing = [name for name in names() if name not in there]
    in_part = [name for name in missing if name in {run.method for run in matching} - whole]
    return References(groups, notes, missing, in_part, first, warnings)


def _kept(fingerprints: Iterable[str], warnings: list[str]) -> Iterator[Run]:
    """Those of some data sets. A file that is damaged or of something else is named in the warnings and left out."""
    for fingerprint in sorted(fingerprints):
        for path, content in references.kept(fingerprint):
            try:
                if content is None:
                    raise ValueError("is damaged, or not ours")
                yield kept_run(path, content.get("run"), content.get("summary"))
            except ValueError as error:
                warnings.append(f"the reference {path} {error}; it is left out")


# --- which of them match ----------------------------------------------------------------------------------------------------------------


def _no_result(key: str) -> bool:
    return any(key == no or key.startswith(f"{no}.") for no in (*config.NO_RESULT, *UNREAD))


def _group(run: Run, group: str) -> dict[str, Any]:
    """A group's settings that change a score, flat."""
    node = run.record["settings"].get(group)
    if not isinstance(node, Mapping):
        return {}
    return {key: value for key, value in config.flat(node, f"{group}.").items() if not _no_result(key)}


def _what(run: Run) -> dict[str, Any]:
    """What a reference has to share with a run."""
    return {group: _group(run, group) for group in (*GROUPS, "pretrain")} | {"fingerprint": run.data[1]}


def _matches(kept: Run, run: Run, in_part: bool = False) -> bool:
    """Whether a kept run may stand beside another; it may have more probes, and in part fewer."""
    ours, theirs = _what(kept), _what(run)
    same = ["fingerprint", "data"]
    if kept.summary.get("model/parameters") != 0:
        same.append("encoder")
    if kept.summary.get("pretrain/steps") != 0:
        same += ["augmentation", "optimizer", "pretrain"]
    if any(ours[part] != theirs[part] for part in same):
        return False
    have, want = (_by_probe(each["evaluation"]) for each in (ours, theirs))
    common = have.keys() & want.keys()
    return all(have[name] == want[name] for name in common) and (len(common) > 1 if in_part else common == want.keys())


def _by_probe(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Flat settings of an evaluation by probe or study; what belongs to none has the empty name."""
    found: dict[str, dict[str, Any]] = {"": {}}
    for key, value in evaluation.items():
        _, name, *rest = key.split(".", 2)
        found.setdefault(name if rest else "", {})[key] = value
    return found


def _named(runs: list[Run]) -> dict[str, list[Run]]:
    """By method and, where one was made in several ways, what tells them apart."""
    ways: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        way = {key: value for key, value in run.settings.items() if key != "seed" and not _no_result(key)}
        ways.setdefault(run.method, {}).setdefault(json.dumps(way, sort_keys=True), []).append(run)
    found: dict[str, list[Run]] = {}
    order = {name: i for i, name in enumerate(names())}
    for method in sorted(ways, key=lambda method: (order.get(method, len(order)), method)):
        groups = list(ways[method].values())
        told = zip(_telling([group[0] for group in groups]), groups, strict=True)
        for words, group in sorted(told, key=lambda pair: [by_size(word.partition("=")[2]) for word in pair[0]]):
            found.setdefault(" ".join([method, *words]), []).extend(group)
    return found


def _telling(runs: list[Run]) -> list[list[str]]:
    """For each of several runs of one method, in a few words what tells it from the others: its options first, then single settings."""
    rows = []
    for run in runs:
        choices = {group: str(run.record["choices"].get(group)) for group in GROUPS}
        rows.append(choices | {key: value for key, value in run.settings.items() if not _no_result(key) and key != "seed"})
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if len({row.get(key) for row in rows}) > 1]
    options = [key for key in keys if key in GROUPS]
    keys = [key for key in keys if key in options or key.partition(".")[0] not in options]
    return [[f"{key}={row[key]}" for key in keys[:3] if key in row] for row in rows]


def _difference(kept: Run, run: Run) -> str:
    """What code and versions differ between a kept run and one beside which it stands, of those that make its scores; else empty."""
    parts = [_code_and_versions(each.record["identity_parts"], kept) for each in (kept, run)]
    common = parts[0]["code"].keys() & parts[1]["code"].keys()
    before, now = ({"code": {key: part["code"][key] for key in sorted(common)}, "versions": part["versions"]} for part in parts)
    return "" if before == now else parts_difference(before, now)


def _code_and_versions(parts: Mapping[str, Any], kept: Run) -> dict[str, dict[str, Any]]:
    """Without files that the kept run does not use: those of other methods, of data, whose content is the same, and of training, where
    there was none."""
    module = str(kept.settings.get("method._target_", "")).rpartition(".")[0].replace(".", "/").removeprefix("ssl_mnist/")
    unused = ["data/"] if kept.summary.get("pretrain/steps") else ["data/", "augment/", "training/"]

    def used(name: str) -> bool:
        if name.startswith("methods/"):
            return name in ("methods/base.py", f"{module}.py")
        return not name.startswith(tuple(unused))

    code, versions = parts.get("code"), parts.get("versions")
    return {
        "code": {name: value for name, value in code.items() if used(name)} if isinstance(code, dict) else {},
        "versions": versions if isinstance(versions, dict) else {},
    }


# --- the command that makes them --------------------------------------------------------------------------------------------------------


def _command(run: Run, methods: list[str]) -> str:
    """The command that makes references for a run: with its data, encoder, evaluation and, for those that train, its recipe."""
    flags, words = config_flags(run), _words(run)
    if not flags:
        words = _completed(words, run)
    experiments = [*_experiments(run), "references"]
    words.insert(0, f"experiment={experiments[0]}" if len(experiments) == 1 else f"experiment=[{','.join(experiments)}]")
    if methods != list(names()):
        words.append(f"method={','.join(methods)}")
    return shlex.join(["python", "-m", "ssl_mnist", *flags, *words])


def config_flags(run: Run) -> list[str]:
    """Hydra's flags that say where settings come from, as in --config-dir <folder>."""
    names = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")
    try:
        words = shlex.split(run.record["command"])
    except ValueError:
        return []
    return [word for i, word in enumerate(words) if word.startswith(names) or (i and words[i - 1] in names)]


def _words(run: Run) -> list[str]:
    """A run's overrides that a reference shares."""
    return [word for word in run.record["overrides"] if word.lstrip("+~").partition("=")[0].partition(".")[0].split("/")[0] not in DROPPED]


def _experiments(run: Run) -> list[str]:
    """Those of a run, but for those that set nothing but Hydra's own."""
    named = str(run.record["choices"].get("experiment") or "").strip("[]")
    found = []
    for name in filter(None, named.split(",")):
        try:
            content = yaml.safe_load((config.CONFIG_DIR / "experiment" / f"{name.strip()}.yaml").read_text())
        except (OSError, yaml.YAMLError):  # of the user's own
            content = None
        if content is None or set(content) - {"hydra"}:
            found.append(name.strip())
    return found


def _completed(words: list[str], run: Run) -> list[str]:
    """The overrides, and what else it takes for the settings of a reference to be the run's: an option, as a method may choose another
    augmentation, or single settings."""
    experiment = [f"experiment=[{','.join(_experiments(run))}]"]
    try:
        composed = config.compose(*experiment, *words, "method=supervised")
        for group in GROUPS:
            option = run.record["choices"].get(group)
            if option and option != composed["choices"][group] and f"{group}={option}" not in words:
                words = [f"{group}={option}", *words]
        composed = config.compose(*experiment, *words, "method=supervised")
    except UserError:  # options of the user's own, which only the sweep's command knows
        return words
    for group in (*GROUPS, "pretrain"):
        there = config.flat(composed[group], f"{group}.")
        words = [*words, *(f"{k}={_value(v)}" for k, v in _group(run, group).items() if k in there and there[k] != v)]
    return words


def _value(value: Any) -> str:
    """As Hydra's grammar takes it."""
    return json.dumps(value, separators=(",", ":"))
