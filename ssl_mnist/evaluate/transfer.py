"""Transfer: the frozen encoder probed on other data sets, each by the whole protocol with that data set's own splits.

Nothing is downloaded for it: a data set whose files are not there is left out.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.data import Dataset, Images, Split, chunks
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.protocol import evaluate
from ssl_mnist.evaluate.study import Case, Outcome, Study


class Transfer(Study):
    """Probes fitted to other data sets. data: options of the group `data`."""

    def __init__(self, probes: list[str], data: list[str]) -> None:
        super().__init__(probes)
        if not data or len(set(data)) < len(data):
            raise UserError(f"data must name other data sets, each once, got {data}")
        self.data = tuple(data)

    def run(self, case: Case) -> Outcome:
        scores: dict[str, Any] = {}
        declared: dict[str, dict[str, Any]] = {}
        warnings: list[str] = []
        probes = {name: each.probe for name, each in case.evaluation.fitted.items() if name in self.probes}
        for name in self.data:
            if name not in case.others:
                continue
            other = case.others[name]
            try:
                found = evaluate(probes, other, case.stores(case.store.encoder, other), case.split == "test", case.fits)
            except UserError as error:  # such as too few images of a class
                warnings.append(f"{self.name} to {name}: {error}")
                continue
            num = {"val": len(other.val), found.split: len(found.shown)}
            for key, about in found.scores["scores"].items():
                split, _, score = key.partition("/")
                here = f"{split}/{score.removesuffix('_accuracy')}_on_{name}_accuracy"
                scores[here] = found.scores[key]
                declared[here] = about | {"title": f"{about['title']}, on {name}", "num_images": num[split]}
            scores |= {f"data/{name}/source": other.name, f"data/{name}/fingerprint": other.fingerprint}
            if other.note:
                scores[f"data/{name}/note"] = other.note
            warnings += [f"on {name}: {warning}" for warning in found.warnings]
        return Outcome(scores, declared, warnings)


def suited(dataset: Dataset, own: Dataset) -> Dataset:
    """A data set as an encoder of another one can take it: where its images are of another size they are resized, and its note says so.

    own: the encoder's. Raises UserError where the encoder cannot take it, or where there is nothing to transfer.
    """
    if dataset.fingerprint == own.fingerprint:
        raise UserError("it is the data set that was evaluated")
    if dataset.spec.classes is None:
        raise UserError("its images have no labels")
    if dataset.spec.channels != own.spec.channels:
        raise UserError(f"its images have {dataset.spec.channels} channels, the encoder takes {own.spec.channels}")
    size = (own.spec.height, own.spec.width)
    if (dataset.spec.height, dataset.spec.width) == size:
        return dataset

    def fit(split: Split) -> Split:
        return Split(resized(split.images, *size), split.labels)

    said = f"images of {dataset.spec.height} x {dataset.spec.width} pixels, resized to {size[0]} x {size[1]}"
    return replace(
        dataset,
        spec=replace(dataset.spec, height=size[0], width=size[1]),
        train=fit(dataset.train),
        val=fit(dataset.val),
        read_test=lambda: fit(dataset.read_test()),
        note="; ".join(filter(None, [dataset.note, said])),
    )


def resized(images: Images, height: int, width: int) -> Tensor:
    """Images (N, C, h, w) uint8 -> (N, C, height, width) uint8, bilinear, without aliasing where they become smaller."""
    size = (height, width)
    parts = [F.interpolate(part.float(), size, mode="bilinear", antialias=True).round_().byte() for part in chunks(images, 1000)]
    return torch.cat(parts)
