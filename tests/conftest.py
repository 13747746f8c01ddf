"""What the tests share: no key and no cache of the user's, real MNIST where it lies, and one sweep that many tests look at."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
METHODS = sorted(path.stem for path in (REPOSITORY / "conf" / "method").glob("*.yaml"))


def isolate(folder: Path) -> dict[str, str]:
    """Environment variables under which nothing of the user's is read or written, and nothing outside this machine is reached."""
    wandb = {f"WANDB_{name}_DIR": str(folder / "wandb" / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # refuses: a download fails at once
    fonts = {"MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "matplotlib"))}  # found once, not once a test
    homes = {"XDG_CACHE_HOME": str(folder / "cache"), "NETRC": str(folder / "netrc")}
    return wandb | proxies | fonts | homes | {"no_proxy": "127.0.0.1,localhost"}


FORGET = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "SSL_MNIST_DATA", "HYDRA_FULL_ERROR")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path):
    for name in FORGET:
        monkeypatch.delenv(name, raising=False)
    for name, value in isolate(tmp_path / "home").items():
        monkeypatch.setenv(name, value)


TINY = ("experiment=smoke", "pretrain.epochs=0", "probe.num_points=50", "probe.l2=[1.0e-3]", "tracking.mode=disabled")


def command(*arguments: str, cwd: Path, wait: bool = True, **variables: str) -> Any:
    """`python -m ssl_mnist <arguments>` as a user runs it, from `cwd`: what came of it, or, without wait, the running process."""
    env = {k: v for k, v in os.environ.items() if k not in FORGET} | isolate(cwd / "home") | {"PYTHONPATH": str(REPOSITORY)} | variables
    words = [sys.executable, "-m", "ssl_mnist", *arguments]
    if not wait:
        return subprocess.Popen(words, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> list[Path]:
    """The folders of one multirun of all methods on the packaged digits, in the methods' order, W&B offline."""
    cwd = tmp_path_factory.mktemp("sweep")
    result = command("-m", f"method={','.join(METHODS)}", "experiment=smoke", "hydra.sweep.dir=all", cwd=cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    return sorted((folder for folder in (cwd / "all").iterdir() if folder.is_dir()), key=lambda folder: int(folder.name.split("-")[0]))


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    for root in (os.environ.get("SSL_MNIST_DATA"), REPOSITORY.parent / "shared" / "data" / "mnist"):
        if root and (Path(root) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
            return Path(root)
    pytest.skip("the full MNIST is not here; SSL_MNIST_DATA tells where it is")
