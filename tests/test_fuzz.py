"""Random overrides, and random bytes in every file that is read: each ends in success or in one clear line.

300 examples here; 10,000 by `python -m pytest -m fuzz`.
"""

import gzip
import json
import struct
import warnings

import numpy as np
import optuna
import pytest
import torch
from conftest import CPU, experiment, noise, settings
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ssl_mnist import UserError, compose, config, load_encoder, record
from ssl_mnist.build import build
from ssl_mnist.checkpoint import save_encoder
from ssl_mnist.claim import claim
from ssl_mnist.compare import reading
from ssl_mnist.config import GROUPS, flat
from ssl_mnist.data import folder
from ssl_mnist.data.mnist import _read as read_idx
from ssl_mnist.files import is_complete, sha256
from ssl_mnist.search import check_study
from ssl_mnist.training import state
from ssl_mnist.training.loop import steps

FEW, MANY = 150, 5_000  # examples of each of the two kinds

QUIET = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.generate, Phase.shrink),
}
BASE = ("experiment=smoke", "pretrain.epochs=1", "pretrain.batch_size=20", "evaluation=quick", "tracking.mode=disabled")
KEYS = sorted({*flat(settings(*BASE)), *GROUPS, "experiment", "pretrain", "tracking", "evaluation", "augmentation.affine", "checkpoint"})
KEYS = [key for key in KEYS if key not in ("overrides", "choices") and not key.startswith("choices.")]
VALUES = (
    *("nan", "inf", "-inf", "-1", "0", "1", "2", "3.5", "1e-3", "1e308", "1e400", "100000000000000000000", "0x10", "1_000"),
    *("null", "true", "false", "[]", "[1]", "[nan]", "[1,2]", "[a]", "{}", "{a: 1}", "''", "'\"a b\"'", "é", "日本", "'#'", "???"),
    *("${seed}", "${nope}", "${oc.env:NOPE}", "${", "a=b", "../x", "/", "--help", "auto", "cpu", "simclr", "mlp"),
    *("os.system", "builtins.eval", "torch.nn.Linear", "ssl_mnist.nope"),
)
VALUE = st.one_of(st.sampled_from(VALUES), st.text(max_size=8), st.integers().map(str), st.floats().map(str))
OVERRIDE = st.one_of(
    st.builds("{}{}={}".format, st.sampled_from(("", "", "", "+", "++")), st.sampled_from(KEYS), VALUE),
    st.sampled_from(KEYS).map("~{}".format),
    st.builds("+{}.{}={}".format, st.sampled_from(KEYS), st.sampled_from(("new", "_target_", "_partial_", "lr", "é")), VALUE),
    st.text(max_size=12),
)


def check_line(error):
    """An error of the user's is one line that a person can read."""
    assert "\n" not in str(error) and 5 < len(str(error)) < 600, str(error)


def of_overrides(num):
    @examples(max_examples=num, **QUIET)
    @given(st.lists(OVERRIDE, min_size=1, max_size=2))
    def attempt(overrides):
        """Settings that are accepted train a step on noise, to a finite loss."""
        try:
            composed = compose(*BASE, *overrides)
            config.check(composed)
            built = build(composed, CPU, noise())
            if built.num_steps:
                next(steps(built, state.Progress()))
        except UserError as error:
            check_line(error)
        except OSError as error:
            assert error.filename or error.strerror

    attempt()


def files(place):
    """Name -> the bytes of a good file, and a function that reads one at a path."""
    built = experiment()
    save_encoder(built.encoder, place / "encoder.pt", "simclr", "0" * 16)
    checkpoints = state.Checkpoints(place / "c", "id", 60)
    checkpoints.save(built, state.Progress(), metrics=b"", seconds=0.0)
    (checkpoint,) = (place / "c").iterdir()
    run = record.describe(settings(*BASE), None, {"identity": "0" * 16, "identity_parts": {}, "resolved": {}})
    summary = {"scores": {"test/x_accuracy": {"title": "x", "higher_is_better": True}}, "test/x_accuracy": 0.5, "seed": 0}
    summary |= {"data/source": "d", "data/fingerprint": "f", "versions/ssl_mnist": "0.2.0"}
    header = (2051, 20, 28, 28)
    idx = struct.pack(">4i", *header) + bytes(20 * 28 * 28)
    index = {"root": "/x", "settings": {}, "bytes": 768, "sizes": [1, 0, 0], "classes": None, "labels": None}
    index |= {"sha256": sha256(json.dumps(index).encode())}

    def read_checkpoint(path):
        data = path.read_bytes()
        target = place / "c2" / f"step-00000001-{sha256(data)[:16]}.pt"  # as if its checksum were right
        target.parent.mkdir(exist_ok=True)
        for old in target.parent.iterdir():
            old.unlink()
        target.write_bytes(data)
        state.Checkpoints(place / "c2", "id", 60).newest(b"")

    def read_run(name):
        def read(path):
            sweep = place / f"sweep-{name}"
            job = sweep / "0-simclr"
            job.mkdir(parents=True, exist_ok=True)
            contents = {
                "run.json": json.dumps(run),
                "summary.json": json.dumps(summary),
                "metrics.jsonl": '{"step": 1, "pretrain/loss": 2}\n',
            }
            for other, text in contents.items():
                (job / other).write_text(text)
            (job / name).write_bytes(path.read_bytes())
            reading.read(sweep)
            is_complete(job)
            with claim(job, sweep, {"identity": "1" * 16, "identity_parts": {}}):
                pass

        return read

    def search():
        """A study of two trials."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(storage=f"sqlite:///{place}/optuna.db", study_name="ssl_mnist", direction="maximize")
        for value in (0.5, 0.75):
            trial = study.ask({"optimizer.lr": optuna.distributions.UniformDistribution(1e-4, 1e-2)})
            study.tell(trial, value)
        study._storage._backend.engine.dispose()
        return (place / "optuna.db").read_bytes()

    def read_cache(path):
        (place / "index-k.json").write_bytes(path.read_bytes())
        (place / "images-k.u8").write_bytes(bytes(768))
        folder._cached(place, "k")

    return {
        "encoder.pt": ((place / "encoder.pt").read_bytes(), load_encoder),
        "checkpoint": (checkpoint.read_bytes(), read_checkpoint),
        "run.json": (json.dumps(run).encode(), read_run("run.json")),
        "summary.json": (json.dumps(summary).encode(), read_run("summary.json")),
        "metrics.jsonl": (b'{"step": 1, "epoch": 1.0, "pretrain/loss": 2.5}\n' * 3, read_run("metrics.jsonl")),
        "idx": (idx, lambda path: read_idx(path, header)),
        "idx.gz": (gzip.compress(idx), lambda path: read_idx(path, header)),
        "index": (json.dumps(index).encode(), read_cache),
        "optuna.db": (search(), lambda path: check_study(f"sqlite:///{path}", "ssl_mnist")),
    }


def of_bytes(num, place):
    good = files(place)

    @examples(max_examples=num, **QUIET)
    @given(st.sampled_from(sorted(good)), st.data())
    def attempt(name, draw):
        data, read = good[name]
        kind = draw.draw(st.sampled_from(("cut", "flip", "insert", "other")))
        at = draw.draw(st.integers(0, len(data) - 1))
        if kind == "cut":
            data = data[:at]
        elif kind == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << draw.draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + draw.draw(st.binary(min_size=1, max_size=16)) + data[at:]
        else:
            data = draw.draw(st.one_of(st.binary(max_size=64), st.sampled_from((b"[]", b"{}", b"5", b"null", b'"x"', b'{"scores": 5}'))))
        path = place / name
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
            except UserError as error:
                check_line(error)

    attempt()


def test_overrides_end_in_success_or_one_line():
    of_overrides(FEW)


def test_bytes_end_in_success_or_one_line(tmp_path):
    of_bytes(FEW, tmp_path)


@pytest.mark.fuzz
def test_many_overrides():
    of_overrides(MANY)


@pytest.mark.fuzz
def test_many_bytes(tmp_path):
    of_bytes(MANY, tmp_path)


def test_a_flipped_bit_in_an_encoder_is_noticed(tmp_path):
    data, read = files(tmp_path)["encoder.pt"]
    draw = np.random.default_rng(0)
    reference = read(tmp_path / "encoder.pt")(torch.zeros(1, 1, 28, 28))
    for at in draw.integers(0, len(data), 60):
        (tmp_path / "x.pt").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            assert torch.equal(read(tmp_path / "x.pt")(torch.zeros(1, 1, 28, 28)), reference)  # a byte between the records
        except UserError:
            continue
