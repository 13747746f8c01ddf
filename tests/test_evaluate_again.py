"""`python -m ssl_mnist.evaluate`: any saved encoder, any evaluation, written beside the first result and never over it."""

import json
import shutil

import pytest
from conftest import TINY, command, summary_of

from ssl_mnist import compose
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.__main__ import evaluate_again
from ssl_mnist.pipeline import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that left test unread."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(compose(*TINY, "evaluation.test=false", "evaluation.cache=true"), folder)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_the_same_evaluation_gives_the_same_scores_and_reads_test(folder):
    before = (folder / "summary.json").read_bytes()
    (file,) = evaluate_again(folder, ["evaluation=quick", "evaluation.linear.l2=[1.0e-3]"])
    again, first = json.loads(file.read_text()), summary_of(folder)
    assert file.parent == folder / "evaluation" and file.name.startswith("quick-")
    for name in ("val/linear_accuracy", "val/knn_accuracy"):
        assert again[name] == first[name]
    assert "test/linear_accuracy" in again and "test/linear_accuracy" not in first
    assert (folder / "summary.json").read_bytes() == before


def test_each_evaluation_has_a_file_of_its_own(folder):
    (first,) = evaluate_again(folder, ["evaluation=quick"])
    content = first.read_bytes()
    (second,) = evaluate_again(folder, ["evaluation=quick", "evaluation.knn.k=5"])
    (same,) = evaluate_again(folder, ["evaluation=quick"])
    assert same == first != second and first.read_bytes() == content
    assert json.loads(second.read_text())["scores"]["test/knn_accuracy"]["title"] == "k-NN, k = 5"


def test_an_encoder_alone_and_a_whole_sweep(folder, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / "encoder.pt", alone / "encoder.pt")
    (file,) = evaluate_again(alone / "encoder.pt", ["data=mnist_5k", "evaluation=quick", "evaluation.cache=false"])
    assert file.parent == alone / "evaluation"
    shutil.copytree(folder, tmp_path / "sweep" / "a" / "b")
    shutil.copytree(folder, tmp_path / "sweep" / "c")
    assert len(evaluate_again(tmp_path / "sweep", ["evaluation=quick"])) == 2
    (tmp_path / "sweep" / "a" / "b" / "run.json").write_text("{")
    with pytest.raises(UserError, match="1 of 2 runs could not be evaluated"):
        evaluate_again(tmp_path / "sweep", ["evaluation=quick", "evaluation.knn.k=7"])
    assert len(list((tmp_path / "sweep" / "c" / "evaluation").iterdir())) == 2  # the other one was evaluated


def test_what_a_trained_encoder_cannot_have_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="seed=1 cannot change a trained encoder"):
        evaluate_again(folder, ["seed=1"])
    with pytest.raises(UserError, match="there is no run with an encoder"):
        evaluate_again(tmp_path / "home", []) if (tmp_path / "home").mkdir() is None else None
    result = command(str(tmp_path / "nope"), cwd=tmp_path, module="ssl_mnist.evaluate")
    assert (
        result.returncode == 1
        and result.stderr.strip() == f"ssl_mnist: {tmp_path / 'nope'} is neither a run's folder, a sweep nor an encoder.pt"
    )
