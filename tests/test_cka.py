"""How alike encoders are: CKA against its definition and its invariances, what runs keep for it, and what the page says of it."""

import math
import re
import time

import numpy as np
import pytest
import torch
from conftest import METHODS, SPEC, experiment, settings
from synthetic_sweep import finished_run
from threadpoolctl import threadpool_limits

from ssl_mnist.compare import compare_runs, read, write
from ssl_mnist.compare.cka import cka_matrix, linear_cka, similarity
from ssl_mnist.evaluate.layers import MAX_LAYERS, compact, layer_embeddings

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 12)) * np.arange(1, 13)
Y = X[:, :7] + DRAW.normal(size=(60, 7))


def by_hsic(x, y):
    """The normalised HSIC of two linear kernels (Kornblith et al. 2019, equations 3 and 4), with the n x n matrices of its definition."""

    def hsic(k, m):
        n = len(k)
        centring = np.eye(n) - 1 / n
        return np.trace(k @ centring @ m @ centring) / (n - 1) ** 2

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def test_cka_is_the_normalised_hsic():
    assert linear_cka(X, Y) == pytest.approx(by_hsic(X, Y)) and 0.3 < linear_cka(X, Y) < 0.9
    np.testing.assert_allclose(
        cka_matrix([X, Y, X[:, :2]]), [[linear_cka(a, b) for b in (X, Y, X[:, :2])] for a in (X, Y, X[:, :2])], atol=1e-5
    )


def test_cka_of_two_columns_is_their_squared_correlation():
    assert linear_cka(X[:, :1], Y[:, :1]) == pytest.approx(np.corrcoef(X[:, 0], Y[:, 0])[0, 1] ** 2)


def test_rotation_scale_and_shift_change_nothing_and_one_columns_scale_does():
    rotation, _ = np.linalg.qr(DRAW.normal(size=(12, 12)))
    assert linear_cka(X, X) == pytest.approx(1) == linear_cka(X, -3 * X @ rotation + 5)
    assert linear_cka(X @ rotation, Y) == pytest.approx(linear_cka(X, Y)) == linear_cka(Y, 0.01 * X - 1)
    assert linear_cka(X * ([9.0] + [1.0] * 11), Y) != pytest.approx(linear_cka(X, Y), rel=0.01)


def test_what_has_nothing_in_common_is_near_0_and_what_does_not_vary_has_none():
    far = DRAW.normal(size=(5_000, 4)), DRAW.normal(size=(5_000, 4))
    assert linear_cka(*far) < 0.01
    assert math.isnan(linear_cka(X, np.ones((60, 3)))) and np.isnan(cka_matrix([X, np.ones((60, 3))])[0, 1])


def test_what_a_run_keeps_gives_the_same_cka():
    """Centred, scaled, in float16, and turned into fewer columns where there are more columns than images."""
    wide = torch.randn(40, 90) * torch.linspace(0.1, 100, 90)
    kept = compact({"embedding": wide, "layer 1": wide[:, :5] * 1e6}, torch.zeros(40, 1, 8, 8, dtype=torch.uint8))
    assert kept["embedding"].shape == (40, 40) and kept["layer 1"].shape == (40, 5) and kept["layer 1"].dtype == np.float16
    assert linear_cka(kept["embedding"], kept["layer 1"]) == pytest.approx(linear_cka(wide.numpy(), wide[:, :5].numpy()), abs=1e-3)


ENCODERS = {"conv": 4, "conv_deep": 4, "mlp": 2, "resnet18": 5, "vit_tiny": 6}


@pytest.mark.parametrize("name", ENCODERS)
def test_layers_of_every_encoder(name):
    """As many as it has, a number an image, the last one the embedding; the encoder is the same afterwards."""
    encoder = experiment(f"encoder={name}").encoder.eval()
    images = torch.randint(256, (6, 1, 28, 28), dtype=torch.uint8)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    found = layer_embeddings(encoder, images, head=lambda embedding: embedding[:, :3], batch_size=4)
    layers = [key for key in found if key.startswith("layer")]
    assert len(layers) == min(len(encoder.hidden_layers()), MAX_LAYERS) >= 2
    assert list(found) == [*layers, "embedding", "projection"] and all(
        values.shape[:1] == (6,) and values.ndim == 2 for values in found.values()
    )
    expected = torch.cat([encoder(batch / 255) for batch in images.split(4)])  # a product's bits may depend on the size of the batch
    assert found["embedding"].equal(expected) and found["projection"].equal(found["embedding"][:, :3])
    assert all(value.equal(before[key]) for key, value in encoder.state_dict().items()) and not any(
        m._forward_hooks for m in encoder.modules()
    )


# the projector


def test_a_method_that_projects_is_probed_and_another_is_not():
    wanted = "evaluation=full"
    for method in METHODS:
        built = experiment(f"method={method}", wanted)
        assert ("projector_linear" in built.probes) == built.method.projects
        if built.method.projects:
            embeddings = torch.randn(4, built.encoder.dim)
            assert built.method.eval().project(embeddings).shape[0] == 4 and built.method.project(embeddings).ndim == 2
    assert "projector_linear" in settings(wanted)["evaluation"] and SPEC.classes is not None


# the page


def keep(folder, content, images="a" * 16):
    np.savez(folder / "representations.npz", images=np.array(images), **content)


@pytest.fixture
def six_runs(tmp_path):
    """Seeds of a method differ a little, methods much."""
    for number, (method, seed) in enumerate((method, seed) for method in ("rotation", "simclr") for seed in range(3)):
        folder = finished_run(tmp_path, f"{number}", [f"method={method}", f"seed={seed}"], 0.9 + 0.01 * (method == "simclr"))
        own = np.random.default_rng(method == "simclr").normal(size=(300, 6))
        noise = np.random.default_rng(number + 5).normal(size=(300, 6))
        keep(folder, {"layer 1": noise.astype(np.float16), "embedding": (own + 0.1 * noise).astype(np.float16)})
    return tmp_path


def page_of(folder):
    write(folder)
    page = (folder / "comparison.html").read_text()
    return page[page.index("<h2>How alike the encoders are</h2>") : page.index("<h2>Latent space, t-SNE")]


def test_seeds_are_alike_and_methods_are_not(six_runs):
    found = similarity(compare_runs(read(six_runs)))
    assert found.runs == [(method, seed) for method in ("rotation", "simclr") for seed in range(3)] and found.num == 300
    assert min(found.within("rotation") + found.within("simclr")) > 0.95 and len(found.within("simclr")) == 3
    assert max(found.between()) < 0.1 and len(found.between()) == 9
    assert found.layers == [(method, layer) for method in ("rotation", "simclr") for layer in ("layer 1", "embedding")]
    assert found.between_layers[1, 3] == pytest.approx(found.encoders[0, 3])
    page = page_of(six_runs)
    assert page.count("plotly-graph-div") == 2 and "embeddings of 300 images" in page and "Left out" not in page
    assert re.search(r"CKA between seeds of rotation 0\.9\d( to 0\.9\d)?; between seeds of simclr .*; between configurations 0\.0\d", page)


def test_runs_without_with_other_and_with_damaged_representations_are_left_out(six_runs):
    (six_runs / "0" / "representations.npz").unlink()
    keep(six_runs / "4", {"embedding": np.ones((300, 2))}, images="b" * 16)
    (six_runs / "5" / "representations.npz").write_bytes((six_runs / "5" / "representations.npz").read_bytes()[:-300])
    found = similarity(compare_runs(read(six_runs)))
    assert found.runs == [("rotation", 1), ("rotation", 2), ("simclr", 0)]
    left_out = "Left out: 1 without representations.npz; 1 with other images; 5/representations.npz is damaged or cannot be read."
    assert left_out in page_of(six_runs)


@pytest.mark.parametrize(
    "content",
    [
        {"embedding": np.ones(3)},
        {"embedding": np.full((3, 2), np.nan)},
        {"layer 1": np.ones((3, 2))},
        {"embedding": np.array([{}, {}], dtype=object)},
    ],
)
def test_foreign_arrays_are_refused(content, tmp_path):
    keep(finished_run(tmp_path, "0", ["seed=0"], 0.9), content)
    assert similarity(compare_runs(read(tmp_path))).startswith("0/representations.npz ")


def test_one_run_alone_has_layers_and_none_at_all_a_reason(tmp_path):
    folder = finished_run(tmp_path, "0", ["seed=0"], 0.9)
    assert "Left out: no run holds representations.npz, which is written unless evaluation.cache=false." in page_of(tmp_path)
    keep(folder, {"layer 1": X, "embedding": Y})
    page = page_of(tmp_path)
    assert "One encoder alone: no other to compare it with." in page and page.count("plotly-graph-div") == 1
    (folder / "representations.npz").unlink()
    keep(folder, {"embedding": Y})
    assert page_of(tmp_path).count("plotly-graph-div") == 0


def test_fifteen_runs_are_compared_within_seconds(tmp_path):
    for seed in range(15):
        folder = finished_run(tmp_path, f"{seed}", [f"seed={seed}"], 0.9)
        keep(folder, {name: DRAW.normal(size=(1_000, 256)).astype(np.float16) for name in ("layer 1", "embedding")})
    comparison = compare_runs(read(tmp_path))
    with threadpool_limits(1):  # threads that wait for each other count as CPU time, and the more the busier the machine is
        started = time.process_time()
        found = similarity(comparison)
        seconds = time.process_time() - started
    assert found.encoders.shape == (15, 15) and seconds < 4
