"""Settings: composed from YAML and the command line, checked, and what of them makes a result.

Settings are plain nested dicts. A constructor's signature is the schema of a node with a `_target_`; the rest is known from config.yaml.
"""

import difflib
import hashlib
import inspect
import json
import sys
import threading
import types
import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from ssl_mnist.errors import UserError

_HERE = Path(__file__).resolve().parent
# In a wheel conf/ lies inside the package, in a checkout beside it.
CONFIG_DIR = next(folder for folder in (_HERE / "conf", _HERE.parent / "conf") if (folder / "config.yaml").is_file())

GROUPS = ("data", "encoder", "augmentation", "method", "optimizer", "evaluation")
BUILT = ("spec", "encoder", "device")  # arguments that `build` passes to constructors
POSITIVE = sys.float_info.min
RANGES: dict[str, tuple[float, float]] = {  # inclusive
    "seed": (0, 2**32 - 1),
    "pretrain.epochs": (0, 1_000_000),
    "pretrain.batch_size": (2, 1_000_000),
    "pretrain.warmup": (0, 1),
    "pretrain.log_every": (1, 1_000_000),
    "health.every_epochs": (0, 1_000_000),
    "health.num_images": (50, 10_000),
    "health.num_pairs": (50, 10_000),
    "optimizer.lr": (POSITIVE, 1_000_000),
    "optimizer.weight_decay": (0, 1_000_000),
    "optimizer.momentum": (0, 1),
    "checkpoint.every_seconds": (0, 1_000_000),
    "devices": (1, 1024),
    "evaluation.tta": (0, 4),
    "evaluation.num_points": (50, 10_000),
}
KNOWN_MODULES = ("ssl_mnist", "torch", "torchvision", "lightly", "timm", "sklearn")  # whose classes a `_target_` may name
CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "32", "bf16-mixed"),
    "pretrain.keep": ("last", "best_knn", "best_rankme"),
    "tracking.mode": ("auto", "online", "offline", "disabled"),
}
# Settings that change no score. `device`, `precision` and the data's place enter an identity as what they became.
NO_RESULT = (
    *("tracking", "checkpoint", "compare", "allow_targets", "choices", "overrides", "objective", "open"),
    *("device", "devices", "precision", "threads", "pretrain.log_every", "evaluation.cache", "evaluation.num_points"),
    *("health.num_pairs", "health.stop_on_collapse"),
    *("data._target_", "data.root", "data.fallback", "data.path", "data.cache", "data.device_limit_gb", "data.allow_broken", "data.known"),
)
# Code that makes no result: what reads, draws, sends or says it.
NO_RESULT_CODE = (
    *("compare/", "explore/", "export/", "pages/", "plots/", "report/", "api.py", "claim.py", "cli.py", "config.py", "console.py"),
    *("errors.py", "estimator.py", "figures.py", "files.py", "intervals.py", "jobs.py", "record.py", "references.py", "search.py"),
    *("tracking.py", "__init__.py", "__main__.py", "data/convert.py", "evaluate/__main__.py", "evaluate/errors.py"),
    *("evaluate/layers.py", "evaluate/kept.py", "evaluate/project.py"),
    *("training/launch.py", "training/state.py", "training/stops.py"),
)

_composing = threading.Lock()  # Hydra's state is the process's


def compose(*overrides: str) -> dict[str, Any]:
    """The settings that the command line `python -m ssl_mnist <overrides>` would run with.

    Raises UserError for an option or a key that does not exist.
    """
    from ssl_mnist.errors import explained

    with _composing:
        state = GlobalHydra.instance()
        outer, state.hydra = state.hydra, None  # Hydra does not nest by itself
        try:
            with explained(), hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
                cfg = hydra.compose("config", list(overrides), return_hydra_config=True)
                return settings_of(cfg, cfg.hydra)
        finally:
            state.hydra = outer


def settings_of(cfg: DictConfig, job: Any) -> dict[str, Any]:
    """Hydra's config as settings; `choices` holds the option that each group was chosen by. job: Hydra's own config."""
    ours = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    settings = typing.cast(dict[str, Any], OmegaConf.to_container(ours, resolve=True))
    for key in ("choices", "overrides"):  # names of ours
        if key in settings:
            raise UserError(_no_setting(key))
    overrides = list(job.overrides.task)
    experiments = [override.partition("=")[2] for override in overrides if override.lstrip("+").startswith("experiment=")]
    chosen = {group: job.runtime.choices.get(group) for group in GROUPS}
    method = settings.get("method")
    if isinstance(method, dict) and isinstance(method.get("encoder"), dict) and "_target_" in method["encoder"]:
        # A method that brings its encoder with it; with `override /encoder` in its YAML file encoder= on the command line would replace it.
        settings["encoder"], chosen["encoder"] = method.pop("encoder"), job.runtime.choices.get("encoder@method.encoder")
    return settings | {"choices": chosen | {"experiment": experiments[-1] if experiments else None}, "overrides": overrides}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of nested dicts by its dotted key; a list is a value, and so is an empty dict."""
    pairs: dict[str, Any] = {}
    for key, value in tree.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return pairs


# --- checks -----------------------------------------------------------------------------------------------------------------------------


def check_names(settings: Mapping[str, Any]) -> None:
    """That every top-level setting is one. Raises UserError; imports nothing that the settings name."""
    known = _known()
    for key, value in settings.items():
        if key in ("choices", "overrides"):
            continue
        if key in (*GROUPS, "experiment") and (not isinstance(value, dict) or key in value or key == "experiment"):
            option = settings["choices"].get(key)
            raise UserError(f"{key}={option} sets nothing: the first line of its YAML file must be '# @package _global_'")
        if key not in known and key not in GROUPS:
            raise UserError(_no_setting(key))


def check(settings: Mapping[str, Any]) -> None:
    """Types, ranges and names of all settings, wherever they come from. Raises UserError with one line that names the key.

    Imports what the `_target_`s name, and so torch, but reads no data.
    """
    check_names(settings)
    known = _known()
    for key in (*known, *GROUPS):
        if key not in settings:
            raise UserError(f"{key} cannot be removed")
        if isinstance(settings[key], dict) and not isinstance(known.get(key, {}), dict):
            inner = next(iter(settings[key]), "...")
            raise UserError(f"{key} is a plain value like {known[key]}, and holds no settings such as {key}.{inner}")
    for key in ("pretrain", "health", "checkpoint", "compare", "tracking"):
        if not isinstance(settings[key], dict):
            raise UserError(f"{key} holds settings of its own, such as {key}.{next(iter(known[key]))}, and cannot be {settings[key]!r}")
        _check_keys(key, settings[key], known[key])
    for key, kind in {"seed": int, "devices": int, "objective": str, "open": bool}.items():
        if type(settings[key]) is not kind:
            raise UserError(f"{key} must be {_words(kind)} like {known[key]}, got {settings[key]!r}")
    for key, value in flat(settings).items():
        if value == "???":
            raise UserError(f"{key} has to be given, as in {key}=<{'file' if key.endswith('path') else 'folder'}>")
    _check_modules(settings)
    for group in (group for group in GROUPS if group != "evaluation"):
        if "_target_" not in settings[group]:
            raise UserError(
                f"{group}={settings['choices'].get(group)} has no _target_; where its YAML file sets more than {group}.*, its first line "
                "must be '# @package _global_'"
            )
        _check_target(group, settings[group])
    _check_node("evaluation", settings["evaluation"], known["evaluation"])
    values = flat(settings)
    for key, allowed in CHOICES.items():
        if str(values[key]) not in allowed:
            raise UserError(f"{key} must be one of {', '.join(allowed)}, got {values[key]}")
    for key, (low, high) in RANGES.items():
        value = values.get(key)
        if value is not None and not low <= value <= high:
            bounds = f"at most {high:g}" if value > high else "above 0" if low == POSITIVE else f"at least {low:g}"
            raise UserError(f"{key} must be {bounds}, got {value}")
    if settings["pretrain"]["keep"] != "last" and not settings["health"]["every_epochs"]:
        raise UserError(f"pretrain.keep={settings['pretrain']['keep']} goes by what health measures; set health.every_epochs above 0")
    threads = settings["threads"]
    if threads != "auto" and (type(threads) is not int or not 1 <= threads <= 1024):
        raise UserError(f"threads must be auto or a whole number above 0, got {threads!r}")


def _check_modules(settings: Mapping[str, Any]) -> None:
    """That each `_target_` is of a module that is known or allowed; nothing is imported before."""
    allowed = settings["allow_targets"]
    if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
        raise UserError(f"allow_targets must be a list of modules like [my_methods], got {allowed!r}")
    for key, value in flat(settings).items():
        if key != "overrides" and isinstance(value, list) and any("_target_" in str(item) for item in value):
            raise UserError(f"{key} holds a _target_ in a list; a _target_ is the value of a key of its own")
        if key.rpartition(".")[2] != "_target_" or not isinstance(value, str):
            continue
        module = value.partition(".")[0]
        if module not in (*KNOWN_MODULES, *allowed):
            raise UserError(f"{key}={value} would run the code of {module}; if you trust it, 'allow_targets=[{module}]' allows that")


@lru_cache(maxsize=1)
def _known() -> dict[str, Any]:
    """The keys outside constructors, with a value of their type, from config.yaml and evaluation/settings.yaml."""
    config = yaml.safe_load((CONFIG_DIR / "config.yaml").read_text())
    known = {key: value for key, value in config.items() if key not in ("defaults", "hydra")}
    return known | {"evaluation": yaml.safe_load((CONFIG_DIR / "evaluation" / "settings.yaml").read_text())}


def _check_keys(where: str, node: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """That a node has the known keys, no others, and values of their types."""
    for key, value in node.items():
        if key not in known:
            raise UserError(_no_setting(f"{where}.{key}"))
        like = known[key]
        expected = (str | int | float | None) if like is None else (list if isinstance(like, list) else type(like))
        if not _fits(value, expected):
            raise UserError(f"{where}.{key} must be {_words(expected)}{f' like {like}' if like not in (None, []) else ''}, got {value!r}")
    for key in known:
        if key not in node:
            raise UserError(f"{where}.{key} cannot be removed")


def _check_node(where: str, node: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """A node that holds plain settings beside named objects."""
    objects = {key: value for key, value in node.items() if isinstance(value, dict)}
    _check_keys(where, {key: value for key, value in node.items() if key not in objects}, known)
    if not objects:
        raise UserError(f"{where} holds no probe; evaluation=standard has the default ones")
    for key, value in objects.items():
        _check_target(f"{where}.{key}", value)


def _check_target(where: str, node: Mapping[str, Any]) -> None:
    """That a node's settings are arguments of its `_target_`, of their annotated types, and that none is missing."""
    target = _import(where, node.get("_target_"))
    optimizer = where.rpartition(".")[2] == "optimizer"  # made later, with the parameters
    parameters = inspect.signature(target).parameters
    if open_ended := any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        parameters = {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}  # type: ignore[assignment]
    hints = _hints(target)
    for key, value in node.items():
        if key == "_target_" or (key == "_partial_" and optimizer):
            continue
        if key.startswith("_"):
            raise UserError(f"{where}.{key} is a word of Hydra's own and cannot be set")
        if isinstance(value, dict) and "_target_" not in value and _takes_dict(hints.get(key)):
            continue
        if isinstance(value, dict):
            if key not in parameters and not open_ended:
                raise UserError(_no_setting(f"{where}.{key}", parameters))
            _check_target(f"{where}.{key}", value)
            continue
        if key not in parameters or key in BUILT:
            raise UserError(_no_setting(f"{where}.{key}", [name for name in parameters if name not in BUILT]))
        if not _fits(value, hints.get(key, Any)):
            raise UserError(f"{where}.{key} must be {_words(hints[key])}, got {value!r}")
    missing = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and name not in node and name not in BUILT and p.kind is not p.VAR_POSITIONAL and not optimizer
    ]
    if missing:
        raise UserError(f"{where}.{missing[0]} is missing; it cannot be removed")


def _takes_dict(hint: Any) -> bool:
    """Whether a plain dict can be passed where this is annotated."""
    return any(typing.get_origin(kind) is dict for kind in (hint, *typing.get_args(hint)))


def _import(where: str, target: Any) -> Any:
    if not isinstance(target, str) or "." not in target:
        raise UserError(f"{where}._target_ must name a class, such as ssl_mnist.methods.simclr.SimCLR, got {target!r}")
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if not (error.name and module.startswith(error.name)):
            raise  # a module that is there and imports one that is not
        raise UserError(f"{where}._target_={target}: there is no module {error.name}; is its folder on PYTHONPATH?") from error
    except AttributeError as error:
        raise UserError(f"{where}._target_={target}: {module} has no {name}") from error
    library = module.partition(".")[0] in set(KNOWN_MODULES) - {"ssl_mnist"}  # whose functions may do anything, such as torch.hub.load
    if not callable(found) or isinstance(found, types.BuiltinFunctionType) or (library and not isinstance(found, type)):
        raise UserError(f"{where}._target_={target} is not a class")
    return found


def _hints(target: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.getattr_static(target, "__init__") if isinstance(target, type) else target)
    except (NameError, TypeError):  # annotations of a library that cannot be resolved: its own checks remain
        return {}


def _fits(value: Any, expected: Any) -> bool:
    """Whether a YAML value can be passed where `expected` is annotated; a whole number is a number, a list serves as any sequence."""
    if expected in (Any, inspect.Parameter.empty):
        return True
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if expected is None or expected is types.NoneType:
        return value is None
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, list):
            return False
        if origin is tuple and Ellipsis not in arguments:
            return len(value) == len(arguments) and all(map(_fits, value, arguments))
        return all(_fits(each, arguments[0]) for each in value) if arguments else True
    if expected is float:
        return type(value) in (int, float)
    if expected in (int, bool, str, list):
        return type(value) is expected
    return isinstance(value, dict)  # a class: a node of its own


def _words(expected: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list", types.NoneType: "null"}
    if expected in names:
        return names[expected]
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(argument) for argument in arguments if argument in names or typing.get_origin(argument)) or "another type"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        kinds = {int: "whole numbers", float: "numbers", str: "texts"}
        inner = next((kinds[a] for a in arguments if a in kinds), "numbers")
        return f"a list of {len(arguments)} {inner}" if origin is tuple and Ellipsis not in arguments else f"a list of {inner}"
    return "another type"


def _no_setting(key: str, siblings: Sequence[str] | Mapping[str, Any] = ()) -> str:
    """What to say of a setting that does not exist: where it comes with another option, or the nearest that exists."""
    known: dict[str, list[str]] = {}  # key -> the options it comes with
    for path in CONFIG_DIR.rglob("*.yaml"):
        group = ".".join(path.relative_to(CONFIG_DIR).parent.parts)
        content = yaml.safe_load(path.read_text()) or {}
        if group in ("evaluation.probe", "evaluation.study"):
            prefix = f"evaluation.{path.stem}."
        elif group in ("data.spec", "data.kind"):
            prefix = "data.spec."
        elif group.startswith("augmentation."):
            prefix = "augmentation."
        else:
            prefix = "" if group in ("", "method", "experiment", "search") else f"{group}."
        if path.stem == "settings":
            prefix = "evaluation."
        content = {k: v for k, v in content.items() if k not in ("defaults", "hydra", "_target_")}
        for leaf in flat(content, prefix):
            parts = leaf.split(".")
            for i in range(len(parts)):
                known.setdefault(".".join(parts[: i + 1]), []).append(f"{group.replace('.', '/')}={path.stem}")
    if key in known:
        return f"there is no setting {key} here; it comes with {' or '.join(dict.fromkeys(known[key]))}"
    parent, _, name = key.rpartition(".")
    candidates = [*known, *(f"{parent}.{sibling}" for sibling in siblings)]
    same_name = [candidate for candidate in candidates if candidate.rpartition(".")[2] == name]
    near = same_name[:1] or difflib.get_close_matches(key, candidates, n=1, cutoff=0.7)
    return f"there is no setting {key}" + (f"; did you mean {near[0]}?" if near else "; --cfg job shows all there are")


# --- identity ---------------------------------------------------------------------------------------------------------------------------


def identity(settings: Mapping[str, Any], device: str, precision: str, data: str, threads: int, devices: int = 1) -> dict[str, Any]:
    """What makes a result, and its hash: settings that change a score, code, data fingerprint, versions, device type and precision.

    Returns `identity` (16 hex digits), `identity_parts`, and `resolved`, what `auto` became.
    """
    without = (*NO_RESULT, "health") if settings["pretrain"]["keep"] == "last" else NO_RESULT  # else health says which epoch is evaluated
    kept = {key: value for key, value in flat(settings).items() if not any(key == no or key.startswith(f"{no}.") for no in without)}
    timm = ("timm",) if settings["encoder"]["_target_"].endswith(".Timm") else ()
    parts = {
        "settings": kept,
        "code": code_hashes(settings),
        "data": data,
        "versions": {name: version(name) for name in ("torch", "torchvision", "lightly", "scikit-learn", *timm)},
        "device": device,
        "precision": precision,
        **({"devices": devices} if devices > 1 else {}),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "identity": digest,
        "identity_parts": parts,
        "resolved": {"device": device, "precision": precision, "threads": threads, "devices": devices},
    }


def code_hashes(settings: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each source file that makes a result: the package's, and those of `_target_`s outside it and the known libraries."""
    files = {str(path.relative_to(_HERE)): path for path in sorted(_HERE.rglob("*.py"))}
    files = {name: path for name, path in files.items() if not any(name == no or name.startswith(no) for no in NO_RESULT_CODE)}
    for key, value in flat(settings).items():
        if key.endswith("_target_") and str(value).split(".")[0] not in KNOWN_MODULES:
            source = inspect.getsourcefile(import_module(str(value).rpartition(".")[0]))
            if source:
                files[str(value).rpartition(".")[0]] = Path(source)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for name, path in files.items()}
