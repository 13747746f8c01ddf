"""Any image model of timm (Wightman 2019, https://github.com/huggingface/pytorch-image-models), without its classifier."""

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders.base import Encoder, Features
from ssl_mnist.errors import UserError


class Timm(Encoder):
    """The model that `timm.create_model(name)` makes. The embedding is what its classifier would be given.

    It has a feature map where the model's last features are one, or tokens on the grid of its patches; a transformer also has tokens.
    Images are padded at the bottom and right with the mean to multiples of the model's total stride (32 for most convolutional networks,
    the patch for a ViT), as many models drop the rest or refuse it. Pretrained weights are adapted by timm to other channels and sizes;
    images are normalised with the data set's own mean and standard deviation.
    """

    model: Any  # of timm, which describes itself in attributes

    def __init__(self, name: str, pretrained: bool, spec: ImageSpec) -> None:
        """name: of timm.list_models(), or with a tag of timm.list_pretrained(); pretrained: fetch its weights."""
        super().__init__(spec)
        try:
            import timm
        except ImportError:
            raise UserError("encoder=timm needs timm: pip install -e '.[timm]'") from None
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0)[0]
            raise UserError(f"encoder.name={name} is no model of timm {timm.__version__}; did you mean {near}?")
        if "." in name and name not in timm.list_models(f"{name.partition('.')[0]}*", include_tags=True):
            tagged = difflib.get_close_matches(name, timm.list_models(f"{name.partition('.')[0]}.*", include_tags=True), n=1, cutoff=0)
            raise UserError(f"encoder.name={name}: timm has no such weights" + (f"; did you mean {tagged[0]}?" if tagged else ""))
        if pretrained and not timm.models.is_model_pretrained(name):
            raise UserError(f"encoder.pretrained=true: timm has no weights for {name}")
        self.model, self.padded = _create(name, pretrained, spec)
        self.padding = (0, self.padded[1] - spec.width, 0, self.padded[0] - spec.height)
        try:
            with torch.no_grad():
                found = self.eval().features(torch.zeros(1, spec.channels, spec.height, spec.width))
        except Exception as error:  # whatever a model makes of images that it cannot take
            raise _refused(name, spec, self.padded, error) from error
        if found.embedding.ndim != 2:
            raise UserError(f"encoder.name={name} gives no vector an image but {tuple(found.embedding.shape[1:])}")
        self.dim = found.embedding.shape[1]
        self.has_map = found.map is not None
        self.train()

    @classmethod
    def arguments_to_load(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {**arguments, "pretrained": False}

    def features(self, images: Tensor) -> Features:
        last = self.model.forward_features(F.pad(self.normalise(images), self.padding))
        embedding = self.model.forward_head(last, pre_logits=True)
        if not isinstance(last, Tensor):
            return Features(embedding)
        if last.ndim == 4:  # (B, K, h, w), or (B, h, w, K) in models such as Swin
            num = self.model.num_features
            channels_last = last.shape[1] != num and last.shape[3] == num
            return Features(embedding, last.permute(0, 3, 1, 2) if channels_last else last)
        if last.ndim != 3:
            return Features(embedding)
        height, width = _grid(self.model)
        num = height * width
        if not num or last.shape[1] < num:
            return Features(embedding, tokens=last[:, getattr(self.model, "num_prefix_tokens", 0) :])
        tokens = last[:, -num:]  # class tokens and the like come first
        return Features(embedding, tokens.transpose(1, 2).unflatten(2, (height, width)), tokens)


def _create(name: str, pretrained: bool, spec: ImageSpec) -> tuple[Any, tuple[int, int]]:
    """The model, and the height and width that images are padded to for it."""
    import timm

    def create(size: tuple[int, int]) -> tuple[Any, bool]:
        """The model, and whether it was made for one size."""
        arguments: dict[str, Any] = {"pretrained": pretrained, "in_chans": spec.channels, "num_classes": 0}
        try:
            try:
                return timm.create_model(name, img_size=size, **arguments), True
            except TypeError as error:
                if "img_size" not in str(error):
                    raise
            return timm.create_model(name, **arguments), False
        except Exception as error:  # of the network, of the weights' host, or of the model itself
            if pretrained:
                text = f"encoder.pretrained=true: the weights of {name} cannot be loaded ({_first_line(error)})"
                raise UserError(f"{text}; encoder.pretrained=false goes without") from error
            raise _refused(name, spec, size, error) from error

    # The stride is known once the model is made; most have 32 or a divisor of it.
    size = _multiples(spec, 32)
    model, one_size = create(size)
    wanted = _multiples(spec, _stride(model))
    if one_size and wanted != size:
        model, _ = create(wanted)
    return model, wanted


def _stride(model: Any) -> int:
    """Pixels a side that one position of the model's smallest map stands for."""
    reductions = [info["reduction"] for info in getattr(model, "feature_info", [])]
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    return int(max([1, *reductions, *(patch if isinstance(patch, tuple) else (patch,))]))


def _grid(model: Any) -> tuple[int, int]:
    """(h, w) of the patches, or (0, 0)."""
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return (grid[0], grid[1]) if isinstance(grid, tuple) else (0, 0)


def _multiples(spec: ImageSpec, stride: int) -> tuple[int, int]:
    return -(-spec.height // stride) * stride, -(-spec.width // stride) * stride


def _refused(name: str, spec: ImageSpec, padded: tuple[int, int], error: Exception) -> UserError:
    size = f"{spec.height} x {spec.width} pixels"
    if padded != (spec.height, spec.width):
        size += f", padded to {padded[0]} x {padded[1]}"
    return UserError(f"encoder.name={name} cannot take images of {size}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
