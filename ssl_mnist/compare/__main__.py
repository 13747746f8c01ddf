"""`python -m ssl_mnist.compare outputs/sweeps/<stamp>`: compare a sweep's runs by hand."""

import argparse
import sys
from pathlib import Path

from ssl_mnist.compare import configurations, read, report, verdicts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.compare", description="Compare the runs of a sweep.")
    parser.add_argument("sweep", type=Path, help="a folder of outputs/sweeps/")
    parser.add_argument("--wandb-report", action="store_true", help="make a Weights & Biases report of it as well")
    arguments = parser.parse_args()
    try:
        report(arguments.sweep)
        if arguments.wandb_report:
            from ssl_mnist.compare.wandb_report import publish

            sweep = read(arguments.sweep)
            print(publish(sweep, verdicts(configurations(sweep.runs))))
    except (ValueError, OSError) as error:
        sys.exit(f"ssl_mnist: {error}")


if __name__ == "__main__":
    main()
