"""The methods' losses against formulas, and what they may see."""

import dataclasses
import math

import pytest
import torch
from conftest import CPU, METHODS, SPEC, experiment
from torch import nn
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder, Features, max_pool
from ssl_mnist.methods.base import losses
from ssl_mnist.methods.rotation import Rotation, rotate
from ssl_mnist.methods.simclr import similarities


def build(name: str, *overrides: str):
    return experiment(f"method={name}", *overrides).method


def encoder(*overrides: str) -> Encoder:
    return experiment(*overrides).encoder


def terms(method, images, views):
    return losses(method, images, views, CPU.autocast())


def test_nt_xent_is_equation_1():
    """lightly's loss, as SimCLR calls it, against the paper's formula written out pair by pair."""
    method = build("simclr", "method.temperature=0.3")
    z0, z1 = torch.randn(2, 6, 16).unbind()
    z = F.normalize(torch.cat([z0, z1]), dim=1)  # (2 B, P)
    each = []
    for i in range(12):
        j = (i + 6) % 12
        others = torch.stack([torch.exp(z[i] @ z[k] / 0.3) for k in range(12) if k != i]).sum()
        each.append(-torch.log(torch.exp(z[i] @ z[j] / 0.3) / others))
    torch.testing.assert_close(method.criterion(z0, z1), torch.stack(each).mean())


def test_simclr_compares_the_projections_of_its_two_views():
    """Each view's, against the other's, whatever the image itself; the loss is the one of `test_nt_xent_is_equation_1`."""
    method = build("simclr").eval()
    images, first, second = torch.rand(3, 6, 1, 28, 28).unbind()
    z0, z1 = (method.projector(method.encoder(view)) for view in (first, second))
    found = terms(method, images, (first, second))["loss"]
    torch.testing.assert_close(found, method.criterion(z0, z1))
    assert torch.equal(found, terms(method, torch.zeros_like(images), (first, second))["loss"])


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
    same = terms(method, images, (images, images))
    other = terms(method, images, (images, torch.rand(32, 1, 28, 28)))
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
    loss = terms(method, images, (view,))["loss"]
    torch.manual_seed(1)
    turns = torch.randint(4, (50,))
    torch.testing.assert_close(loss, F.cross_entropy(method.head(method.encoder(rotate(view, turns))), turns))


def test_an_angle_that_was_not_drawn_has_no_accuracy():
    outputs = {"logits": torch.eye(4)[[0, 1, 1]] * 9, "turns": torch.tensor([0, 1, 0])}
    found = Rotation(encoder()).loss(outputs)
    assert found["accuracy_0"] == 0.5 and found["accuracy_90"] == 1 and math.isnan(found["accuracy_180"])
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_a_loss_is_computed_in_float32():
    """Under bf16 autocast the networks compute in bfloat16, and what reaches the loss is float32."""
    seen = []

    class Spy(type(build("simclr"))):
        def forward(self, images, views):
            outputs = super().forward(images, views)
            seen.append(outputs["z0"].dtype)
            return outputs

        def loss(self, outputs):
            seen.append((outputs["z0"] @ outputs["z1"].T).dtype)  # a product, which autocast would compute in bfloat16
            return super().loss(outputs)

    method = build("simclr")
    method.__class__ = Spy
    losses(method, torch.rand(8, 1, 28, 28), (torch.rand(8, 1, 28, 28),) * 2, torch.autocast("cpu", torch.bfloat16))
    assert seen == [torch.bfloat16, torch.float32]


def test_rotation_accuracies_add_up():
    """The accuracy is the mean over angles weighted by how often each was drawn, and an untrained head is near chance."""
    method = build("rotation")
    images = torch.rand(400, 1, 28, 28)
    torch.manual_seed(1)
    found = terms(method, images, (images,))
    torch.manual_seed(1)
    drawn = torch.randint(4, (400,)).bincount(minlength=4)
    each = torch.stack([found[f"accuracy_{angle}"] for angle in (0, 90, 180, 270)])
    torch.testing.assert_close(found["accuracy"], (each * drawn).sum() / 400)
    assert 0.1 < found["accuracy"] < 0.5


@pytest.mark.parametrize("target", ["image", "view"])
def test_autoencoder_restores_its_target(target):
    method = build("autoencoder", f"method.target={target}").eval()
    images, view = torch.rand(2, 4, 1, 28, 28).unbind()
    wanted = images if target == "image" else view
    loss = terms(method, images, (view,))["loss"]
    torch.testing.assert_close(loss, (method.reconstruct(view) - wanted).square().mean())


@pytest.mark.parametrize("words", ["encoder=conv", "encoder=conv encoder.cells=2", "encoder=conv_deep encoder.cells=3", "encoder=mlp"])
def test_decoder_mirrors_its_encoder(words):
    built = encoder(*words.split())
    images = torch.rand(4, 1, 28, 28)
    embedding = built(images)
    assert embedding.shape == (4, built.dim)
    restored = built.decoder()(embedding)
    assert restored.shape == images.shape
    assert restored.min() >= 0 and restored.max() <= 1


def test_pooling_is_means_and_maxima():
    """In 2 x 2 cells of a 4 x 4 map, which do not overlap."""
    images = torch.randn(3, 5, 4, 4)
    maxima = images.view(3, 5, 2, 2, 2, 2).amax((3, 5)).flatten(1)
    torch.testing.assert_close(encoder("encoder.cells=2").pool(images), torch.cat([images.mean((2, 3)), maxima], dim=1))


@pytest.mark.parametrize("name", ["conv", "conv_deep"])
def test_a_map_of_several_layers(name):
    """Those of the last two layers, the larger one's maxima where it is larger, and an embedding that holds both."""
    words = [f"encoder={name}", "encoder.widths=[4,6,8]", "encoder.strides=[2,2,2]", "encoder.num_maps=2"]
    built = encoder(*words).eval()
    images = torch.rand(3, 1, 28, 28)
    lower = built.layers[1](built.layers[0](built.normalise(images)))  # (3, 6, 7, 7)
    found = built.feature_map(images)
    assert found.shape == (3, 14, 4, 4) and built.dim == built.pool(found).shape[1] == 28
    torch.testing.assert_close(found[:, :6, 0, 0], lower[:, :, :2, :2].amax((2, 3)))
    torch.testing.assert_close(found[:, 6:], built.layers[2](lower))
    assert built.decoder()(built.pool(found)).shape == (3, 1, 28, 28)


def test_the_last_blocks_are_separable():
    """There a channel's 3 x 3 neighbourhood is seen by itself; in the stem and in the first block all channels are seen at once."""
    built = encoder("encoder=conv_deep", "encoder.separable=2")
    spatial = [layer for layer in built.layers.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert [layer.groups for layer in spatial] == [1, 1, 1, 64, 128, 128, 128]
    assert built(torch.rand(2, 1, 28, 28)).shape == (2, built.dim)


def test_encoder_normalises_its_input():
    """The same digits in other grey levels, with mean and std to match, give the same embedding."""
    plain = encoder().eval()
    scaled = type(plain)(
        [16, 32, 64, 128], [2, 2, 2, 1], 1, 1, dataclasses.replace(SPEC, mean=[0.25 + SPEC.mean[0] / 2], std=[SPEC.std[0] / 2])
    )
    scaled.load_state_dict(plain.state_dict() | {"mean": scaled.mean, "std": scaled.std})
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(scaled.eval()(images / 2 + 0.25), plain(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "images,words",
    [
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "divide uint8 images by 255"),
        (torch.full((2, 1, 28, 28), 255.0), "got values from 255 to 255"),
        (torch.full((2, 1, 28, 28), -0.4), "got values from -0.4 to -0.4"),
        (torch.zeros(2, 1, 32, 32), r"takes float images \(B, 1, 28, 28\)"),
        (torch.zeros(28, 28), r"takes float images \(B, 1, 28, 28\)"),
    ],
)
def test_an_encoder_refuses_what_is_no_image(images, words):
    with pytest.raises(ValueError, match=words):
        encoder().eval()(images)


@pytest.mark.parametrize("num", [1, 2, 4, 7, 14])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_max_pool_is_adaptive_max_pooling(num, size):
    """The same maxima, and the same gradient where no two values are equal."""
    maps = torch.rand(3, 5, num, num, requires_grad=True)
    ours, theirs = max_pool(maps, size, size), F.adaptive_max_pool2d(maps, size)
    assert torch.equal(ours, theirs)
    weight = torch.rand_like(ours)
    (first,), (second,) = (torch.autograd.grad((pooled * weight).sum(), maps) for pooled in (ours, theirs))
    torch.testing.assert_close(first, second)


class _Plain(Encoder):
    """An encoder that says nothing of a decoder."""

    dim = 5

    def features(self, images):
        return Features(images.flatten(1)[:, :5])


def test_any_encoder_has_a_decoder():
    restored = _Plain(SPEC).decoder()(torch.randn(4, 5))
    assert restored.shape == (4, 1, 28, 28)
    assert restored.min() >= 0 and restored.max() <= 1


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
        losses.append(terms(method, images, (images,) * method.num_views)["loss"])
    assert torch.equal(*losses)
