"""`python -m ssl_mnist.compare outputs/sweeps/<stamp>`: compare a sweep's runs by hand."""

import argparse
import sys
from pathlib import Path

from ssl_mnist.compare import report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.compare", description="Compare the runs of a sweep.")
    parser.add_argument("sweep", type=Path, help="a folder of outputs/sweeps/")
    arguments = parser.parse_args()
    try:
        report(arguments.sweep)
    except (ValueError, OSError) as error:
        sys.exit(f"ssl_mnist: {error}")


if __name__ == "__main__":
    main()
