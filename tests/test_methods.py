"""The methods' losses against formulas, and what they may see."""

import pytest
import torch
from conftest import METHODS
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F

from ssl_mnist import compose
from ssl_mnist.methods.rotation import rotate
from ssl_mnist.methods.simclr import similarities

FACTS = {"channels": 1, "size": 28, "mean": [0.1307], "std": [0.3081]}


def build(name: str, *overrides: str):
    cfg = compose(f"method={name}", *overrides)
    torch.manual_seed(0)
    return instantiate(cfg.method, encoder=instantiate(cfg.encoder, **FACTS))


def test_nt_xent_is_equation_1():
    """lightly's loss, as SimCLR calls it, against the paper's formula written out pair by pair."""
    method = build("simclr", "method.temperature=0.3")
    z0, z1 = torch.randn(2, 6, 16).unbind()
    z = F.normalize(torch.cat([z0, z1]), dim=1)  # (2 B, P)
    terms = []
    for i in range(12):
        j = (i + 6) % 12
        others = torch.stack([torch.exp(z[i] @ z[k] / 0.3) for k in range(12) if k != i]).sum()
        terms.append(-torch.log(torch.exp(z[i] @ z[j] / 0.3) / others))
    torch.testing.assert_close(method.criterion(z0, z1), torch.stack(terms).mean())


def test_simclr_compares_the_projections_of_its_two_views():
    """Each view's, against the other's, whatever the image itself; the loss is the one of `test_nt_xent_is_equation_1`."""
    method = build("simclr").eval()
    images, first, second = torch.rand(3, 6, 1, 28, 28).unbind()
    z0, z1 = (method.projector(method.encoder(view)) for view in (first, second))
    found = method(images, (first, second))["loss"]
    torch.testing.assert_close(found, method.criterion(z0, z1))
    assert torch.equal(found, method(torch.zeros_like(images), (first, second))["loss"])


def test_similarities_are_those_of_the_whole_matrix():
    z0, z1 = torch.randn(2, 7, 5).unbind()
    z = F.normalize(torch.cat([z0, z1]), dim=1)
    cosine = z @ z.T
    positive = torch.arange(14).roll(7)
    mask = torch.ones(14, 14, dtype=torch.bool).fill_diagonal_(False)
    mask[torch.arange(14), positive] = False
    expected = cosine[torch.arange(14), positive].mean(), cosine[mask].mean()
    torch.testing.assert_close(similarities(z0, z1), expected)


def test_simclr_loss_falls_when_views_agree():
    method = build("simclr").eval()
    images = torch.rand(32, 1, 28, 28)
    same = method(images, (images, images))
    other = method(images, (images, torch.rand(32, 1, 28, 28)))
    assert same["loss"] < other["loss"]
    assert same["positive_similarity"] == pytest.approx(1, abs=1e-5)


def test_rotate_is_exact_and_returns():
    images = torch.rand(8, 1, 28, 28)
    turns = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    turned = rotate(images, turns)
    for image, k, result in zip(images, turns.tolist(), turned, strict=True):
        assert torch.equal(result, torch.rot90(image, k, dims=(1, 2)))
    assert torch.equal(rotate(turned, (4 - turns) % 4), images)


def test_rotation_names_the_turn_of_its_view():
    method = build("rotation").eval()
    images, view = torch.rand(2, 50, 1, 28, 28).unbind()
    torch.manual_seed(1)
    loss = method(images, (view,))["loss"]
    torch.manual_seed(1)
    turns = torch.randint(4, (50,))
    torch.testing.assert_close(loss, F.cross_entropy(method.head(method.encoder(rotate(view, turns))), turns))


def test_rotation_accuracies_add_up():
    """The accuracy is the mean over angles weighted by how often each was drawn, and an untrained head is near chance."""
    method = build("rotation")
    images = torch.rand(400, 1, 28, 28)
    torch.manual_seed(1)
    terms = method(images, (images,))
    torch.manual_seed(1)
    drawn = torch.randint(4, (400,)).bincount(minlength=4)
    each = torch.stack([terms[f"accuracy_{angle}"] for angle in (0, 90, 180, 270)])
    torch.testing.assert_close(terms["accuracy"], (each * drawn).sum() / 400)
    assert 0.1 < terms["accuracy"] < 0.5


@pytest.mark.parametrize("target", ["image", "view"])
def test_autoencoder_restores_its_target(target):
    method = build("autoencoder", f"method.target={target}").eval()
    images, view = torch.rand(2, 4, 1, 28, 28).unbind()
    wanted = images if target == "image" else view
    loss = method(images, (view,))["loss"]
    torch.testing.assert_close(loss, (method.reconstruct(view) - wanted).square().mean())


@pytest.mark.parametrize("words", ["encoder=conv", "encoder=conv encoder.cells=2", "encoder=conv_deep encoder.cells=3", "encoder=mlp"])
def test_decoder_mirrors_its_encoder(words):
    built = instantiate(compose(*words.split()).encoder, **FACTS)
    images = torch.rand(4, 1, 28, 28)
    embedding = built(images)
    assert embedding.shape == (4, built.dim)
    restored = built.decoder()(embedding)
    assert restored.shape == images.shape
    assert restored.min() >= 0 and restored.max() <= 1


def test_pooling_is_means_and_maxima():
    """In 2 x 2 cells of a 4 x 4 map, which do not overlap."""
    encoder = instantiate(compose("encoder.cells=2").encoder, **FACTS)
    images = torch.randn(3, 5, 4, 4)
    maxima = images.view(3, 5, 2, 2, 2, 2).amax((3, 5)).flatten(1)
    torch.testing.assert_close(encoder.pool(images), torch.cat([images.mean((2, 3)), maxima], dim=1))


@pytest.mark.parametrize("name", ["conv", "conv_deep"])
def test_a_map_of_several_layers(name):
    """Those of the last two layers, the larger one's maxima where it is larger, and an embedding that holds both."""
    words = [f"encoder={name}", "encoder.widths=[4,6,8]", "encoder.strides=[2,2,2]", "encoder.num_maps=2"]
    encoder = instantiate(compose(*words).encoder, **FACTS).eval()
    x = encoder.normalise(torch.rand(3, 1, 28, 28))
    lower = encoder.layers[1](encoder.layers[0](x))  # (3, 6, 7, 7)
    found = encoder.feature_map(x * encoder.std + encoder.mean)
    assert found.shape == (3, 14, 4, 4) and encoder.dim == encoder.pool(found).shape[1] == 28
    torch.testing.assert_close(found[:, :6, 0, 0], lower[:, :, :2, :2].amax((2, 3)))
    torch.testing.assert_close(found[:, 6:], encoder.layers[2](lower))
    assert encoder.decoder()(encoder.pool(found)).shape == (3, 1, 28, 28)


def test_the_last_blocks_are_separable():
    """There a channel's 3 x 3 neighbourhood is seen by itself; in the stem and in the first block all channels are seen at once."""
    encoder = instantiate(compose("encoder=conv_deep", "encoder.separable=2").encoder, **FACTS)
    spatial = [layer for layer in encoder.layers.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert [layer.groups for layer in spatial] == [1, 1, 1, 64, 128, 128, 128]
    assert encoder(torch.rand(2, 1, 28, 28)).shape == (2, encoder.dim)


def test_encoder_normalises_its_input():
    """The same digits in other grey levels, with mean and std to match, give the same embedding."""
    cfg = compose().encoder
    torch.manual_seed(0)
    plain = instantiate(cfg, channels=1, size=28, mean=[0.0], std=[1.0]).eval()
    scaled = instantiate(cfg, channels=1, size=28, mean=[0.5], std=[2.0]).eval()
    scaled.load_state_dict(plain.state_dict() | {"mean": scaled.mean, "std": scaled.std})
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(scaled(images * 2 + 0.5), plain(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_all_state_is_in_state_dict(name):
    """A second method given the first one's state computes the same loss to the bit."""
    first, second = build(name).eval(), build(name, "seed=1").eval()
    for p in second.parameters():
        p.data.normal_()
    second.load_state_dict(first.state_dict())
    images = torch.rand(8, 1, 28, 28)
    losses = []
    for method in (first, second):
        torch.manual_seed(0)
        losses.append(method(images, (images,) * method.num_views)["loss"])
    assert torch.equal(*losses)
