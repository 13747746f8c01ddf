"""The linear probe of the embedding that a run keeps in its folder."""

from pathlib import Path

import torch
from torch import Tensor

from ssl_mnist.checkpoint import encoder_hash
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.kept import Kept, features_key, fit_key, identity_of
from ssl_mnist.files import RUN, SUMMARY, read_json

LINEAR = "ssl_mnist.evaluate.linear.Linear"


def kept_probe(folder: Path, encoder: Encoder) -> dict[str, Tensor]:
    """mean and std (D,) of the embedding, weight (K, D) and bias (K,): the linear probe that was fitted to a run's encoder.

    The one that the run itself fitted, or, where it kept none, the newest one that `python -m ssl_mnist.evaluate` fitted to the same
    encoder and data. Raises UserError where there is none.
    """
    try:
        run, summary = read_json(folder / RUN), read_json(folder / SUMMARY)
    except (OSError, ValueError):
        raise UserError(f"{folder} is not the folder of a complete run, so it has no linear probe") from None
    evaluation = run["settings"]["evaluation"]
    name = next((key for key, node in evaluation.items() if isinstance(node, dict) and node.get("_target_") == LINEAR), None)
    if name is None or encoder.spec.classes is None:
        raise UserError(f"{folder} has no linear probe: " + ("its images have no labels" if name else "its evaluation fits none"))
    if evaluation["tta"]:
        raise UserError(f"the linear probe of {folder} is of shifted copies' mean (evaluation.tta={evaluation['tta']}), not of an image")
    identity = identity_of(encoder_hash(encoder), summary["data/fingerprint"], summary["data/train_size"])
    fit = fit_key(evaluation[name], run["identity_parts"]["code"], run["settings"]["seed"], run["settings"]["precision"])
    own = f"{name}-{features_key(identity, 0, run['resolved']['device'])}-{fit}"
    later = [path for kind in ("cpu", "cuda", "mps") for path in (folder / "probes").glob(f"{name}-{features_key(identity, 0, kind)}-*.pt")]
    kept = Kept(folder / "probes", "probes")
    for file in [own, *(path.stem for path in sorted(later, key=lambda path: path.stat().st_mtime, reverse=True))]:
        if isinstance(content := kept.read(file, torch.device("cpu")), dict):
            return content["tensors"]
    raise UserError(f"{folder} keeps no linear probe; python -m ssl_mnist.evaluate {folder} fits one")
