"""Which encoders a page shows, and the data they were trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ssl_mnist import config
from ssl_mnist.errors import UserError
from ssl_mnist.files import ENCODER, RUN, read_json, run_folders

if TYPE_CHECKING:
    from ssl_mnist.data import Dataset
    from ssl_mnist.training.device import Device

PLACES = ("root", "path", "cache")  # settings of a data set that say where its files are


class Explored(NamedTuple):
    """A run that keeps its encoder."""

    name: str  # of its method, in a sweep of its configuration
    folder: Path
    record: dict[str, Any]  # run.json

    @property
    def reads_test(self) -> bool:
        return bool(self.record["settings"]["evaluation"]["test"])

    @property
    def fingerprint(self) -> str:
        return str(self.record["identity_parts"]["data"])


def find(path: Path) -> tuple[list[Explored], list[str]]:
    """The run in a folder, or of each configuration of a sweep the run with the first seed; and what of the sweep is left out.

    Raises UserError for a folder that is neither, in which no run keeps an encoder, or whose runs are on different data.
    """
    if (path / RUN).is_file():
        if not (path / ENCODER).is_file():
            raise UserError(f"{path} holds no {ENCODER}; name the folder of a run that came to its evaluation")
        return [_run(path)], []
    if not path.is_dir() or not any(run_folders(path)):
        raise UserError(f"{path} is neither the folder of a run nor of a sweep: there is no {RUN} in it")

    from ssl_mnist.compare.reading import read
    from ssl_mnist.compare.runs import configurations

    finished = read(path).runs
    kept = [run for run in finished if (run.folder / ENCODER).is_file()]
    if not kept:
        raise UserError(f"none of the {len(finished)} finished runs in {path} keeps its {ENCODER}")
    different = sorted({" ".join(run.data) for run in kept})
    if len(different) > 1:
        raise UserError(
            f"the runs in {path} are on different data ({', '.join(different)}); name a run, or a folder of runs on the same data"
        )
    found = [Explored(name, runs[0].folder, runs[0].record) for name, runs in configurations(kept).items()]
    left_out = [] if len(kept) == len(finished) else [f"{len(finished) - len(kept)} of {len(finished)} runs, which keep no {ENCODER}"]
    if len(kept) > len(found):
        left_out.append(f"{len(kept) - len(found)} runs with further seeds")
    return found, left_out


def _run(folder: Path) -> Explored:
    try:
        record = read_json(folder / RUN)
        found = Explored(record["choices"]["method"], folder, record)
        _ = found.reads_test, found.fingerprint
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / RUN} is damaged and cannot be read") from error
    return found


def read_data(run: Explored, overrides: Sequence[str], device: "Device") -> "Dataset":
    """The data that a run was trained on, from where its files are today.

    overrides: such as data.root=<folder>, which say where that is. Raises UserError where other data are found there.
    """
    from ssl_mnist.build import make_dataset

    for override in overrides:
        if override.partition("=")[0] not in [f"data.{place}" for place in PLACES]:
            raise UserError(f"{override} cannot be set here; data.root, data.path and data.cache say where the data are")
    today = config.compose(f"data={run.record['choices']['data']}", *overrides)["data"]
    place = {key: today[key] for key in PLACES if today.get(key) not in (None, "???")}
    dataset = make_dataset({"data": run.record["settings"]["data"] | place}, device)
    if dataset.fingerprint != run.fingerprint:
        raise UserError(
            f"{run.folder} was trained on other data than is found now: fingerprint {run.fingerprint}, not {dataset.fingerprint} "
            f"({dataset.name}); data.root=<folder> says where its data are"
        )
    return dataset


def settings_of(run: Explored, reads_test: bool) -> dict[str, Any]:
    """The run's settings, of whose evaluation the linear probe of the embedding remains: its own, or that of evaluation=quick.

    Embeddings are of the image itself (tta=0), as the encoder in the page computes them.
    """
    settings = run.record["settings"]
    own: Mapping[str, Any] = settings["evaluation"]
    linear = own.get("linear") or config.compose("evaluation=quick")["evaluation"]["linear"]
    evaluation = {"test": reads_test, "tta": 0, "cache": own["cache"], "linear": linear}
    return settings | {"choices": run.record["choices"], "overrides": [], "evaluation": evaluation}
