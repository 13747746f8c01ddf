"""Augmentations: what they keep, what they move, and that parameters and on/off are sampled per image."""

import functools
import math

import pytest
import torch
from conftest import SPEC, experiment, settings
from hydra.utils import instantiate
from torch.nn import functional as F
from torchvision.transforms import functional as TF

from ssl_mnist.augment import (
    Affine,
    Augmentation,
    ColorJitter,
    Elastic,
    Erasing,
    GaussianBlur,
    GeometricOp,
    Grayscale,
    HorizontalFlip,
    RandomResizedCrop,
    Solarize,
    StrokeThickness,
    base,
)
from ssl_mnist.augment.pixel import luma
from ssl_mnist.config import CONFIG_DIR
from ssl_mnist.data import ImageSpec
from ssl_mnist.errors import UserError

SETS = sorted(path.stem for path in (CONFIG_DIR / "augmentation").glob("*.yaml"))
OPS = {
    f"{name}.{op}": node
    for name in SETS
    for op, node in settings(f"augmentation={name}")["augmentation"].items()
    if isinstance(node, dict)
}  # fmt: skip
WIDE = ImageSpec(3, 20, 36, [0.5] * 3, [0.2] * 3, ["a", "b"], [])
RGB = ImageSpec(3, 28, 28, [0.5] * 3, [0.2] * 3, ["a", "b"], [])
TWO = ImageSpec(2, 28, 28, [0.5] * 2, [0.2] * 2, ["a", "b"], [])


def build(op, spec=SPEC, **changes) -> Augmentation:
    return Augmentation(spec, None, "zeros", op=instantiate(OPS[op], _convert_="all", **changes))


@pytest.fixture
def images():
    return torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def colours():
    """(64, 3, 28, 28): random colours; greys, black and white, near greys, and pixels with two equal channels, among them."""
    images = torch.rand(64, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    images[8:12] = images[8:12, :1]
    images[12:16] = images[12:16].round()
    images[16], images[17] = 0.0, 1.0
    images[18] = 0.5 + images[18] * 1e-5
    for number, (one, other) in enumerate(((0, 1), (1, 2), (2, 0)), start=19):
        images[number, one] = images[number, other]
    images[:, :, :2] = images[:, :, :2] * 255 // 1 / 255  # the values that 8 bits have
    return images


def each(images, function, *parameters):
    """`function` of each image by itself and its parameters."""
    rows = [parameter.tolist() for parameter in parameters]
    return torch.stack([function(image, *row) for image, *row in zip(images, *rows, strict=True)])


@pytest.mark.parametrize("name", SETS)
def test_set_keeps_shape_and_range_and_repeats_by_seed(name, images):
    augmentation = experiment(f"augmentation={name}").augmentation
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


@pytest.mark.parametrize("op", ["none", *OPS])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_views_have_memory_of_their_own(op, p, images):
    """Whoever writes to a view, a masked autoencoder say, changes neither the images nor another view."""
    augmentation = experiment("augmentation=none").augmentation if op == "none" else build(op, p=p)
    kept = images.clone()
    first, second = augmentation(images), augmentation(images)
    other = second.clone()
    first.fill_(7)
    assert torch.equal(images, kept) and torch.equal(second, other)
    assert op != "none" or torch.equal(second, images)


@pytest.mark.parametrize("op", OPS)
def test_p_0_is_identity(op, colours):
    torch.manual_seed(0)
    assert torch.equal(build(op, RGB, p=0.0)(colours), colours)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after), "random numbers were drawn for nothing"


@pytest.mark.parametrize("op", OPS)
def test_on_and_off_and_parameters_are_sampled_per_image(op, colours):
    """Copies of one image come out in many ways, and about p of them changed."""
    copies = colours[:1].expand(512, -1, -1, -1)
    torch.manual_seed(0)
    changed = (build(op, RGB, p=0.5)(copies) - copies).abs().amax((1, 2, 3)) > 1e-5
    assert 0.35 < changed.float().mean() < 0.55  # what is sampled may happen to be no change at all
    if op.split(".")[1] not in ("flip", "grayscale", "solarize"):  # which have no parameters to sample
        views = build(op, RGB, p=1.0)(copies)
        assert len(views.flatten(1).unique(dim=0)) > 400


@pytest.mark.parametrize("op", OPS)
def test_an_image_does_not_see_its_neighbours(op, colours):
    other = colours.clone()
    other[8:] = 0.5
    results = []
    for batch in (colours, other):
        torch.manual_seed(5)
        results.append(build(op, RGB, p=0.7)(batch)[:8])
    torch.testing.assert_close(*results, atol=1e-6, rtol=0)


def test_neighbouring_geometry_shares_one_interpolation(images, monkeypatch):
    calls = []
    original = F.grid_sample
    monkeypatch.setattr(base.F, "grid_sample", lambda *a, **k: calls.append(1) or original(*a, **k))
    experiment("augmentation=digits").augmentation(images)
    assert len(calls) == 1


def test_ops_act_in_their_order(images):
    """A crop of a flipped image, and the flip of a cropped one, drawn alike; a pixel op in between splits the geometry."""

    class Left(GeometricOp):
        """Moves the image a quarter of its width to the left."""

        def forward(self, grid):
            return grid + torch.tensor([0.5, 0.0]).view(2, 1, 1, 1)

    moved = F.pad(images[..., 7:], (0, 7))
    for names, expected in ((("left", "flip"), moved.flip(3)), (("flip", "left"), F.pad(images.flip(3)[..., 7:], (0, 7)))):
        ops = {"left": Left(1.0), "flip": HorizontalFlip(1.0)}
        torch.testing.assert_close(Augmentation(SPEC, None, "zeros", **{n: ops[n] for n in names})(images), expected, atol=1e-5, rtol=0)
    erased = Augmentation(SPEC, None, "zeros", left=Left(1.0), erase=Erasing([1.0, 1.0], 1.0), flip=HorizontalFlip(1.0))(images)
    assert erased.abs().max() == 0


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_padding_is_grid_samples(padding, images):
    """To the bit: what `grid_sample` itself reads, at the same grid."""

    class Far(GeometricOp):
        def forward(self, grid):
            return grid * 1.7 + 0.3

    grid = Far(1.0)(base.identity_grid(28, 28, images.device)).expand(-1, len(images), -1, -1).permute(1, 2, 3, 0)
    expected = F.grid_sample(images, grid, padding_mode=padding, align_corners=False)
    if padding == "zeros":
        assert torch.equal(expected, F.grid_sample(images, grid, align_corners=False)) and (expected == 0).float().mean() > 0.5
    assert torch.equal(Augmentation(SPEC, None, padding, far=Far(1.0))(images), expected)


def test_affine_agrees_with_torch(images):
    """Its matrices, through torch's own affine_grid, give the same images."""
    op = Affine(degrees=40.0, scale=[0.7, 1.4], stretch=0.3, shear=0.4, translate=0.2, p=1.0)
    torch.manual_seed(0)
    ours = Augmentation(SPEC, None, "zeros", op=op)(images)
    torch.manual_seed(0)
    linear, shift = op.matrices(images, len(images))
    theta = torch.cat([linear, shift[:, None]], dim=1).permute(2, 0, 1)  # (B, 2, 3)
    theirs = F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("degrees", [10.0, 45.0])
def test_affine_samples_within_its_bounds(degrees, images):
    op = Affine(degrees=degrees, scale=[1.0, 1.0], stretch=0.0, shear=0.0, translate=0.25, p=1.0)
    linear, shift = op.matrices(images, 2000)
    angle = torch.rad2deg(torch.atan2(linear[1, 0], linear[0, 0])).abs()
    assert 0.95 * degrees < angle.max() <= degrees + 1e-3
    assert 0.45 < shift.abs().max() <= 0.5  # 0.25 of a size that is 2 wide


def test_elastic_pushes_no_further_than_its_strength():
    op = Elastic(strength=[0.1, 0.1], knots=5, p=1.0)
    still = base.identity_grid(28, 28, torch.device("cpu")).expand(2, 500, -1, -1)
    push = (op(still) - still).abs()
    assert 0.1 < push.max() <= 0.2 + 1e-6  # grid units: the image is 2 wide


def test_a_crop_is_a_part_of_the_image_at_full_size():
    """Of an image whose pixels say where they are: its area and its place are as asked, never beyond the border."""
    ramp = torch.linspace(-1, 1, 57)[1::2]  # pixel centres, 28 of them
    places = torch.stack([ramp.expand(28, 28), ramp[:, None].expand(28, 28)])[None].expand(500, -1, -1, -1)
    spec = ImageSpec(2, 28, 28, [0.0] * 2, [1.0] * 2, ["a", "b"], [])
    views = Augmentation(spec, None, "zeros", crop=RandomResizedCrop([0.25, 0.25], [1.0, 1.0], 1.0))(places)
    inner = views[..., 1:-1, 1:-1]  # where no interpolation touches what lies outside
    step = (inner[:, 0, :, 1:] - inner[:, 0, :, :-1]).mean((1, 2))
    torch.testing.assert_close(step, torch.full((500,), 1 / 28), atol=1e-4, rtol=0)  # half of 2 / 28
    assert inner.abs().max() < 1 and inner.amax((2, 3)).max() > 0.9 and inner.amin((2, 3)).min() < -0.9


@pytest.mark.parametrize("height,width", [(28, 28), (20, 40), (40, 20)])
def test_crops_have_the_area_and_aspect_asked_for_in_pixels(height, width):
    """An affine map of the grid: its scale is the crop's sides, its shift the crop's centre. Sides are cut to the image's."""
    torch.manual_seed(0)
    grid = base.identity_grid(height, width, torch.device("cpu")).expand(2, 4000, -1, -1)
    crop = RandomResizedCrop([0.1, 0.3], [0.5, 1.5], 1.0)(grid)
    w = (crop[0, :, 0, -1] - crop[0, :, 0, 0]) / (grid[0, 0, 0, -1] - grid[0, 0, 0, 0]) * width  # (B,) pixels
    h = (crop[1, :, -1, 0] - crop[1, :, 0, 0]) / (grid[1, 0, -1, 0] - grid[1, 0, 0, 0]) * height
    cut = (w > width - 1e-3) | (h > height - 1e-3)
    assert cut.float().mean() < 0.2 and w.max() <= width + 1e-3 and h.max() <= height + 1e-3
    area, log_aspect = (w * h / (width * height))[~cut], (w / h).log()[~cut]
    assert area.min() > 0.0999 and area.max() < 0.3001
    assert log_aspect.min() > math.log(0.5) - 1e-3 and log_aspect.max() < math.log(1.5) + 1e-3
    if height == width:  # nothing was cut: the log of the aspect is uniform
        assert not cut.any() and abs(log_aspect.mean() - (math.log(0.5) + math.log(1.5)) / 2) < 0.02
    centre = (crop.amax((2, 3)) + crop.amin((2, 3))) / 2  # (2, B) in [-1, 1]
    assert (centre[0].abs() + w / width).max() <= 1 + 1e-4 and (centre[1].abs() + h / height).max() <= 1 + 1e-4


def test_a_rotation_of_a_wide_image_is_one_in_pixels():
    """Equals torchvision's to 1e-4, everywhere: both read 0 outside the image."""
    images = torch.rand(16, 3, 20, 40, generator=torch.Generator().manual_seed(0))
    op = Affine(degrees=60.0, scale=[1.0, 1.0], stretch=0.0, shear=0.0, translate=0.0, p=1.0)
    torch.manual_seed(0)
    found = Augmentation(WIDE, None, "zeros", op=op)(images)
    torch.manual_seed(0)
    linear, _ = op.matrices(images, len(images))
    degrees = torch.rad2deg(torch.atan2(linear[1, 0], linear[0, 0])).tolist()
    assert max(degrees) > 45 and min(degrees) < -45
    rotate = functools.partial(TF.affine, translate=[0, 0], scale=1.0, shear=[0.0, 0.0], interpolation=TF.InterpolationMode.BILINEAR)
    expected = torch.stack([rotate(image, -angle) for image, angle in zip(images, degrees, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_elastic_pushes_alike_along_both_axes_of_a_wide_image():
    """In pixels, up to the strength's share of the shorter side; the field is as smooth along one axis as along the other."""
    still = base.identity_grid(20, 40, torch.device("cpu")).expand(2, 500, -1, -1)
    push = (Elastic(strength=[0.1, 0.1], knots=5, p=1.0)(still) - still) * torch.tensor([20.0, 10.0]).view(2, 1, 1, 1)  # pixels
    for axis in push:
        assert 1.5 < axis.abs().max() <= 2 + 1e-4
    slope = push.diff(dim=3).std() / push.diff(dim=2).std()
    assert 0.9 < slope < 1.1


def test_stroke_thickens_and_thins():
    """A cross-shaped neighbourhood, against scipy's grey dilation and erosion."""
    from scipy.ndimage import generate_binary_structure, grey_dilation, grey_erosion

    image = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    cross = generate_binary_structure(2, 1)
    thick = torch.from_numpy(grey_dilation(image[0, 0].numpy(), footprint=cross, mode="nearest"))
    thin = torch.from_numpy(grey_erosion(image[0, 0].numpy(), footprint=cross, mode="nearest"))
    torch.manual_seed(0)
    views = StrokeThickness(strength=1.0, p=1.0)(image.expand(400, -1, -1, -1))[:, 0]
    assert ((views >= thin - 1e-6) & (views <= thick + 1e-6)).all()
    means = views.mean((1, 2))
    assert means.max() > 0.98 * thick.mean() and means.min() < 1.05 * thin.mean()


def test_erasing_blacks_out_one_rectangle():
    views = Erasing(side=[0.3, 0.3], p=1.0)(torch.ones(100, 1, 28, 28))
    black = (views == 0).sum((1, 2, 3))
    assert ((black >= 64) & (black <= 81)).all()  # 0.3 * 28 = 8.4 pixels: 8 or 9 a side
    assert set(views.unique().tolist()) == {0.0, 1.0}
    rows, columns = ((views == 0).any(axis).sum((1, 2)) for axis in (3, 2))
    assert torch.equal(rows * columns, black)


def test_flip_is_torch_flip(images):
    torch.testing.assert_close(Augmentation(SPEC, None, "zeros", op=HorizontalFlip(p=1.0))(images), images.flip(3), atol=1e-5, rtol=0)


CHANGES = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)  # as ColorJitter numbers them


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_change_of_color_jitter_is_torchvisions(name, channels, colours):
    """At the same factors, to 1e-5 and hue to 1e-3; of one channel, saturation and hue change nothing."""
    images = colours[:, :channels]
    widths = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    kind = list(widths).index(name)
    op = ColorJitter(**widths | {name: 0.5 if name == "hue" else 0.9}, p=1.0)
    torch.manual_seed(0)
    found = op(images)
    torch.manual_seed(0)
    _, _, factors = op.sample(images, len(images))
    assert factors[kind].max() - factors[kind].min() > 0.9
    torch.testing.assert_close(found, each(images, CHANGES[kind], factors[kind]), atol=1e-3 if name == "hue" else 1e-5, rtol=0)
    assert channels == 3 or name in ("brightness", "contrast") or torch.equal(found, images)


def test_color_jitter_makes_its_changes_in_an_order_per_image(colours):
    """Each of the 24 orders occurs about as often as any other; every image is torchvision's composition in its own, to 1e-3."""
    op = ColorJitter(0.8, 0.8, 0.8, 0.4, p=0.8)
    torch.manual_seed(0)
    found = op(colours)
    torch.manual_seed(0)
    act, order, factors = op.sample(colours, len(colours))
    assert len(order.unique(dim=0)) > 15

    def compose(image, acts, order, factors):
        for kind in order if acts else ():
            image = CHANGES[kind](image, factors[kind])
        return image

    expected = each(colours, compose, act, order, factors.T)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert torch.equal(found[~act], colours[~act]) and 5 < (~act).sum() < 25
    in_one_order = each(colours, compose, act, torch.arange(4).expand_as(order), factors.T)
    assert (in_one_order - expected).abs().max() > 0.1, "here the order must matter"
    _, order, _ = op.sample(colours, 24_000)
    _, counts = order.unique(dim=0, return_counts=True)
    assert len(counts) == 24 and counts.min() > 850 and counts.max() < 1150


def test_grayscale_is_torchvisions(colours):
    expected = TF.rgb_to_grayscale(colours, num_output_channels=3)
    torch.testing.assert_close(Grayscale(p=1.0)(colours), expected, atol=1e-5, rtol=0)
    torch.manual_seed(0)
    found = Grayscale(p=0.3)(colours)
    grey = (found == found[:, :1]).all(dim=(1, 2, 3))  # what was grey before is so after, but for rounding
    assert 8 < grey.sum() < 40 and torch.equal(found[~grey], colours[~grey])


@pytest.mark.parametrize("height,width", [(28, 28), (20, 36)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel,pixels", [(0.0, 3), (0.1, 3), (0.25, {28: 7, 20: 5}), (1.0, {28: 29, 20: 21})])
def test_blur_is_torchvisions(height, width, channels, kernel, pixels):
    """At the same widths of kernel and Gaussian; the kernel is an odd number of pixels."""
    images = torch.rand(32, channels, height, width, generator=torch.Generator().manual_seed(0))
    pixels = pixels if isinstance(pixels, int) else pixels[height]
    torch.manual_seed(0)
    found = GaussianBlur([0.1, 2.0], kernel, p=1.0)(images)
    torch.manual_seed(0)
    torch.rand(32)  # which images it acts on
    sigma = torch.rand(32) * 1.9 + 0.1
    expected = each(images, lambda image, sigma: TF.gaussian_blur(image, [pixels, pixels], [sigma, sigma]), sigma)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_solarize_is_torchvisions(threshold, channels, colours):
    images = colours[:, :channels]
    assert torch.equal(Solarize(threshold, p=1.0)(images), TF.solarize(images, threshold))


def test_blur_and_solarize_act_on_some_images(colours):
    for op in (GaussianBlur([1.0, 2.0], 0.2, p=0.3), Solarize(0.0, p=0.3)):
        torch.manual_seed(0)
        found = op(colours[:16])
        torch.manual_seed(0)
        act = torch.rand(16) < 0.3
        assert torch.equal(found[~act], colours[:16][~act])
        assert not torch.equal(found[act][0], colours[:16][act][0]) and 1 < act.sum() < 10


def test_natural_on_images_of_one_channel(images):
    """Saturation, hue and grayscale leave them as they are; brightness and contrast act."""
    for left in ("saturation", "hue"):
        parts = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {left: 0.5}
        assert torch.equal(ColorJitter(**parts, p=1.0)(images), images)
    assert torch.equal(Grayscale(p=1.0)(images), images)
    views = experiment("augmentation=natural", "~augmentation.crop", "~augmentation.flip").augmentation(images)
    assert views.shape == images.shape and 0.6 < (views != images).any(dim=(1, 2, 3)).float().mean() < 0.95


def test_natural_is_simclrs_for_small_images():
    """Blur and solarize stand in the file and are off; they can be turned on."""
    off = [name for name, op in experiment("augmentation=natural").augmentation.ops.items() if op.p == 0]
    assert off == ["blur", "solarize"]
    on = experiment("augmentation=natural", "augmentation.blur.p=0.5", "~augmentation.jitter").augmentation
    assert on.ops["blur"].p == 0.5 and "jitter" not in on.ops and on.padding == "reflection"


def test_luma_is_torchvisions_grey():
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(luma(images), TF.rgb_to_grayscale(images), atol=1e-6, rtol=0)
    two = torch.rand(4, 2, 8, 8)
    torch.testing.assert_close(luma(two), two.mean(1, keepdim=True))


@pytest.mark.parametrize("op", [op for op in OPS if "grayscale" not in op])
def test_images_that_are_not_square(op):
    """And of three channels: 20 x 36 stays 20 x 36, all channels are moved alike, and p = 0 changes nothing."""
    grey = torch.rand(16, 1, 20, 36, generator=torch.Generator().manual_seed(0))
    images = grey.expand(-1, 3, -1, -1)
    torch.manual_seed(0)
    views = build(op, WIDE, p=1.0)(images)
    assert views.shape == images.shape and views.min() >= 0 and views.max() <= 1
    torch.testing.assert_close(views[:, 0], views[:, 2], atol=1e-5, rtol=0)
    assert (views - images).abs().max() > 0.05
    assert torch.equal(build(op, WIDE, p=0.0)(images), images)


def test_a_flip_and_a_box_of_wide_images():
    images = torch.rand(8, 3, 20, 36)
    torch.testing.assert_close(Augmentation(WIDE, None, "zeros", op=HorizontalFlip(1.0))(images), images.flip(3), atol=1e-5, rtol=0)
    box = Erasing(side=[0.5, 0.5], p=1.0)(torch.ones(50, 3, 20, 36)) == 0
    assert torch.equal(box[:, 0], box[:, 2])
    height, width = (box[:, 0].any(axis).sum(1) for axis in (2, 1))
    assert set(height.tolist()) <= {10} and set(width.tolist()) <= {18}


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: HorizontalFlip(p=1.5), r"p must be in \[0, 1\], got 1.5"),
        (lambda: HorizontalFlip(p=float("nan")), r"p must be in \[0, 1\], got nan"),
        (lambda: RandomResizedCrop([0.5, 0.2], [1.0, 1.0], 1.0), r"area must be \[low, high\] with 0.001 <= .* <= 1, got \[0.5, 0.2\]"),
        (lambda: RandomResizedCrop([0.5, 1.0], [0.0, 1.0], 1.0), r"aspect must be \[low, high\] with 0.01 <= low <= high <= 100"),
        (lambda: Erasing([0.5], 1.0), r"side must be \[low, high\]"),
        (lambda: Elastic([0.0, 0.1], 1, 1.0), r"knots must be in \[2, 64\], got 1"),
        (lambda: GaussianBlur([0.0, 1.0], 0.1, 1.0), r"sigma must be \[low, high\] with 0.01 <= low"),
        (lambda: Solarize(1.5, 1.0), r"threshold must be in \[0, 1\], got 1.5"),
        (lambda: Augmentation(TWO, None, "zeros", grey=Grayscale(1.0)), "augmentation.grey needs images of 1 or 3 channels, .* has 2"),
        (lambda: StrokeThickness(1.1, 1.0), r"strength must be in \[0, 1\], got 1.1"),
        (lambda: Affine(float("inf"), [1.0, 1.0], 0.0, 0.0, 0.0, 1.0), r"degrees must be in \[0, 360\], got inf"),
        (lambda: ColorJitter(0.1, 2.0, 0.1, 0.1, 1.0), r"contrast must be in \[0, 1\], got 2.0"),
        (lambda: ColorJitter(0.1, 0.1, 0.1, 0.6, 1.0), r"hue must be in \[0, 0.5\], got 0.6"),
        (lambda: Augmentation(TWO, None, "zeros", jitter=ColorJitter(0, 0, 0.1, 0, 1.0)), "needs images of 1 or 3 channels, .* has 2"),
        (lambda: Augmentation(SPEC, None, "wrap"), r"augmentation\.padding must be one of zeros, border, reflection, got wrap"),
        (lambda: Augmentation(SPEC, None, "zeros", op=torch.nn.ReLU()), r"augmentation\.op must be a GeometricOp or a PixelOp"),
    ],
)  # fmt: skip
def test_bad_ops_are_named(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_an_op_can_be_left_out():
    assert list(experiment("augmentation=digits", "augmentation.omit=elastic").augmentation.ops) == ["affine", "stroke", "erase"]
    with pytest.raises(UserError, match=r"augmentation\.omit must be null or one of still, got flip"):
        Augmentation(SPEC, "flip", "zeros", still=HorizontalFlip(p=0.0))


def test_label_changing_ops_are_found_by_their_class():
    augmentation = experiment("augmentation=crop_flip_jitter").augmentation
    assert augmentation.of_kinds(["HorizontalFlip"]) == ["flip"] and augmentation.of_kinds(["Erasing"]) == []
    assert experiment("augmentation=crop_flip_jitter", "augmentation.flip.p=0").augmentation.of_kinds(["HorizontalFlip"]) == []
