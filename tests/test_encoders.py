"""Every encoder of conf/encoder at several image sizes, residual networks and transformers against torchvision's, weight decay."""

import math
import re
import sys

import pytest
import torch
import torchvision
from conftest import REPOSITORY, SPEC, experiment, noise, settings
from hydra.utils import instantiate
from torch import nn

from ssl_mnist import load_encoder
from ssl_mnist.checkpoint import save_encoder
from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders import ResNet, Timm, ViT
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate import evaluate
from ssl_mnist.evaluate.features import FeatureStore, extract
from ssl_mnist.evaluate.protocol import cells_of
from ssl_mnist.training.optim import parameter_groups

OPTIONS = sorted(path.stem for path in (REPOSITORY / "conf" / "encoder").glob("*.yaml"))
SHAPES = [(8, 8, 3), (28, 28, 1), (32, 32, 3), (33, 20, 4)]  # H, W, C
FIXED = ("pca", "pixels")  # without a weight
VIT = ("encoder.dim=24", "encoder.depth=2", "encoder.mlp_dim=48")
SMALL = {  # of the same kind, but fast
    "mlp": ("encoder.widths=[16,8]",),
    **dict.fromkeys(("resnet9", "resnet18", "resnet34"), ("encoder.width=4",)),
    "resnet50": ("encoder.width=4", "encoder.depths=[1,2,1,1]"),
    "vit_tiny": VIT,
    "timm": ("encoder.name=test_convnext",),
}


def spec_of(height: int, width: int, channels: int) -> ImageSpec:
    classes = [str(i) for i in range(10)]
    return ImageSpec(channels, height, width, mean=[0.4] * channels, std=[0.3] * channels, classes=classes, label_changing=[])


def arguments_of(option: str) -> dict:
    node = settings(f"encoder={option}", *SMALL.get(option, ()))["encoder"]
    return {key: value for key, value in node.items() if key != "_target_"}


def make(option: str, shape: tuple[int, int, int]):
    """The option with few channels, in training mode."""
    if option == "timm":
        pytest.importorskip("timm")
    torch.manual_seed(0)
    target = settings(f"encoder={option}")["encoder"]["_target_"]
    encoder = instantiate({"_target_": target, **arguments_of(option)}, _convert_="all", _partial_=True)(spec=spec_of(*shape))
    encoder.prepare((images_of(shape, 20) * 255).byte())
    return encoder


def images_of(shape: tuple[int, int, int], num: int = 2) -> torch.Tensor:
    height, width, channels = shape
    return torch.rand(num, channels, height, width, generator=torch.Generator().manual_seed(0))


every = pytest.mark.parametrize("option", OPTIONS)
sizes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
both = pytest.mark.parametrize(
    "option,shape",
    [(option, shape) for shape in SHAPES for option in OPTIONS] + [("resnet9", (224, 224, 3)), ("vit_tiny", (224, 224, 3))],
)


@both
def test_features_have_the_shapes_that_the_encoder_says(option, shape):
    """In eval mode, where the same images give the same bits and images of another range are refused."""
    encoder, images = make(option, shape).eval(), images_of(shape)
    with torch.no_grad():
        found, again = encoder.features(images), encoder.features(images)
        assert torch.equal(encoder(images), found.embedding)
    assert found.embedding.shape == (2, encoder.dim) and found.embedding.isfinite().all()
    assert not torch.equal(*found.embedding)
    assert all(torch.equal(one, two) for one, two in zip(found, again, strict=True) if one is not None)
    assert (found.map is not None) == encoder.has_map == (option not in ("mlp", *FIXED))
    if found.map is not None:
        assert found.map.ndim == 4 and len(found.map) == 2 and min(found.map.shape) >= 1
    assert (found.tokens is not None) == (option == "vit_tiny")
    if found.tokens is not None:
        assert torch.equal(found.map.flatten(2), found.tokens.transpose(1, 2)) and found.tokens.shape[2] == encoder.dim
    with pytest.raises(ValueError, match=r"takes images in \[0, 1\] and normalises them itself"):
        encoder(images * 255)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in FIXED])
@sizes
def test_gradients_reach_every_parameter(option, shape):
    encoder = make(option, shape)
    embedding = encoder(images_of(shape, 4))
    (embedding * torch.randn_like(embedding)).sum().backward()
    missing = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    assert sum(p.grad.abs().sum() > 0 for p in encoder.parameters()) > 0.7 * len(list(encoder.parameters()))


@both
def test_a_decoder_makes_images(option, shape):
    encoder = make(option, shape)
    height, width, channels = shape
    restored = encoder.decoder()(torch.randn(3, encoder.dim))
    assert restored.shape == (3, channels, height, width)
    assert restored.min() >= 0 and restored.max() <= 1


@every
@sizes
def test_an_encoder_comes_back_from_disk_with_the_same_bits(option, shape, tmp_path):
    encoder, images = make(option, shape), images_of(shape, 4)
    encoder(images)  # moves BatchNorm's statistics
    encoder.arguments = arguments_of(option)
    save_encoder(encoder, tmp_path / "encoder.pt", "simclr", "0" * 16)
    loaded = load_encoder(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder.eval()(images))
    assert loaded.dim == encoder.dim


def test_a_residual_network_is_torchvisions():
    """resnet18's weights, with statistics of two images, load under other names and give what its fc would be given."""
    torch.manual_seed(0)
    theirs, images = torchvision.models.resnet18(), images_of((224, 224, 3))
    theirs.fc = nn.Identity()
    ours = ResNet("basic", [2, 2, 2, 2], 64, spec_of(224, 224, 3))
    theirs.train()(ours.normalise(images))
    state = {}
    for name, value in theirs.state_dict().items():
        name = re.sub(r"^layer(\d)", lambda match: f"stages.{int(match[1]) - 1}", name)
        state[re.sub(r"^bn1", "stem.1", re.sub(r"^conv1", "stem.0", name))] = value
    ours.load_state_dict(state | {"mean": ours.mean, "std": ours.std})
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(ours.normalise(images)), atol=1e-5, rtol=1e-5)


def test_a_bottleneck_network_is_as_large_as_torchvisions():
    with torch.device("meta"):
        theirs = torchvision.models.resnet50()
    ours = ResNet("bottleneck", [3, 4, 6, 3], 64, spec_of(224, 224, 3))
    del theirs.fc
    expected = [tuple(p.shape) for p in theirs.parameters()]
    assert sorted(tuple(p.shape) for p in ours.parameters()) == sorted(expected)
    assert sum(math.prod(shape) for shape in expected) == 23_508_032


@pytest.mark.parametrize("option,num", [("resnet9", 9), ("resnet18", 17), ("resnet34", 33), ("resnet50", 49)])
def test_a_residual_network_is_named_by_its_layers(option, num):
    """Its convolutions but for those of the skips; the name of a published one counts the classifier too."""
    node = settings(f"encoder={option}", "encoder.width=1")["encoder"]
    encoder = ResNet(node["block"], node["depths"], node["width"], SPEC)
    names = [name for name, layer in encoder.named_modules() if isinstance(layer, nn.Conv2d) and "downsample" not in name]
    assert len(names) == num and settings(f"encoder={option}")["encoder"]["width"] == 64


@pytest.mark.parametrize("size,maps", [(8, 1), (28, 4), (64, 8), (65, 3), (224, 7)])
def test_the_stem_follows_the_image_size(size, maps):
    encoder = ResNet("basic", [1, 1, 1, 1], 2, spec_of(size, size, 1)).eval()
    assert encoder.features(images_of((size, size, 1))).map.shape == (2, 16, maps, maps)


def test_a_vision_transformer_is_torchvisions():
    torch.manual_seed(0)
    theirs = torchvision.models.VisionTransformer(32, 4, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48).eval()
    theirs.heads = nn.Identity()
    ours = ViT(None, 24, 2, 3, 48, spec_of(32, 32, 3)).eval()
    names = {name: name.replace("conv_proj", "patches").replace("encoder.", "transformer.", 1) for name in theirs.state_dict()}
    state = {names[name]: value + torch.randn_like(value) / 10 for name, value in theirs.state_dict().items()}
    theirs.load_state_dict({name: state[names[name]] for name in names})
    ours.load_state_dict(state | {"mean": ours.mean, "std": ours.std})
    images = images_of((32, 32, 3))
    torch.testing.assert_close(ours(images), theirs(ours.normalise(images)))


def test_the_tiny_transformer_is_deits():
    """Its size at 224 pixels: DeiT-Ti's 5,717,416 parameters less the classifier's 193,000."""
    node = settings("encoder=vit_tiny")["encoder"]
    encoder = ViT(*(node[name] for name in ("patch", "dim", "depth", "heads", "mlp_dim")), spec_of(224, 224, 3))
    assert sum(p.numel() for p in encoder.parameters()) == 5_717_416 - 193_000


@pytest.mark.parametrize("size,patch", [(8, 4), (32, 4), (33, 8), (64, 8), (65, 16), (224, 16)])
def test_the_patch_follows_the_image_size(size, patch):
    assert ViT(None, 8, 1, 2, 8, spec_of(size, 8, 1)).patches.kernel_size == (patch, patch)


def test_images_are_padded_with_the_mean():
    small, large = ViT(8, 8, 1, 2, 8, spec_of(33, 20, 3)), ViT(8, 8, 1, 2, 8, spec_of(40, 24, 3))
    large.load_state_dict(small.state_dict())
    images = images_of((33, 20, 3))
    padded = nn.functional.pad(images, (0, 4, 0, 7), value=0.4)
    found, expected = small.features(images), large.features(padded)
    assert found.map.shape == (2, 8, 5, 3)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "words,message",
    [
        ("resnet9 encoder.block=wide", "encoder.block must be basic or bottleneck, got 'wide'"),
        ("resnet9 encoder.depths=[]", r"encoder.depths must be the number of blocks of each stage, 1..100 each, got \[\]"),
        ("resnet9 encoder.depths=[1,0]", r"encoder.depths must .*, got \[1, 0\]"),
        ("resnet9 encoder.width=0", "encoder.width must be 1 or more, and the last of 4 stages at most 65,536 wide, got 0"),
        ("resnet50 encoder.width=4096", "encoder.width must .*, got 4096"),
        ("vit_tiny encoder.patch=0", r"encoder.patch must be null or in 1..28, the image's larger side, got 0"),
        ("vit_tiny encoder.patch=29", "encoder.patch must .*, got 29"),
        ("vit_tiny encoder.dim=0", "encoder.dim must be in 1..65,536, got 0"),
        ("vit_tiny encoder.heads=5", "encoder.heads must divide encoder.dim=192, got 5"),
        ("vit_tiny encoder.heads=0", "encoder.heads must divide encoder.dim=192, got 0"),
        ("vit_tiny encoder.depth=0", r"encoder.depth must be in 1..1,000, got 0"),
        ("vit_tiny encoder.mlp_dim=0", "encoder.mlp_dim must be in 1..65,536, got 0"),
    ],
)
def test_a_setting_that_cannot_be_is_named(words, message):
    with pytest.raises(UserError, match=message) as caught:
        experiment(*f"encoder={words}".split())
    assert "\n" not in str(caught.value)


# --- probes and the autoencoder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["resnet9", "vit_tiny"])
def test_a_map_of_one_position_is_probed(option):
    """It fills all 3 x 3 parts."""
    patch = ("encoder.patch=8",) if option == "vit_tiny" else ()
    words = (f"encoder={option}", *SMALL[option], *patch, "+evaluation/probe=linear_map")
    built = experiment(*words, dataset=noise(spec=spec_of(8, 8, 3)))
    encoder, images = built.encoder.eval(), built.dataset.train.images[:5]
    features = extract(encoder, images, {1, 3})
    assert torch.equal(features["map_3"], features["map_1"].repeat_interleave(9, dim=1))
    scores = evaluate(built.probes, built.dataset, FeatureStore(encoder, cells_of(built.probes), 0, None, ""), True).scores
    assert "test/linear_map_accuracy" in scores


@pytest.mark.parametrize("option", ["resnet9", "vit_tiny", "timm"])
def test_the_autoencoder_takes_any_encoder(option):
    """One step of its gradient lowers its loss."""
    if option == "timm":
        pytest.importorskip("timm")
    method = experiment("method=autoencoder", f"encoder={option}", *SMALL[option]).method
    images = images_of((28, 28, 1), 20)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        losses.append(method.loss(method(images, (images,)))["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


# --- weight decay -----------------------------------------------------------------------------------------------------------------------


def still_of(module: nn.Module) -> set[str]:
    """Names of the parameters that do not decay."""
    decaying, still = parameter_groups(module)
    names = {id(p): name for name, p in module.named_parameters()}
    assert still["weight_decay"] == 0.0 and len(decaying["params"]) + len(still["params"]) == len(names)
    return {names[id(p)] for p in still["params"]}


@pytest.mark.parametrize("option", ["conv", "conv_deep", "mlp", "resnet9", "resnet50"])
def test_networks_without_tokens_decay_by_dimension(option):
    """Matrices and kernels decay, in the order of `parameters()`; the optimizer's state on disk depends on it."""
    method = experiment(f"encoder={option}", *SMALL.get(option, ())).method
    decaying, still = parameter_groups(method)
    assert [id(p) for p in decaying["params"]] == [id(p) for p in method.parameters() if p.ndim > 1]
    assert [id(p) for p in still["params"]] == [id(p) for p in method.parameters() if p.ndim <= 1]


def test_position_embeddings_and_class_tokens_do_not_decay():
    method = experiment("encoder=vit_tiny", *VIT).method
    still = still_of(method)
    assert {"encoder.class_token", "encoder.transformer.pos_embedding"} <= still
    assert still == {name for name, p in method.named_parameters() if p.ndim <= 1 or p.ndim == 3}
    assert "encoder.transformer.layers.encoder_layer_0.self_attention.in_proj_weight" not in still


def test_a_module_names_parameters_that_do_not_decay():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.other = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))
            self.pos_embed, self.cls_token = nn.Parameter(torch.zeros(1, 2, 2)), nn.Parameter(torch.zeros(1, 1, 2))

        def no_weight_decay(self):
            return {"table"}

    assert still_of(Part()) == {"table", "pos_embed", "cls_token"}
    assert still_of(nn.Sequential(nn.Linear(2, 2), nn.Sequential(Part()))) == {"0.bias", "1.0.table", "1.0.pos_embed", "1.0.cls_token"}


# --- timm -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,maps,num_tokens",
    [
        ("test_resnet", (1, 1), None),
        ("test_efficientnet", (1, 1), None),
        ("test_mambaout", (1, 1), None),  # (B, h, w, K)
        ("test_vit", (2, 2), 4),
    ],
)
def test_features_of_timm(name, maps, num_tokens):
    pytest.importorskip("timm")
    encoder = Timm(name, False, SPEC).eval()
    images = images_of((28, 28, 1))
    embedding, feature_map, tokens = encoder.features(images)
    assert embedding.shape == (2, encoder.dim) and encoder.has_map and feature_map.shape == (2, encoder.model.num_features, *maps)
    assert (tokens is None) if num_tokens is None else tokens.shape == (2, num_tokens, encoder.dim)
    padded = nn.functional.pad(encoder.normalise(images), encoder.padding)
    torch.testing.assert_close(embedding, encoder.model(padded))


def test_the_default_of_timm_takes_mnist():
    pytest.importorskip("timm")
    built = experiment("encoder=timm")
    assert built.encoder.padded == (32, 32) and built.encoder.dim == 320
    assert sum(p.numel() for p in built.encoder.parameters()) == pytest.approx(3.4e6, rel=0.02)


def test_tokens_of_timm_do_not_decay():
    pytest.importorskip("timm")
    encoder = Timm("test_vit", False, SPEC)
    assert {"model.pos_embed", "model.cls_token"} <= still_of(encoder)


def test_a_missing_timm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=re.escape("encoder=timm needs timm: pip install -e '.[timm]'")):
        experiment("encoder=timm")


@pytest.mark.parametrize(
    "words,message",
    [
        ("encoder.name=resnet81", r"encoder.name=resnet81 is no model of timm [\d.]+\w*; did you mean resnet\d+\?"),
        ("encoder.name=''", "encoder.name= is no model of timm"),
        ("encoder.name=resnet18.a1_in2k", r"encoder.name=resnet18.a1_in2k: timm has no such weights; did you mean resnet18.a1_in1k\?"),
        ("encoder.name=inception_v3", "encoder.name=inception_v3 cannot take images of 28 x 28 pixels, padded to 32 x 32: "),
    ],
)
def test_a_model_that_timm_cannot_make_is_named(words, message):
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=message) as caught:
        experiment("encoder=timm", *words.split())
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_exist_are_named():
    timm = pytest.importorskip("timm")
    name = next(name for name in timm.list_models() if not timm.models.is_model_pretrained(name))
    with pytest.raises(UserError, match=f"encoder.pretrained=true: timm has no weights for {name}"):
        Timm(name, True, SPEC)


def test_weights_that_cannot_be_fetched_are_named(monkeypatch):
    timm = pytest.importorskip("timm")
    create = timm.create_model

    def offline(name, pretrained, **arguments):
        if pretrained:
            raise OSError("the host is not reached\nsee the documentation")
        return create(name, pretrained=pretrained, **arguments)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"the weights of test_resnet cannot be loaded \(the host is not reached\); "):
        Timm("test_resnet", True, SPEC)


def test_pretrained_weights_are_not_fetched_again(tmp_path):
    """An encoder that was built on them is loaded from its own file, without a network."""
    pytest.importorskip("timm")
    encoder = Timm("test_resnet", False, SPEC)
    encoder.arguments = {"name": "test_resnet", "pretrained": True}
    save_encoder(encoder, tmp_path / "encoder.pt", "simclr", "0" * 16)
    loaded, images = load_encoder(tmp_path), images_of((28, 28, 1))
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder.eval()(images))
