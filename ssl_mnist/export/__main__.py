"""`python -m ssl_mnist.export <run> --format onnx`: a run's encoder for other programs, in a folder with a model card.

The folder, `<run>/export/<format>` unless --output names one, is written whole or not at all, and never over one that holds files.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_mnist.console import say, shown
from ssl_mnist.errors import UserError, explain
from ssl_mnist.files import ENCODER, RUN, SAFETENSORS, SUMMARY, atomic_write, read_json, run_folders

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_mnist.encoders import Encoder

FORMATS = ("onnx", "torch_export", "safetensors", "hub")


def export(run: Path, kind: str, with_probe: bool = False, output: Path | None = None, allow: tuple[str, ...] = ()) -> Path:
    """Write the encoder of a run's folder, with_probe its linear probe too, in a format; returns the folder.

    allow: as of `load_encoder`. Raises UserError where there is no encoder or no probe, for a format that there is not, and where the
    folder to write holds files.
    """
    if kind not in FORMATS:
        raise UserError(f"--format must be one of {', '.join(FORMATS)}, got {kind}")
    folder = run.parent if run.is_file() else run
    source = run if run.is_file() else run / ENCODER
    if not source.is_file():
        runs = list(run_folders(run))
        more = f"; it holds {len(runs)} runs, name one of them, such as {runs[0]}" if runs and runs != [run] else ""
        raise UserError(f"{run} holds no {ENCODER}, which a run writes once it is trained{more}")
    target = output or folder / "export" / f"{kind}{'-with-probe' * with_probe}"
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is there already; --output names another folder")

    from ssl_mnist.checkpoint import load_encoder
    from ssl_mnist.export.card import model_card
    from ssl_mnist.export.probe import kept_probe

    encoder = load_encoder(source, allow)
    try:
        record, summary = read_json(folder / RUN), read_json(folder / SUMMARY)
    except (OSError, ValueError):
        raise UserError(f"{folder} is not the folder of a complete run: {RUN} or {SUMMARY} cannot be read") from None
    probe = kept_probe(folder, encoder) if with_probe else None
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    scratch.mkdir()
    try:
        _write(scratch, kind, encoder, probe, record)
        atomic_write(scratch / "README.md", model_card(encoder, kind, record, summary, with_probe))
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _write(folder: Path, kind: str, encoder: "Encoder", probe: "dict[str, Tensor] | None", record: Mapping[str, Any]) -> None:
    """The files of a format."""
    if kind == "onnx":
        from ssl_mnist.export.onnx import to_onnx

        to_onnx(encoder, folder / "model.onnx", probe)
    elif kind == "torch_export":
        from ssl_mnist.export.torch_export import to_torch_export

        to_torch_export(encoder, folder / "model.pt2", probe)
    else:
        from ssl_mnist.checkpoint import described, save_safetensors

        about = described(encoder, record["choices"]["method"], record["identity"])
        save_safetensors(encoder, folder / SAFETENSORS, about, {f"probe.{name}": each for name, each in (probe or {}).items()})
        if kind == "hub":
            atomic_write(folder / "config.json", json.dumps(about, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.export", description="Export a run's encoder for other programs.")
    parser.add_argument("run", type=Path, help="a run's folder, or its encoder.pt")
    parser.add_argument("--format", required=True, help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("--with-probe", action="store_true", help="the linear probe too, whose probabilities are a second output")
    parser.add_argument("--output", type=Path, help="the folder to write (<run>/export/<format>)")
    parser.add_argument("--allow", nargs="+", default=[], metavar="MODULE", help="modules of your own that the encoder's class comes from")
    arguments = parser.parse_args()
    try:
        folder = export(arguments.run, arguments.format, arguments.with_probe, arguments.output, tuple(arguments.allow))
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {explain(error) if isinstance(error, OSError) else error}")
    say(f"export  {shown(folder)}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


if __name__ == "__main__":
    main()
