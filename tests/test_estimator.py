"""SSLTransformer keeps scikit-learn's contract, and is the same pretraining as the command's."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import CPU, SPEC, noise, settings
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from ssl_mnist import SSLTransformer
from ssl_mnist.build import build
from ssl_mnist.data import Dataset, ImageSpec, Split
from ssl_mnist.data.spec import channel_statistics
from ssl_mnist.training.loop import pretrain

TINY = ("encoder.widths=[8]", "method.hidden_dim=8", "method.projection_dim=4", "augmentation=none", "precision=32")


def tiny(**arguments) -> SSLTransformer:
    return SSLTransformer(**{"encoder": "mlp", "image_shape": None, "epochs": 1, "overrides": TINY, "device": "cpu"} | arguments)


@pytest.fixture(scope="module")
def digits():
    """300 digits of 8 x 8 pixels, flat, in 0..16, and their classes."""
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@parametrize_with_checks([tiny()])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


def test_it_is_the_pretraining_of_the_command(digits):
    """The same embeddings as `build` and `pretrain` give on a data set of these images with the same settings."""
    X, _ = digits
    step = tiny(random_state=5).fit(X)
    images = torch.from_numpy((X / 16 * 255).round().astype(np.uint8)).view(-1, 1, 8, 8)
    nothing = Split(images[:0], None)
    mean, std = channel_statistics(images)
    dataset = Dataset("X", ImageSpec(1, 8, 8, mean, std, None, []), Split(images, None), nothing, lambda: nothing, "")
    built = build(settings("encoder=mlp", "seed=5", "pretrain.epochs=1", *TINY), CPU, dataset)
    assert [row["pretrain/loss"] for row in pretrain(built)] == [row["pretrain/loss"] for row in step.history_]
    with torch.no_grad():
        assert np.allclose(step.transform(X), built.encoder.eval()(images / 255).numpy(), atol=1e-5)


def test_labels_are_not_looked_at(digits):
    X, y = digits
    expected = tiny().fit(X).transform(X)
    assert np.array_equal(tiny().fit(X, np.random.default_rng(0).permutation(y)).transform(X), expected)
    assert not np.array_equal(tiny(random_state=1).fit(X).transform(X), expected)


def test_a_step_of_a_pipeline(digits):
    """Cloned, cross-validated, pickled, with named columns; and the caller's random numbers go on as if it had not been there."""
    X, y = digits
    chain = make_pipeline(tiny(epochs=3, overrides=("encoder.widths=[64]", *TINY[1:])), LogisticRegression(max_iter=1000))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    scores = cross_val_score(clone(chain), X, y, cv=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert scores.mean() > 0.7  # chance: 0.1
    chain.fit(X, y)
    assert (pickle.loads(pickle.dumps(chain)).predict(X) == chain.predict(X)).all()
    step = chain[0].set_output(transform="pandas")
    table = step.transform(X)
    assert list(table.columns) == list(step.get_feature_names_out()) == [f"ssltransformer{i}" for i in range(64)]
    assert step.encoder_.spec.height == 8 and not step.encoder_.training


@pytest.mark.parametrize(
    "change", [lambda X: X * 255 / 16, lambda X: X.astype(np.uint8), lambda X: X / 8 - 1, lambda X: X.reshape(-1, 8, 8)]
)
def test_the_range_of_x_does_not_matter_nor_does_its_form(change, digits):
    X, _ = digits
    assert np.allclose(tiny().fit_transform(change(X)), tiny().fit_transform(X), atol=1e-4)


def test_the_range_is_that_of_fit(digits):
    X, _ = digits
    step = tiny().fit(X)
    assert step.value_range_ == (0, 16)
    assert np.array_equal(step.transform(X[:5] * 2), step.transform(np.minimum(X[:5] * 2, 16)))


def test_images_in_colour(digits):
    """(N, C, H, W), (N, H, W, C) and flat are the same images."""
    images = noise(60, replace(SPEC, channels=3, height=8, width=10, mean=[0.5] * 3, std=[0.25] * 3)).train.images.numpy()
    step = tiny(image_shape=(3, 8, 10)).fit(images)
    expected = step.transform(images)
    assert np.array_equal(step.transform(images.transpose(0, 2, 3, 1)), expected)
    assert np.array_equal(step.transform(images.reshape(60, -1)), expected) and step.n_features_in_ == 240


def test_vectors_that_are_no_square_are_filled_up_with_black():
    X = np.random.default_rng(0).random((20, 20))
    X[0, 0], X[0, 1] = 0, 1
    square = np.zeros((20, 25))
    square[:, :20] = X
    assert np.array_equal(tiny().fit_transform(X), tiny().fit_transform(square))


REFUSED = {
    "method=nothing is no option; method is one of .*": {"method": "nothing"},
    "method=supervised needs labels, and these images have none.*": {"method": "supervised", "overrides": TINY[:1]},
    r"encoder=tree is no option; encoder is one of .*": {"encoder": "tree"},
    r"there is no setting pretrain.epoch; did you mean .*": {"overrides": (*TINY, "pretrain.epoch=1")},
    "pretrain.epochs must be .*": {"epochs": -1},
    "device must be .*": {"device": "tpu"},
    r"X has 64 features, image_shape=\(1, 28, 28\) needs 784": {"image_shape": (1, 28, 28)},
    r"image_shape must be \(channels, height, width\) or None, got \(8, 8\)": {"image_shape": (8, 8)},
    r"pretrain.batch_size must be at most the 300 training images, got 500": {"overrides": (*TINY, "pretrain.batch_size=500")},
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_done_is_one_line(words, digits):
    with pytest.raises(ValueError, match=f"^{words}$"):
        tiny(**REFUSED[words]).fit(digits[0])


def test_images_of_another_size_are_one_line(digits):
    X = digits[0].reshape(-1, 8, 8)
    with pytest.raises(ValueError, match=r"^X must be flat or images of 1 x 8 x 8 \(channels x height x width\), got \(300, 4, 16\)$"):
        tiny(image_shape=(1, 8, 8)).fit(X.reshape(-1, 4, 16))
