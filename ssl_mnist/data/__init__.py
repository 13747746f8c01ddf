"""Data sets as uint8 images with the protocol's three splits, and where their files come from."""

from ssl_mnist.data.arrays import arrays
from ssl_mnist.data.download import DataNotFound, data_folder
from ssl_mnist.data.folder import image_folder
from ssl_mnist.data.mnist import find_mnist, mnist
from ssl_mnist.data.packaged import digits_8x8, packaged_5k
from ssl_mnist.data.public import public
from ssl_mnist.data.spec import Dataset, ImageSpec, KnownSpec, Split, as_float, fingerprint
from ssl_mnist.data.splits import class_counts, describe, draw, examples, random_part, sizes, steps_per_epoch, stratified
from ssl_mnist.data.stored import Images, batches, chunks

__all__ = [
    "DataNotFound",
    "Dataset",
    "ImageSpec",
    "Images",
    "KnownSpec",
    "Split",
    "arrays",
    "as_float",
    "batches",
    "chunks",
    "class_counts",
    "data_folder",
    "describe",
    "digits_8x8",
    "draw",
    "examples",
    "find_mnist",
    "fingerprint",
    "image_folder",
    "mnist",
    "packaged_5k",
    "public",
    "random_part",
    "sizes",
    "steps_per_epoch",
    "stratified",
]
