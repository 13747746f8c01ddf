"""What a study is: something measured with probes after the last choice of all probes, beside their accuracy on the split that is shown.

A study is a node of the group `evaluation`, as a probe is. It chooses nothing by the images it is measured on.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from ssl_mnist.data import Dataset, stratified
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Fitted, Labelled
from ssl_mnist.evaluate.features import FeatureStore
from ssl_mnist.evaluate.protocol import Evaluation, fit, labelled, score_titles, suffix
from ssl_mnist.training.seeds import seed_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Outcome:
    """What a study found.

    scores: flat, for the summary; titles: of those among them that are compared, by key, as in the summary's `scores`; figures: makes
    the figures, by their names.
    """

    scores: dict[str, Any]
    titles: dict[str, dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    figures: Callable[[], "dict[str, Figure]"] = dict


@dataclass(frozen=True)
class Case:
    """What a study is measured on.

    evaluation: what the protocol found; store: features of the evaluated encoder; untrained: makes those of the same encoder before
    training; stores: makes those of any encoder on any data set; fits: as of `protocol.evaluate`; others: further data sets by name.
    """

    evaluation: Evaluation
    dataset: Dataset
    store: FeatureStore
    untrained: Callable[[], FeatureStore]
    stores: Callable[[Encoder, Dataset], FeatureStore]
    fits: Mapping[str, str]
    others: Mapping[str, Dataset]

    @property
    def split(self) -> str:
        return self.evaluation.split

    def titles(self, names: Collection[str]) -> dict[str, str]:
        """By score, without the split: the titles of these probes' scores."""
        return score_titles({name: each.probe for name, each in self.evaluation.fitted.items() if name in names}, self.store.tta)

    def scores(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """By score as `titles` has it, from what a probe's `predict` names."""
        return {f"{name}{suffix(self.store.tta)}": value for name, value in found.items()}

    def fitted(self, names: Collection[str], store: FeatureStore) -> dict[str, Fitted]:
        """These probes, fitted to an encoder's features without the labels of the images that are shown.

        Where test was not read, val is shown. The probes are refitted then, with a part of train, as large as val, in val's place.
        """
        asked = {name: each for name, each in self.evaluation.fitted.items() if name in names}
        if self.split == "test" and store is self.store:
            return asked
        probes = {name: each.probe for name, each in asked.items()}
        train, val = (labelled(self.dataset, part, store) for part in ("train", "val"))
        if self.split == "test":
            return fit(probes, train, val, store, self.fits)
        rest, part = (_part(train, index) for index in stratified(train.labels, min(len(val.labels), len(train.labels) // 2)))
        return fit(probes, rest, part, store, {name: f"{key}-without-val" for name, key in self.fits.items()})


def _part(labelled: Labelled, index: Any) -> Labelled:
    features = {name: values[index] for name, values in labelled.features.items() if name != "images"}
    return Labelled(features, labelled.labels[index], labelled.num_classes)


def before_training(encoder: Encoder, seed: int) -> Encoder:
    """The same encoder as a run of this seed begins with, frozen and where `encoder` is.

    Where training began with others' weights, random ones stand in their place.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, "initialisation"))
        found = encoder.untrained().requires_grad_(False).eval()
    found.arguments = encoder.arguments
    for mine, theirs in zip(found.parameters(), encoder.parameters(), strict=True):
        mine.data = torch.empty_like(theirs).copy_(mine)  # in the same layout, so that equal weights make equal features, to the bit
    return found.to(encoder.mean.device)


class Study:
    """Base of all studies. `name`: its key in the group `evaluation`, set by `build`; probes: the names of those it looks at."""

    name: str
    data: tuple[str, ...] = ()  # names of the other data sets it needs

    def __init__(self, probes: list[str]) -> None:
        if not probes:
            raise UserError("probes must name at least one probe of the evaluation")
        self.probes = probes

    def check(self, probes: Collection[str]) -> None:
        """Raises UserError where the evaluation does not hold its probes."""
        for name in self.probes:
            if name not in probes:
                raise UserError(f"evaluation.{self.name}.probes names {name}; the evaluation's probes are {', '.join(probes) or 'none'}")

    def run(self, case: Case) -> Outcome:
        raise NotImplementedError


def study(studies: Mapping[str, Study], case: Case) -> Evaluation:
    """The evaluation with what all studies found."""
    scores, warnings = dict(case.evaluation.scores), list(case.evaluation.warnings)
    figures = dict(case.evaluation.figures)
    for name, each in studies.items():
        found = each.run(case)
        scores |= found.scores | {"scores": scores["scores"] | found.titles}
        warnings += found.warnings
        figures[name] = found.figures
    return replace(case.evaluation, scores=scores | {"warnings": warnings}, warnings=warnings, figures=figures)
