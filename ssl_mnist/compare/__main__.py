"""`python -m ssl_mnist.compare outputs/sweeps/<stamp>`: compare a sweep's runs by hand."""

import argparse
import sys
from pathlib import Path

from ssl_mnist.compare import report
from ssl_mnist.compare.errors import aligned, errors_of, pairs_table
from ssl_mnist.errors import UserError, explain


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.compare", description="Compare the runs of a sweep.")
    parser.add_argument("sweep", type=Path, help="a folder of outputs/sweeps/, or any folder with runs below it")
    parser.add_argument("--wandb-report", action="store_true", help="make a Weights & Biases report of it as well")
    parser.add_argument("--pairs", nargs="+", metavar="A,B", help="count how often two classes are taken for each other, such as 3,9")
    parser.add_argument("--no-references", action="store_true", help="without the floors and ceilings that experiment=references has made")
    arguments = parser.parse_args()
    try:
        comparison, unwritten = report(arguments.sweep, references=not arguments.no_references)
        if arguments.pairs:
            found = errors_of(comparison)
            if isinstance(found, str):
                raise UserError(f"--pairs: {found}")
            print(f"\n{aligned(pairs_table(found, arguments.pairs))}")
        if arguments.wandb_report:
            from ssl_mnist.compare.wandb_report import publish

            print(publish(comparison))
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {explain(error) if isinstance(error, OSError) else error}")
    if unwritten:
        sys.exit(1)


if __name__ == "__main__":
    main()
