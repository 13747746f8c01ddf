"""Read an offline run's `.wandb` file: LevelDB's log framing after a 7-byte header, each record a protobuf message."""

import json
import struct
import time
from pathlib import Path
from types import SimpleNamespace

from wandb.proto import wandb_internal_pb2

BLOCK = 32768  # bytes


def _records(data: bytes):
    assert data[:4] == b":W&B"
    position, message = 7, b""
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:  # no header fits: padding
            position += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)  # kind: 1 whole, 2 first, 3 middle, 4 last
        chunk = data[position + 7 : position + 7 + size]
        position += 7 + size
        if len(chunk) < size:
            return  # the last record is not all there yet
        message = chunk if kind in (1, 2) else message + chunk
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            yield record


def _items(items) -> dict:
    """Values by key; those of a nested key in a dict below its first part."""
    out: dict = {}
    for item in items:
        first, *rest = [item.key] if item.key else item.nested_key
        if rest:
            out.setdefault(first, {})[".".join(rest)] = json.loads(item.value_json)
        else:
            out[first] = json.loads(item.value_json)
    return out


def read(folder: Path, patience: float = 30) -> SimpleNamespace:
    """The only offline run below `folder`: run, config, history, summary, metrics, artifacts, exit_code.

    patience: seconds to wait for the exit record, the last one; the client's service writes on for a moment after `finish` returned.
    """
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    until = time.monotonic() + patience
    while (out := _parse(path)).exit_code is None and time.monotonic() < until:
        time.sleep(0.1)
    return out


def _parse(path: Path) -> SimpleNamespace:
    out = SimpleNamespace(run=None, config={}, history=[], summary={}, metrics={}, artifacts=[], exit_code=None)
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            out.run = record.run
            out.config |= _items(record.run.config.update)
        elif kind == "history":
            out.history.append(_items(record.history.item))
        elif kind == "summary":
            out.summary |= _items(record.summary.update)
        elif kind == "metric":
            out.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "artifact":
            out.artifacts.append((record.artifact.type, [entry.path for entry in record.artifact.manifest.contents]))
        elif kind == "exit":
            out.exit_code = record.exit.exit_code
    return out
