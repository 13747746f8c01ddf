"""A multilayer perceptron on the flattened image."""

from torch import Tensor, nn

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders.base import Encoder, Features
from ssl_mnist.errors import UserError


class MLP(Encoder):
    """Fully connected layers with BatchNorm and ReLU; no feature map, so no `linear_map` score."""

    def __init__(self, widths: list[int], spec: ImageSpec) -> None:
        super().__init__(spec)
        if not widths or not 1 <= min(widths) <= max(widths) <= 65_536:
            raise UserError(f"encoder.widths must be whole numbers in 1..65,536, got {widths}")
        layers: list[nn.Module] = [nn.Flatten()]
        for num_in, num_out in zip([spec.channels * spec.height * spec.width, *widths], widths, strict=False):
            layers += [nn.Linear(num_in, num_out, bias=False), nn.BatchNorm1d(num_out), nn.ReLU(inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.widths, self.dim = widths, widths[-1]

    def hidden_layers(self) -> list[nn.Module]:
        return [layer for layer in self.trunk if isinstance(layer, nn.ReLU)]

    def features(self, images: Tensor) -> Features:
        return Features(self.trunk(self.normalise(images)))

    def decoder(self) -> nn.Module:
        from ssl_mnist.encoders.decoders import mlp_decoder

        return mlp_decoder(self.widths, self.spec)
