"""What the page on results says of confused digits: the confusion matrices of a sweep's runs, into confusions.json.

python results/confusions.py outputs/sweeps/<sweep>     of runs that have a predictions.json
python results/tables.py --write                        then puts the table into docs/results.md
"""

import argparse
import json
from pathlib import Path

from ssl_mnist.compare import read
from ssl_mnist.compare.runs import Run

FILE = Path(__file__).resolve().parent / "confusions.json"
FACTS = ("data/source", "data/fingerprint", "machine/processor", "machine/cpus", "machine/threads", "machine/precision", "versions/torch")


def content(run: Run) -> dict[str, object]:
    """Of one run: what it is, and how many images of each class (row) were taken for each class (column)."""
    assert run.predictions is not None, f"{run.folder} has no predictions.json"
    kept = json.loads((run.folder / "predictions.json").read_text())
    num = len(run.summary["data/classes"])
    matrix = [[0] * num for _ in range(num)]
    for true, predicted in zip(kept["true"], kept["predicted"], strict=True):
        matrix[true][predicted] += 1
    split, score = run.predictions.split, run.predictions.score
    return {
        "method": run.method,
        "seed": run.seed,
        "identity": run.record["identity"],
        "command": run.record["command"],
        "commit": run.record["git"]["commit"],
        "split": split,
        "score": score,
        "title": run.summary["scores"][f"{split}/{score}_accuracy"]["title"],
        "accuracy": run.summary[f"{split}/{score}_accuracy"],
        "classes": run.summary["data/classes"],
        "confusion": matrix,
        **{key: run.summary[key] for key in FACTS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    runs = [content(run) for run in read(parser.parse_args().sweep).runs]
    lines = ",\n".join(json.dumps(run) for run in sorted(runs, key=lambda run: (str(run["method"]), str(run["seed"]))))
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
