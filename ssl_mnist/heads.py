"""The small networks a method puts on top of an encoder."""

from itertools import pairwise

from torch import nn


def mlp(widths: list[int]) -> nn.Sequential:
    """(B, widths[0]) -> (B, widths[-1]): linear layers with BatchNorm and ReLU between them, none after the last.

    With three widths this is the projector of SimCLR (Chen et al. 2020, section 2.1), BatchNorm added as in its version 2.
    """
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise(widths[:-1]):
        layers += [nn.Linear(num_in, num_out, bias=False), nn.BatchNorm1d(num_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
