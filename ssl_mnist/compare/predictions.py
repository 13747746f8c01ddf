"""A run's predictions.json: what its first probe said of each image, as counts of errors."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class Predictions(NamedTuple):
    split: str  # of the images
    score: str  # of the probe
    num: int  # images
    errors: Counter[tuple[int, int]]  # images by their true and their predicted class

    def between(self, first: int, second: int) -> int:
        """Images of either class that were taken for the other."""
        return self.errors[first, second] + self.errors[second, first]


def read_predictions(path: Path, num_classes: int) -> Predictions:
    """Raises ValueError, in words that go on from the file's name, where the file cannot be used, OSError where it cannot be read."""
    if not path.is_file():
        raise ValueError("is not a file")
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError("is cut short or not JSON") from error
    if not isinstance(content, dict) or content.get("split") not in ("test", "val") or not isinstance(content.get("score"), str):
        raise ValueError("does not say whose predictions it holds")
    true, predicted = (content.get(key) for key in ("true", "predicted"))
    if not isinstance(true, list) or not isinstance(predicted, list) or len(true) != len(predicted) or not true:
        raise ValueError("does not hold two equally long lists")
    pairs = Counter(zip(true, predicted, strict=True)) if all(type(label) is int for label in (*true, *predicted)) else Counter()
    if not pairs or not all(0 <= label < num_classes for pair in pairs for label in pair):
        raise ValueError("holds numbers that are no classes of the data")
    errors = Counter({pair: num for pair, num in pairs.items() if pair[0] != pair[1]})
    return Predictions(content["split"], content["score"], len(true), errors)
