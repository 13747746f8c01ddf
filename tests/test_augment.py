"""Augmentations: what they keep, what they move, and that each sample is on its own."""

import pytest
import torch
from hydra.utils import instantiate
from torch.nn import functional as F

from ssl_mnist import augment, compose
from ssl_mnist.augment import Affine, Augmentation, Elastic, Erasing, HorizontalFlip, StrokeThickness
from ssl_mnist.pipeline import CONFIG_DIR

SETS = sorted(path.stem for path in (CONFIG_DIR / "augmentation").glob("*.yaml"))
OPS = {
    f"{name}.{op}": node
    for name in SETS
    for op, node in compose(f"augmentation={name}").augmentation.items()
    if op not in ("_target_", "omit")
}  # fmt: skip


def build(op, **changes) -> Augmentation:
    return Augmentation(channels=1, omit=None, op=instantiate(OPS[op], **changes))


@pytest.fixture
def images():
    return torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SETS)
def test_set_keeps_shape_and_range_and_repeats_by_seed(name, images):
    augmentation = instantiate(compose(f"augmentation={name}").augmentation, channels=1)
    kept = images.clone()
    torch.manual_seed(3)
    first = augmentation(images)
    torch.manual_seed(3)
    second = augmentation(images)
    assert torch.equal(images, kept), "the input was written to"
    assert torch.equal(first, second)
    assert first.shape == images.shape and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1
    assert (name == "none") == torch.equal(first, augmentation(images)), "two views of an image must differ"


@pytest.mark.parametrize("op", OPS)
def test_p_0_is_identity(op, images):
    torch.testing.assert_close(build(op, p=0.0)(images), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("op", OPS)
def test_each_sample_has_its_own_coin_and_parameters(op, images):
    """Copies of one image come out in many ways, and about p of them changed."""
    copies = images[:1].expand(512, -1, -1, -1)
    torch.manual_seed(0)
    changed = (build(op, p=0.5)(copies) - copies).abs().amax((1, 2, 3)) > 1e-5
    assert 0.35 < changed.float().mean() < 0.55  # a drawn change may happen to be none at all
    if "flip" not in op:
        views = build(op, p=1.0)(copies)
        assert len(views.flatten(1).unique(dim=0)) > 400


@pytest.mark.parametrize("op", OPS)
def test_a_sample_does_not_see_its_neighbours(op, images):
    other = images.clone()
    other[1:] = 0.5
    results = []
    for batch in (images, other):
        torch.manual_seed(5)
        results.append(build(op)(batch)[0])
    torch.testing.assert_close(*results, atol=1e-6, rtol=0)


def test_neighbouring_geometry_shares_one_interpolation(images, monkeypatch):
    calls = []
    original = F.grid_sample
    monkeypatch.setattr(augment.F, "grid_sample", lambda *a, **k: calls.append(1) or original(*a, **k))
    instantiate(compose("augmentation=digits").augmentation, channels=1)(images)
    assert len(calls) == 1


def test_affine_agrees_with_torch(images):
    """Its matrices, through torch's own affine_grid, give the same images."""
    op = Affine(degrees=40.0, scale=[0.7, 1.4], stretch=0.3, shear=0.4, translate=0.2, p=1.0)
    torch.manual_seed(0)
    ours = Augmentation(channels=1, omit=None, op=op)(images)
    torch.manual_seed(0)
    linear, shift = op.matrices(images, len(images))
    theta = torch.cat([linear, shift[:, None]], dim=1).permute(2, 0, 1)  # (B, 2, 3)
    theirs = F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("degrees", [10.0, 45.0])
def test_affine_draws_within_its_bounds(degrees, images):
    op = Affine(degrees=degrees, scale=[1.0, 1.0], stretch=0.0, shear=0.0, translate=0.25, p=1.0)
    linear, shift = op.matrices(images, 2000)
    angle = torch.rad2deg(torch.atan2(linear[1, 0], linear[0, 0])).abs()
    assert 0.95 * degrees < angle.max() <= degrees + 1e-3
    assert 0.45 < shift.abs().max() <= 0.5  # 0.25 of a size that is 2 wide


def test_elastic_pushes_no_further_than_its_strength():
    op = Elastic(strength=[0.1, 0.1], knots=5, p=1.0)
    still = augment._identity(28, torch.device("cpu")).expand(2, 500, -1, -1)
    push = (op(still) - still).abs()
    assert 0.1 < push.max() <= 0.2 + 1e-6  # grid units: the image is 2 wide


def test_stroke_thickens_and_thins():
    """A cross-shaped neighbourhood, against scipy's grey dilation and erosion."""
    from scipy.ndimage import generate_binary_structure, grey_dilation, grey_erosion

    image = torch.rand(1, 1, 28, 28)
    cross = generate_binary_structure(2, 1)
    thick = torch.from_numpy(grey_dilation(image[0, 0].numpy(), footprint=cross, mode="nearest"))
    thin = torch.from_numpy(grey_erosion(image[0, 0].numpy(), footprint=cross, mode="nearest"))
    views = StrokeThickness(strength=1.0, p=1.0)(image.expand(400, -1, -1, -1))[:, 0]
    assert ((views >= thin - 1e-6) & (views <= thick + 1e-6)).all()
    means = views.mean((1, 2))
    assert means.max() > 0.98 * thick.mean() and means.min() < 1.05 * thin.mean()


def test_erasing_blacks_out_one_rectangle():
    views = Erasing(side=[0.3, 0.3], p=1.0)(torch.ones(100, 1, 28, 28))
    black = (views == 0).sum((1, 2, 3))
    assert ((black >= 64) & (black <= 81)).all()  # 0.3 * 28 = 8.4 pixels: 8 or 9 a side
    assert set(views.unique().tolist()) == {0.0, 1.0}


def test_flip_is_torch_flip(images):
    torch.testing.assert_close(Augmentation(channels=1, omit=None, op=HorizontalFlip(p=1.0))(images), images.flip(3), atol=1e-5, rtol=0)


def test_bad_ops_are_named():
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\]"):
        HorizontalFlip(p=1.5)
    with pytest.raises(ValueError, match=r"augmentation\.jitter needs images of 3 channels"):
        Augmentation(channels=1, omit=None, jitter=augment.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, p=1.0))


def test_an_op_can_be_left_out(images):
    cfg = compose("augmentation=digits", "augmentation.omit=elastic").augmentation
    assert list(instantiate(cfg, channels=1).ops) == ["affine", "stroke", "erase"]
    with pytest.raises(ValueError, match=r"augmentation\.omit must be null or one of still, got flip"):
        Augmentation(channels=1, omit="flip", still=HorizontalFlip(p=0.0))
