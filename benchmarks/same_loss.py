"""Whether each method's loss is the same, to the bit, as in another revision: what a refactor must leave alone.

    python benchmarks/same_loss.py REV [overrides, as on the command line]

REV is checked out in a temporary worktree. In both trees each method runs one epoch of `experiment=smoke` on one thread, logging every
step, and the columns `pretrain/loss` are compared exactly. Prints a line a method; the status is 1 where one differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
RUN = ["experiment=smoke", "pretrain.epochs=1", "pretrain.log_every=1", "tracking.mode=disabled", "threads=1", "device=cpu", "precision=32"]
CHEAP = ["evaluation=quick", "evaluation.linear.l2=[1.0e-3]", "evaluation.num_points=50", "evaluation.cache=false"]  # after the last step


def losses(tree: Path, method: str, folder: Path, overrides: list[str]) -> list[float]:
    """The loss of each step of a run of the code in `tree`."""
    words = [sys.executable, "-m", "ssl_mnist", f"method={method}", *RUN, *CHEAP, *overrides, f"hydra.run.dir={folder}"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    result = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"method={method} fails in {tree}:\n{result.stdout}{result.stderr}")
    return [json.loads(line)["pretrain/loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def compare(method: str, before: list[float], now: list[float]) -> bool:
    """Say whether the losses are the same, and where they first differ."""
    if before == now:
        print(f"{method}: the same in all {len(now)} steps", flush=True)
        return True
    step = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    values = " and ".join(f"{column[step]!r}" if step < len(column) else "nothing" for column in (before, now))
    print(f"{method}: differs from step {step + 1} of {len(now)} on: {values}", flush=True)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare each method's loss with that of another revision.")
    parser.add_argument("rev", help="a commit, tag or branch")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    git = ["git", "-C", str(HERE)]
    with tempfile.TemporaryDirectory() as scratch:
        other = Path(scratch) / "tree"
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(other), arguments.rev], check=True)
        try:
            before, now = ({path.stem for path in (tree / "conf" / "method").glob("*.yaml")} for tree in (other, HERE))
            for method in sorted(before ^ now):
                print(f"{method}: only in {arguments.rev if method in before else 'this tree'}")
            same = [
                compare(
                    method,
                    losses(other, method, Path(scratch) / "before" / method, arguments.overrides),
                    losses(HERE, method, Path(scratch) / "now" / method, arguments.overrides),
                )
                for method in sorted(before & now)
            ]
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(other)], check=True)
    sys.exit(0 if same and all(same) else 1)


if __name__ == "__main__":
    main()
