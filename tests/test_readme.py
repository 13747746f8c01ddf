"""What the README tells a user to type."""

import re
import shlex
import sys
import types

import torch
from conftest import METHODS, REPOSITORY
from hydra.utils import instantiate

from ssl_mnist import compose

README = (REPOSITORY / "README.md").read_text()


def block(language: str, path: str) -> str:
    """The README's code block that begins with a comment naming `path`."""
    found = re.search(rf"```{language}\n# {re.escape(path)}\n(.*?)```", README, re.S)
    assert found, path
    return found[1]


def test_the_worked_method_works(tmp_path, monkeypatch):
    """Its Python file and its YAML file, as printed, make a method that learns; nothing else is needed."""
    module = types.ModuleType("ssl_mnist.methods.vicreg")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(block("python", "ssl_mnist/methods/vicreg.py"), module.__dict__)
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "vicreg.yaml").write_text(block("yaml", "conf/method/vicreg.yaml"))
    cfg = compose("method=vicreg", f"hydra.searchpath=[file://{tmp_path}]")
    torch.manual_seed(0)
    method = instantiate(cfg.method, encoder=instantiate(cfg.encoder, channels=1, size=28, mean=[0.1], std=[0.3]))
    optimizer = torch.optim.Adam(method.parameters(), 1e-3)
    images = torch.rand(64, 1, 28, 28)
    views = images, (images + 0.1 * torch.rand_like(images)).clamp(0, 1)
    losses = []
    for _ in range(10):
        loss = method(images, views)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_every_override_in_the_readme_composes():
    """And the cookbook's, a command's words together; of a sweep, the first values of all keys, then the second ones, and so on.

    Hydra's own settings are its own, and VICReg is not there yet.
    """
    text = README + (REPOSITORY / "docs" / "cookbook.md").read_text()
    commands = re.findall(r"python -m ssl_mnist (?:-m )?((?:'?[~+]?[\w./]+=[^\n`#]+))", text)
    assert len(commands) >= 20
    for words in commands:
        columns = []
        for word in shlex.split(words):
            key, _, values = word.partition("=")
            if key.lstrip("+").startswith("hydra") or "vicreg" in word or "<" in word or "=" not in word:
                continue
            columns.append([f"{key}={value}" for value in ([values] if values.startswith("[") else values.split(","))])
        for i in range(max(map(len, columns), default=0)):
            compose(*(column[min(i, len(column) - 1)] for column in columns))


def test_the_tree_names_every_file():
    names = {path.name for path in (REPOSITORY / "ssl_mnist").glob("*.py") if not path.name.startswith("__")}
    tree = README[README.index("## The code") : README.index("## Add a method")]
    assert all(name in tree for name in names), names
    assert all(f"`{method}`" in README for method in METHODS)
