"""Twenty steps without BatchNorm, and what came of them: `python two_ranks.py <method> <file>`, as one of the ranks of the environment."""

import sys

import torch
from conftest import CPU, noise, settings
from torch import nn

from ssl_mnist.build import build
from ssl_mnist.training.distributed import Ranks
from ssl_mnist.training.loop import pretrain


def without_batch_norm(module):
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        without_batch_norm(child)


method, file = sys.argv[1:]
ranks = Ranks.join("cpu")
words = (f"method={method}", "augmentation=none", "pretrain.batch_size=40", "pretrain.epochs=4", "pretrain.log_every=1", "optimizer=sgd")
dataset = noise(200)
built = build(settings(*words, "evaluation=quick"), CPU, dataset, ranks)
without_batch_norm(built.method)
rows = list(pretrain(built))
if ranks.rank == 0:
    torch.save({"losses": [row["pretrain/loss"] for row in rows], "weights": built.method.state_dict()}, file)
