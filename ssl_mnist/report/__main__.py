"""`python -m ssl_mnist.report <run or sweep>`: write the page of a run, or of every finished run of a sweep, again."""

import argparse
import sys
from pathlib import Path

from ssl_mnist.console import address, say
from ssl_mnist.errors import UserError, explain
from ssl_mnist.report import write


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.report", description="Write report.html of a run again.")
    parser.add_argument("path", type=Path, help="a run's folder, or a folder with runs below it")
    try:
        for page in write(parser.parse_args().path):
            say(f"page    {address(page)}")
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {explain(error) if isinstance(error, OSError) else error}")


if __name__ == "__main__":
    main()
