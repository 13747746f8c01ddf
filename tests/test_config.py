"""The YAML files: each composes, builds and runs a step; each stands by the rules of the house."""

import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from conftest import REPOSITORY, command
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ssl_mnist import compose, optim
from ssl_mnist.data import as_float
from ssl_mnist.pipeline import CONFIG_DIR

FACTS = {"channels": 1, "size": 28, "mean": [0.1307], "std": [0.3081]}
GROUPS = ("method", "encoder", "augmentation", "optimizer")
OPTIONS = [f"{path.parent.name}={path.stem}" for group in GROUPS for path in sorted((CONFIG_DIR / group).glob("*.yaml"))]
EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_builds_and_learns(option):
    """One optimizer step on one batch moves the encoder's weights and lowers nothing to NaN."""
    cfg = compose(option)
    torch.manual_seed(0)
    encoder = instantiate(cfg.encoder, **FACTS)
    method = instantiate(cfg.method, encoder=encoder)
    augmentation = instantiate(cfg.augmentation, channels=1)
    optimizer, _ = optim.build(instantiate(cfg.optimizer), method, num_steps=10, warmup_steps=1)
    images = as_float(torch.randint(256, (16, 1, 28, 28), dtype=torch.uint8))
    before = [p.clone() for p in encoder.parameters()]
    terms = method(images, tuple(augmentation(images) for _ in range(method.num_views)))
    assert all(value.ndim == 0 and value.isfinite() for value in terms.values())
    terms["loss"].backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


@pytest.mark.parametrize("path", sorted(CONFIG_DIR.glob("data/*.yaml")), ids=lambda path: path.stem)
def test_every_data_set_composes(path):
    cfg = compose(f"data={path.stem}")
    assert cfg.data.facts.channels == len(cfg.data.facts.mean) == len(cfg.data.facts.std)
    assert callable(getattr(import_module("ssl_mnist.data"), cfg.data._target_.rpartition(".")[2]))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_invents_no_key(name):
    """Struct mode guards the command line alone: a key misspelt in an experiment's file would be added in silence."""

    def keys(node, prefix=""):
        return {f"{prefix}{k}" for k in node} | {x for k, v in node.items() if isinstance(v, dict) for x in keys(v, f"{prefix}{k}.")}

    own = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / "experiment" / f"{name}.yaml"))
    chosen = {key: value for default in own.pop("defaults", []) if isinstance(default, dict) for key, value in default.items()}
    swept = own.pop("hydra", {}).get("sweeper", {}).get("params", {})
    default = compose(*(f"{key.removeprefix('override /')}={value}" for key, value in chosen.items()))
    assert keys(own) | set(swept) <= keys(OmegaConf.to_container(default))
    if "override /method" not in chosen:
        assert "method" not in own and not any(key.startswith("method.") for key in swept)
    compose(f"experiment={name}")


def test_search_tunes_settings_that_exist():
    """Named by the parameters of the search's own file; its storage lies in the sweep's folder and it never looks at test."""
    search = OmegaConf.load(CONFIG_DIR / "search" / "optuna.yaml")
    default = compose()
    assert all(OmegaConf.select(default, key) is not None for key in search.hydra.sweeper.params)
    assert "${hydra.sweep.dir}" in OmegaConf.to_container(search)["hydra"]["sweeper"]["storage"]
    assert default.objective.startswith("val/")


def test_experiment_beats_method_and_command_line_beats_both():
    assert compose().choices.augmentation == "warp" and compose("method=autoencoder").choices.augmentation == "digits"
    assert compose("method=autoencoder", "augmentation=none").choices.augmentation == "none"
    assert compose("method=rotation", "experiment=smoke").pretrain.epochs == compose("experiment=smoke").pretrain.epochs
    assert compose("method=rotation", "experiment=smoke", "pretrain.epochs=9").pretrain.epochs == 9
    assert compose("experiment=[smoke]").data == compose("data=mnist_5k").data


def test_hyperparameters_have_no_default_in_python():
    """YAML is the one place where a number stands."""

    def targets(node):
        if isinstance(node, dict):
            yield from ([node["_target_"]] if "_target_" in node else [])
            for value in node.values():
                yield from targets(value)

    found = {t for path in CONFIG_DIR.rglob("*.yaml") for t in targets(OmegaConf.to_container(OmegaConf.load(path)))}
    ours = {target for target in found if target.startswith("ssl_mnist.")}
    assert len(ours) > 10
    for target in ours:
        module, _, name = target.rpartition(".")
        parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
        assert all(parameter.default is parameter.empty for parameter in parameters), target


def test_only_the_pipeline_knows_hydra():
    pattern = re.compile(r"^\s*(import|from) (hydra|omegaconf)", re.M)
    knowing = {path.name for path in (REPOSITORY / "ssl_mnist").rglob("*.py") if pattern.search(path.read_text())}
    assert knowing == {"pipeline.py"}


def test_importing_the_pipeline_loads_no_torch():
    code = "import sys, ssl_mnist, ssl_mnist.pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_help_names_groups_options_and_examples(tmp_path):
    text = command("--help", cwd=tmp_path).stdout
    for option in OPTIONS:
        group, name = option.split("=")
        assert re.search(rf"^{group}: .*\b{name}\b", text, re.M)
    assert text.count("python -m ssl_mnist") == 4
