"""The methods, one file each; `Method` says what each of them is. A new one is one Python and one YAML file (docs/extending.md)."""

from ssl_mnist.methods.base import Method

__all__ = ["Method"]
