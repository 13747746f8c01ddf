"""What an evaluation keeps in the run's folder, so that nothing is computed twice: features and fitted probes.

A file belongs to one key, a hash of all that its content depends on; removing it costs only the time to compute it again.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_mnist.files import atomic_save

log = logging.getLogger(__name__)


def identity_of(encoder: str, data: str, num_train: int) -> str:
    """What features are of: the encoder's hash, the data's fingerprint, the number of training images."""
    return f"{encoder}/{data}/{num_train}"


def features_key(identity: str, tta: int, device: str) -> str:
    """Of a split's features. device: its type."""
    return hashlib.sha256(f"{identity}/{tta}/{device}".encode()).hexdigest()[:16]


def fit_key(probe: Any, code: Mapping[str, str], seed: int, precision: Any) -> str:
    """Of what a fitted probe depends on besides the features: its settings, the code's hashes, the run's seed and precision."""
    content = {"code": code, "seed": seed, "precision": precision, "probe": probe}  # fine-tuning computes in the run's precision
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class Kept:
    """Files of tensors in a folder, `<name>-<key>.pt`. folder: None where nothing is kept."""

    def __init__(self, folder: Path | None, what: str) -> None:
        """what: the plural noun of the warnings."""
        self.folder, self.what = folder, what

    def read(self, name: str, device: torch.device) -> Any:
        """What the file holds, its tensors on a device; None where there is none, or a torn or foreign one."""
        path = None if self.folder is None else self.folder / f"{name}.pt"
        if path is None or not path.is_file():
            return None
        try:
            return torch.load(path, map_location=device, weights_only=True)
        except Exception:  # whatever a torn or foreign file makes torch say
            log.warning("WARNING %s cannot be read; its %s are computed again", path, self.what)
        return None

    def write(self, name: str, content: Any) -> None:
        """Whole or not at all; where the disk refuses, a warning, and nothing more is kept."""
        if self.folder is None:
            return
        path = self.folder / f"{name}.pt"
        try:
            path.parent.mkdir(exist_ok=True)
            atomic_save(content, path)
        except OSError as error:
            log.warning("WARNING %s are not kept: %s cannot be written (%s)", self.what, path, error.strerror)
            self.folder = None
