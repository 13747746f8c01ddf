"""The YAML files: each composes, builds and learns a step; what cannot be is named, wherever it is set; and what makes a result."""

import ast
import copy
import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest
import torch
import yaml
from conftest import METHODS, REFERENCES, REPOSITORY, TINY, command, experiment, settings

from ssl_mnist import compose, config
from ssl_mnist.build import make_optimizer
from ssl_mnist.config import CONFIG_DIR, GROUPS, flat, identity
from ssl_mnist.data import as_float
from ssl_mnist.errors import UserError
from ssl_mnist.methods.base import losses

BUILDING = ("method", "encoder", "augmentation", "optimizer", "evaluation")
OPTIONS = [f"{group}={path.stem}" for group in BUILDING for path in sorted((CONFIG_DIR / group).glob("*.yaml")) if path.stem != "settings"]
EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))
# Tested in test_references.py: what has nothing to learn, or learns from labels.
OPTIONS = [option for option in OPTIONS if option.partition("=")[2] not in (*REFERENCES, "pixels")]
SLOW = {"encoder=resnet50": pytest.mark.slow}  # options whose optimizer step takes more than 5 s


@pytest.mark.parametrize("option", [pytest.param(option, marks=SLOW.get(option, ())) for option in OPTIONS])
def test_every_option_builds_and_learns(option):
    """One optimizer step on one batch moves the encoder's weights and makes nothing NaN."""
    if option == "encoder=timm":
        pytest.importorskip("timm")
    built = experiment(*(["evaluation.few_labels.num_labels=[20]"] if option.endswith(("standard", "full")) else []),
                       *(["evaluation.few_labels_tuned_on_val.num_labels=[20]"] if option.endswith("full") else []), option)  # fmt: skip
    images = as_float(built.dataset.train.images[:16])
    before = [p.clone() for p in built.encoder.parameters()]
    with torch.no_grad():
        views = tuple(built.augmentation(images) for _ in range(built.method.num_views))
    terms = losses(built.method, images, views, built.device.autocast())
    assert all(value.ndim == 0 for value in terms.values()) and terms["loss"].isfinite()
    terms["loss"].backward()
    built.optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, built.encoder.parameters(), strict=True))
    assert all(p.isfinite().all() for p in built.encoder.parameters())


@pytest.mark.parametrize("path", sorted(CONFIG_DIR.glob("data/*.yaml")), ids=lambda path: path.stem)
def test_every_data_set_composes(path):
    place = {"image_folder": ["data.root=x"], "arrays": ["data.path=x"]}.get(path.stem, [])
    composed = compose(f"data={path.stem}", *place)
    config.check(composed)
    spec = composed["data"]["spec"]
    if spec["_target_"].endswith("ImageSpec"):
        assert spec["channels"] == len(spec["mean"]) == len(spec["std"])
    assert callable(getattr(import_module("ssl_mnist.data"), composed["data"]["_target_"].rpartition(".")[2]))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_checked(name):
    """And what it sweeps is a setting of every job."""
    composed = compose(f"experiment={name}")
    config.check(composed)
    own = yaml.safe_load((CONFIG_DIR / "experiment" / f"{name}.yaml").read_text())
    swept = own.get("hydra", {}).get("sweeper", {}).get("params", {})
    assert set(swept) <= {*flat(composed), *GROUPS}
    assert composed["choices"]["experiment"] == name
    if "override /method" not in {key for default in own.get("defaults", []) for key in default}:
        assert "method" not in own and not any(key.startswith("method.") for key in swept)


def test_search_tunes_settings_that_exist():
    """Its storage lies in the sweep's folder and it does not read test; nor does the ablation."""
    search = yaml.safe_load((CONFIG_DIR / "search" / "optuna.yaml").read_text())
    default = compose("+search=optuna", "method=simclr")
    config.check(default)
    assert set(search["hydra"]["sweeper"]["params"]) <= set(flat(default))
    assert "${hydra.sweep.dir}" in search["hydra"]["sweeper"]["storage"]
    assert default["objective"].startswith("val/") and default["evaluation"]["test"] is False
    assert compose("experiment=leave_one_augmentation_out")["evaluation"]["test"] is False and compose()["evaluation"]["test"] is True


def test_experiment_beats_method_and_command_line_beats_both():
    assert compose()["augmentation"] == compose("augmentation=warp")["augmentation"]
    assert compose("method=autoencoder")["augmentation"] == compose("method=autoencoder", "augmentation=digits")["augmentation"]
    assert compose("data=cifar10")["augmentation"] == compose("augmentation=natural")["augmentation"]
    assert compose("data=cifar10", "data/kind=digits")["augmentation"] == compose("augmentation=warp")["augmentation"]
    assert compose("method=autoencoder", "augmentation=none")["choices"]["augmentation"] == "none"
    assert compose("method=autoencoder")["pretrain"]["epochs"] == 5
    assert compose("method=rotation", "experiment=smoke")["pretrain"]["epochs"] == compose("experiment=smoke")["pretrain"]["epochs"] == 8
    assert compose("method=rotation", "experiment=smoke", "pretrain.epochs=9")["pretrain"]["epochs"] == 9
    assert compose("experiment=[smoke]")["data"] == compose("data=mnist_5k")["data"]


def test_settings_are_plain():
    """Dicts, lists and values, which json and a deep copy take; composing within a job of Hydra's leaves it as it was."""

    def plain(node):
        return type(node) in (dict, list, str, int, float, bool, type(None)) and all(
            map(plain, node.values() if isinstance(node, dict) else node if isinstance(node, list) else [])
        )

    assert plain(compose("experiment=best", "optimizer.lr=1e-2"))
    assert compose("optimizer.lr=1e-2")["optimizer"]["lr"] == 0.01 and compose("seed=3")["overrides"] == ["seed=3"]


# --- what cannot be ---------------------------------------------------------------------------------------------------------------------


def refused(*overrides):
    with pytest.raises(UserError) as caught:
        config.check(compose("data=mnist_5k", *overrides))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "override,message",
    {
        "+pretrain.epoch=1": "there is no setting pretrain.epoch; did you mean pretrain.epochs?",
        "+sead=1": "there is no setting sead; did you mean seed?",
        "+optimizer.learning=1": "there is no setting optimizer.learning",
        "+augmentation.affine.degreees=1": "there is no setting augmentation.affine.degreees; did you mean augmentation.affine.degrees?",
        "+evaluation.knn.kk=1": "there is no setting evaluation.knn.kk; did you mean evaluation.knn.k?",
        "+evaluation.ttta=1": "there is no setting evaluation.ttta; did you mean evaluation.tta?",
        "+data.spec.hight=1": "there is no setting data.spec.hight; did you mean data.spec.height?",
        "+encoder.spec=1": "there is no setting encoder.spec",
        "+tracking.teem=a": "there is no setting tracking.teem",
        "+optimizer.momentum=0.5": "there is no setting optimizer.momentum here; it comes with optimizer=",
        "+method._convert_=all": "method._convert_ is a word of Hydra's own and cannot be set",
        "~evaluation.knn.k": "evaluation.knn.k is missing; it cannot be removed",
        "~pretrain.warmup": "pretrain.warmup cannot be removed",
        "~encoder": "encoder cannot be removed",
    }.items(),
)
def test_an_unknown_key_of_the_command_line_is_named(override, message):
    assert refused(override).startswith(message)


MODULE, NO_MODULE = "ssl_mnist.methods.rotation", "ssl_mnist.methods.nothing"
FLIP = "_target_: ssl_mnist.augment.Augmentation\nomit: null\nflip:\n  _target_: ssl_mnist.augment.HorizontalFlip\n"
PACKAGE = "# @package _global_\n"
USERS_FILES = {  # file -> its content, words of the command line, message
    "experiment/mine.yaml": (
        ("pretrain:\n  epoch: 3\n", "", "there is no setting pretrain.epoch; did you mean pretrain.epochs?"),
        ("pretrain:\n  epochs: many\n", "", "pretrain.epochs must be a whole number like 10, got 'many'"),
        ("optimizer:\n  lr: 1e-3\n", "optimizer.lr=-1", "optimizer.lr must be above 0, got -1"),
        ("seed: '1'\n", "", "seed must be a whole number like 0, got '1'"),
        ("objective: 3\n", "", "objective must be a text like val/linear_accuracy, got 3"),
        ("encoder:\n  widths: 3\n", "", "encoder.widths must be a list of whole numbers, got 3"),
        ("evaluation:\n  knn:\n    k: 2.5\n", "", "evaluation.knn.k must be a whole number, got 2.5"),
        ("devise: cpu\n", "", "there is no setting devise; did you mean device?"),
    ),
    "method/mine.yaml": (
        ("method:\n  target: x\n", "", "method=mine has no _target_"),
        ("method:\n  _target_: torch.hub.load\n  repo_or_dir: x\n", "", "method._target_=torch.hub.load is not a class"),
        ("method:\n  _target_: antigravity.X\n", "", "method._target_=antigravity.X would run the code of antigravity; if you trust it"),
        (f"method:\n  _target_: {NO_MODULE}.X\n", "", f"method._target_={NO_MODULE}.X: there is no module {NO_MODULE}; is its folder on"),
        (f"method:\n  _target_: {MODULE}.Rotatio\n", "", f"method._target_={MODULE}.Rotatio: {MODULE} has no Rotatio"),
    ),
    "augmentation/mine.yaml": (
        (f"{FLIP}  p: often\n", "", "augmentation.flip.p must be a number, got 'often'"),
        (FLIP, "", "augmentation.flip.p is missing; it cannot be removed"),
    ),
}
USERS = [
    (file, ("" if file.startswith("augmentation") else PACKAGE) + content, words, message)
    for file, cases in USERS_FILES.items()
    for content, words, message in cases
]
SETS_NOTHING = "sets nothing: the first line of its YAML file must be '# @package _global_'"
USERS += [
    ("experiment/mine.yaml", "pretrain:\n  epochs: 3\n", "", f"experiment=mine {SETS_NOTHING}"),
    ("method/mine.yaml", f"method:\n  _target_: {MODULE}.Rotation\n", "", f"method=mine {SETS_NOTHING}"),
]


@pytest.mark.parametrize("way", ["searchpath", "config-dir"])
@pytest.mark.parametrize("file,content,words,message", USERS, ids=[f"{one[0]}-{i}" for i, one in enumerate(USERS)])
def test_a_file_of_the_users_is_checked_like_ours(file, content, words, message, way, tmp_path, monkeypatch, capsys):
    """From a folder on Hydra's search path, and from --config-dir; YAML's 1e-3, a text, included."""
    path = tmp_path / "mine" / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    words = f"{path.parent.name}=mine {words}"
    if way == "searchpath":
        assert refused(f"hydra.searchpath=[file://{tmp_path / 'mine'}]", *words.split()).startswith(message)
        return
    from ssl_mnist import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ssl_mnist", "--config-dir", "mine", "data=mnist_5k", *words.split()])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert str(caught.value.code).startswith(f"ssl_mnist: {message}")
    assert not (tmp_path / "outputs").exists()


def test_a_users_experiment_is_used(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\npretrain:\n  epochs: 3\n")
    composed = compose(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    config.check(composed)
    assert composed["pretrain"]["epochs"] == 3 and composed["choices"]["experiment"] == "mine"


def test_ranges_hold_at_both_ends():
    default = settings()
    checked = 0
    for key, (low, high) in config.RANGES.items():
        *parents, name = key.split(".")

        def with_value(value, parents=parents, name=name):
            changed = copy.deepcopy(default)
            node = changed
            for parent in parents:
                node = node[parent]
            if name not in node:
                return None
            kind = type(node[name])
            node[name] = value if kind is float else int(value)
            return changed

        step = 1 if key != "pretrain.warmup" and not key.startswith("optimizer") else 0.5
        if with_value(low) is None:
            continue
        checked += 1
        for value in (low, high):
            config.check(with_value(value))
        with pytest.raises(UserError, match=f"^{re.escape(key)} must be at most"):
            config.check(with_value(high + step))
        with pytest.raises(UserError, match=f"^{re.escape(key)} must be (at least|above)"):
            config.check(with_value(low - step))
    assert checked >= len(config.RANGES) - 1  # adamw has no momentum
    for key in ("optimizer.lr", "optimizer.weight_decay", "pretrain.warmup"):
        assert refused(f"{key}=nan").startswith(f"{key} must be ")
        assert refused(f"{key}=inf").startswith(f"{key} must be at most ")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", "many", "1025"])
def test_threads_are_auto_or_a_number(value):
    assert refused(f"threads={value}").startswith("threads must be auto or a whole number above 0, got ")


# --- rules of the house -----------------------------------------------------------------------------------------------------------------


def test_hyperparameters_have_no_default_in_python():
    """YAML is the one place where a number stands."""

    def targets(node):
        if isinstance(node, dict):
            yield from ([node["_target_"]] if "_target_" in node else [])
            for value in node.values():
                yield from targets(value)

    found = {t for path in CONFIG_DIR.rglob("*.yaml") for t in targets(yaml.safe_load(path.read_text()))}
    ours = {target for target in found if target.startswith("ssl_mnist.")} - {"ssl_mnist.cli.Folders"}
    assert len(ours) > 15
    for target in ours:
        module, _, name = target.rpartition(".")
        parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
        assert all(parameter.default is parameter.empty for parameter in parameters), target


def imports_of(path):
    """(top-level module, whether it stands outside a function) of every import in a file."""
    tree = ast.parse(path.read_text())
    inner = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            yield name.partition(".")[0], id(node) not in inner


def test_only_jobs_config_and_build_know_hydra():
    """errors.py names Hydra's exceptions, and imports them when one is to be explained."""
    knowing: dict[bool, set[str]] = {True: set(), False: set()}
    for path in (REPOSITORY / "ssl_mnist").rglob("*.py"):
        for name, outside in imports_of(path):
            if name in ("hydra", "omegaconf"):
                knowing[outside].add(str(path.relative_to(REPOSITORY / "ssl_mnist")))
    assert knowing[True] == {"jobs.py", "config.py", "build.py"}
    assert knowing[False] == {"errors.py"}


@pytest.mark.parametrize(
    "module", ["ssl_mnist", "ssl_mnist.cli", "ssl_mnist.config", "ssl_mnist.record", "ssl_mnist.pipeline", "ssl_mnist.compare"]
)
def test_importing_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit(' '.join({{'torch', 'sklearn', 'wandb', 'matplotlib'}} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_help_names_groups_options_and_examples(tmp_path):
    """Those of --config-dir too; no torch is loaded for it."""
    (tmp_path / "mine" / "encoder").mkdir(parents=True)
    (tmp_path / "mine" / "encoder" / "tiny.yaml").write_text("")
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    text = command("--help", cwd=tmp_path).stdout
    for option in (*OPTIONS, "data=mnist_5k", "experiment=smoke", *(f"method={name}" for name in (*METHODS, *REFERENCES))):
        group, name = option.split("=")
        assert re.search(rf"^{group}: .*\b{name}\b", text, re.M), option
    assert re.search(r"^\+search: optuna$", text, re.M) and re.search(r"^\+evaluation/probe: .*\bknn\b", text, re.M)
    assert "settings" not in text.partition("Examples")[0] and not re.search(r"\btiny\b", text)
    assert text.count("python -m ssl_mnist ") + text.count("python -m ssl_mnist\n") == 4
    for words in (("--config-dir", "mine"), ("--config-dir=mine",), ("-cd", "mine")):
        assert re.search(r"^encoder: conv, conv_deep, mlp, .*\btiny\b", command("--help", *words, cwd=tmp_path).stdout, re.M), words


def test_the_version_is_said(tmp_path):
    from ssl_mnist import __version__

    assert command("--version", cwd=tmp_path).stdout == f"ssl_mnist {__version__}\n"


# --- identity ---------------------------------------------------------------------------------------------------------------------------


def identity_of(*overrides, device="cpu", precision="32", data="d", threads=1):
    return identity(settings(*overrides), device, precision, data, threads)


@pytest.mark.parametrize(
    "override",
    ["seed=1", "optimizer.lr=1e-2", "pretrain.epochs=3", "pretrain.batch_size=64", "pretrain.warmup=0", "encoder=mlp", "augmentation=none",
     "augmentation.affine.degrees=3.0", "method=rotation", "evaluation=quick", "evaluation.knn.k=5", "evaluation.tta=1",
     "evaluation.test=false", "data.spec.mean=[0.5]", "data.num_val=400", "pretrain.keep=best_rankme"],
)  # fmt: skip
def test_what_changes_a_score_is_in_the_identity(override):
    assert identity_of(override)["identity"] != identity_of()["identity"]


@pytest.mark.parametrize(
    "override",
    ["tracking.mode=disabled", "tracking.name=x", "objective=val/knn_accuracy", "device=cpu", "precision=32", "threads=2",
     "pretrain.log_every=5", "evaluation.cache=false", "evaluation.num_points=60", "hydra.run.dir=elsewhere",
     "health.every_epochs=0", "health.num_images=60", "health.stop_on_collapse=true"],
)  # fmt: skip
def test_what_changes_no_score_is_not(override):
    assert identity_of(override)["identity"] == identity_of()["identity"]


def test_what_chooses_the_epoch_that_is_evaluated_is_in_the_identity():
    best = identity_of("pretrain.keep=best_knn")["identity"]
    for override, same in {"num_images=60": False, "every_epochs=2": False, "num_pairs=60": True, "stop_on_collapse=true": True}.items():
        assert (identity_of("pretrain.keep=best_knn", f"health.{override}")["identity"] == best) is same, override


def test_the_identity_holds_what_auto_became_and_where_it_ran():
    default = identity_of()
    assert re.fullmatch("[0-9a-f]{16}", default["identity"])
    for other in ({"device": "cuda"}, {"precision": "bf16-mixed"}, {"data": "other"}):
        assert identity_of(**other)["identity"] != default["identity"]
    assert identity_of(threads=7)["identity"] == default["identity"]
    assert identity_of(threads=7)["resolved"] == {"device": "cpu", "precision": "32", "threads": 7, "devices": 1}
    libraries = {"torch", "torchvision", "lightly", "scikit-learn"}
    assert set(default["identity_parts"]["versions"]) == libraries
    assert set(identity_of("encoder=timm")["identity_parts"]["versions"]) == {*libraries, "timm"}
    roots = [identity(compose(f"data.root={root}"), "cpu", "32", "d", 1)["identity"] for root in ("/a", "/b")]
    assert roots[0] == roots[1]


def test_the_code_that_makes_a_result_is_in_the_identity(tmp_path, monkeypatch):
    """A file's content, not its date; neither the console's nor the figures'."""
    import shutil

    copy_of = tmp_path / "ssl_mnist"
    shutil.copytree(REPOSITORY / "ssl_mnist", copy_of, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(config, "_HERE", copy_of)
    before = identity_of()
    names = set(before["identity_parts"]["code"])
    assert {"methods/simclr.py", "training/loop.py", "evaluate/linear.py", "augment/pixel.py", "data/splits.py", "build.py"} <= names
    assert not names & {"cli.py", "console.py", "plots/grids.py", "tracking.py", "record.py", "compare/report.py", "evaluate/project.py"}
    (copy_of / "methods" / "simclr.py").touch()
    for name in ("console.py", "plots/grids.py", "report/page.py", "compare/report.py"):
        (copy_of / name).write_text((copy_of / name).read_text() + "# more\n")
    assert identity_of()["identity"] == before["identity"]
    for name in ("methods/simclr.py", "evaluate/knn.py", "training/loop.py"):
        (copy_of / name).write_text((copy_of / name).read_text() + "# more\n")
        after = identity_of()
        assert after["identity"] != before["identity"]
        changed = {key for key, value in after["identity_parts"]["code"].items() if value != before["identity_parts"]["code"][key]}
        assert changed == {name}
        before = after


def test_the_code_of_a_users_class_is_in_the_identity(tmp_path, monkeypatch):
    source = tmp_path / "their_encoders.py"
    source.write_text("from ssl_mnist.encoders import MLP\nclass Mine(MLP):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ("encoder=mlp", "encoder._target_=their_encoders.Mine", "allow_targets=[their_encoders]")
    before = identity_of(*words)
    assert "their_encoders" in before["identity_parts"]["code"]
    source.write_text(source.read_text() + "# more\n")
    assert identity_of(*words)["identity"] != before["identity"]


def test_an_override_of_blanks_is_one_line_too():
    with pytest.raises(UserError) as error:
        compose("\n")
    assert str(error.value).startswith("'\\n' cannot be read") and "\n" not in str(error.value)


def test_a_target_in_a_list_is_refused_before_it_is_imported():
    with pytest.raises(UserError, match=r"optimizer\.betas holds a _target_ in a list"):
        config.check(compose("optimizer.betas=[{_target_: antigravity.f}, 0.9]"))
    assert "antigravity" not in sys.modules


def test_what_is_allowed_and_how_many_devices_were_asked_for_are_no_part_of_the_identity():
    assert identity_of("allow_targets=[x]", "devices=2")["identity"] == identity_of()["identity"]


def test_an_optimizer_that_refuses_its_settings_is_named():
    with pytest.raises(UserError, match=r"the optimizer refuses its settings: .*; see optimizer\.\*"):
        experiment("optimizer.betas=[0.9,1.5]")
    with pytest.raises(UserError, match=r"optimizer\._target_ must be a torch\.optim\.Optimizer"):
        make_optimizer(lambda groups: None, experiment().method, 1, 0)


def test_tiny_is_what_it_says():
    assert compose(*TINY)["pretrain"]["epochs"] == 0 and set(compose(*TINY)["evaluation"]) >= {"linear", "knn", "test"}


def test_what_comes_after_training_is_not_imported_before_it():
    """scikit-learn and matplotlib take a second and a half that the first step need not wait for."""
    code = """
import sys, ssl_mnist.config
ssl_mnist.config.check(ssl_mnist.compose())
import ssl_mnist.build, ssl_mnist.training.loop
print(*({"sklearn", "matplotlib"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
