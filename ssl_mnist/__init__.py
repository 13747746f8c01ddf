"""Self-supervised learning on MNIST: pretrain an encoder without labels, freeze it, probe it, compare.

Everything public is imported on first use, so that `import ssl_mnist` and `python -m ssl_mnist --help` load no torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_mnist.api import Result, embed, run
    from ssl_mnist.checkpoint import load_encoder
    from ssl_mnist.config import compose
    from ssl_mnist.errors import UserError
    from ssl_mnist.estimator import SSLTransformer

try:
    __version__ = version("ssl_mnist")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "Result": "api",
    "SSLTransformer": "estimator",
    "UserError": "errors",
    "compose": "config",
    "embed": "api",
    "load_encoder": "checkpoint",
    "run": "api",
}
__all__ = ["Result", "SSLTransformer", "UserError", "__version__", "compose", "embed", "load_encoder", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ssl_mnist' has no attribute {name!r}")
    return getattr(import_module(f"ssl_mnist.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
