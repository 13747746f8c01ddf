"""Data sets as uint8 tensors on the device, with the protocol's three splits, and where their files come from."""

from ssl_mnist.data.mnist import DataNotFound, find_mnist, mnist, mnist_folder
from ssl_mnist.data.packaged import packaged_5k
from ssl_mnist.data.spec import Dataset, ImageSpec, Split, as_float, fingerprint
from ssl_mnist.data.splits import class_counts, describe, draw, one_of_each_class, sizes, steps_per_epoch, stratified

__all__ = [
    "DataNotFound",
    "Dataset",
    "ImageSpec",
    "Split",
    "as_float",
    "class_counts",
    "describe",
    "draw",
    "find_mnist",
    "fingerprint",
    "mnist",
    "mnist_folder",
    "one_of_each_class",
    "packaged_5k",
    "sizes",
    "steps_per_epoch",
    "stratified",
]
