"""What the tests share: no key and no cache of the user's, the full MNIST where $SSL_MNIST_DATA names it, one SPEC, one TINY, one build."""

import functools
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from ssl_mnist import compose, config, console
from ssl_mnist.build import Experiment, build
from ssl_mnist.data import Dataset, ImageSpec, Split
from ssl_mnist.training.device import Device

REPOSITORY = Path(__file__).resolve().parents[1]
REFERENCES = ("raw_pixels", "pca", "untrained", "supervised")  # floors and ceilings, which are no pretraining
METHODS = sorted({path.stem for path in (REPOSITORY / "conf" / "method").glob("*.yaml")} - set(REFERENCES))
SPEC = ImageSpec(channels=1, height=28, width=28, mean=[0.1307], std=[0.3081], classes=[str(i) for i in range(10)], label_changing=[])
CPU = Device.choose("cpu", "32")
torch.set_num_threads(1)  # two processes share the tests out, and most of their time is imports and small products

TINY = ("experiment=smoke", "pretrain.epochs=0", "evaluation=quick", "evaluation.linear.l2=[1.0e-3]", "evaluation.num_points=50",
        "evaluation.cache=false", "tracking.mode=disabled")  # fmt: skip


def noise(num: int = 130, spec: ImageSpec = SPEC) -> Dataset:
    """A data set of noise, every class in each split."""
    draw = torch.Generator().manual_seed(0)

    def split(size: int) -> Split:
        images = torch.randint(256, (size, spec.channels, spec.height, spec.width), dtype=torch.uint8, generator=draw)
        return Split(images, torch.arange(size) % len(spec.classes))

    test = split(40)
    return Dataset("noise", spec, split(num), split(40), lambda: test, "0" * 16, None)


@functools.lru_cache(maxsize=64)
def settings(*overrides: str) -> dict[str, Any]:
    """Settings of the command line `data=mnist_5k <overrides>`; not to be changed."""
    composed = compose("data=mnist_5k", *overrides)
    config.check(composed)
    return composed


def experiment(*overrides: str, dataset: Dataset | None = None) -> Experiment:
    """`build` on the CPU, on noise unless another data set is given."""
    return build(settings("pretrain.batch_size=20", "evaluation=quick", *overrides), CPU, dataset or noise())


def isolate(folder: Path) -> dict[str, str]:
    """Environment variables under which nothing of the user's is read or written, and nothing outside this machine is reached."""
    wandb = {f"WANDB_{name}_DIR": str(folder / "wandb" / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # refuses: a download fails at once
    fonts = {"MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "matplotlib"))}  # found once, not once a test
    homes = {"XDG_CACHE_HOME": str(folder / "cache"), "NETRC": str(folder / "netrc")}
    return wandb | proxies | fonts | homes | {"no_proxy": "127.0.0.1,localhost"}


FORGET = (
    *(name for name in os.environ if name.startswith("WANDB_")),
    "SSL_MNIST_DATA",
    "SSL_MNIST_REFERENCES",
    "HYDRA_FULL_ERROR",
    "SSL_MNIST_NUM_JOBS",
    "SSL_MNIST_SWEEP",
    "SSL_MNIST_PARENT",
)
FULL_MNIST = os.environ.get("SSL_MNIST_DATA")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path):
    for name in FORGET:
        monkeypatch.delenv(name, raising=False)
    for name, value in isolate(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(console, "_place", None)
    root = logging.getLogger()  # which Hydra configures in a process that runs the command
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def command(*arguments: str, cwd: Path, wait: bool = True, module: str = "ssl_mnist", **variables: str) -> Any:
    """`python -m ssl_mnist <arguments>` as a user runs it, from `cwd`: what came of it, or, without wait, the running process."""
    env = {k: v for k, v in os.environ.items() if k not in FORGET} | isolate(cwd / "home")
    path = os.pathsep.join(filter(None, [variables.pop("PYTHONPATH", None), str(REPOSITORY)]))
    words = [sys.executable, "-m", module, *arguments]
    env |= {"PYTHONPATH": path, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} | variables
    if not wait:
        return subprocess.Popen(words, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The shared sweep takes a minute: what looks at it is slow. What is left to the night is slow too."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if "sweep" in getattr(item, "fixturenames", ()) or marks & {"nightly", "fuzz", "documents"}:
            item.add_marker(pytest.mark.slow)
        if marks & {"fuzz", "documents"}:
            item.add_marker(pytest.mark.nightly)
    items.sort(key=lambda item: not item.get_closest_marker("slow"))  # the long ones first, so that no worker waits for one at the end


@pytest.fixture(scope="session")
def sweep(tmp_path_factory, worker_id) -> list[Path]:
    """The folders of one multirun of all methods on the packaged digits, in the methods' order, W&B offline; made once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    folder = shared / "sweep" / "all"
    with FileLock(shared / "sweep.lock"):
        if not folder.is_dir():
            folder.parent.mkdir()
            result = command("-m", f"method={','.join(METHODS)}", "experiment=smoke", "hydra.sweep.dir=all", cwd=folder.parent)
            assert result.returncode == 0, result.stdout + result.stderr
    return [folder / f"{i}-{method}" for i, method in enumerate(METHODS)]


TIMES = {"pretrain/images_per_second", "pretrain/seconds", "evaluate/seconds", "seconds"}


def without_times(rows):
    """Rows of metrics or summaries, without what two runs of one identity do not share."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    if FULL_MNIST and (Path(FULL_MNIST) / "MNIST" / "raw").is_dir():
        return Path(FULL_MNIST)
    pytest.skip("the full MNIST is not here; SSL_MNIST_DATA tells where it is")


def pytest_terminal_summary(terminalreporter):
    """Of the tests marked faults: how many faults there were, and how many were survived."""
    survived = tried = 0
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call" and "faults" in report.keywords:
                num = int(dict(report.user_properties).get("faults", 1))
                tried += num
                survived += num if outcome == "passed" else 0
    if tried:
        terminalreporter.write_line(f"faults survived / tried: {survived} / {tried}")
