"""The loop: what it hands to a method, what it yields, and that it repeats itself."""

import dataclasses
from functools import partial

import pytest
import torch
from conftest import CPU, SPEC, experiment, noise

from ssl_mnist.encoders import MLP
from ssl_mnist.errors import UserError
from ssl_mnist.methods import Method
from ssl_mnist.training import optim
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import Diverged, pretrain
from ssl_mnist.training.seeds import seed_for

IMAGES = noise().train.images


class Spy(Method):
    """Learns nothing; remembers what it was handed. Its loss is the number of the step, or what `losses` says."""

    num_views = 2

    def __init__(self, losses=None):
        super().__init__(MLP([4], SPEC))
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.losses, self.calls, self.progress = losses, [], []

    def forward(self, images, views):
        self.calls.append((images, views))
        step = len(self.calls)
        value = self.losses[step - 1] if self.losses else float(step)
        return {"loss": self.weight * 0 + value}

    def loss(self, outputs):
        return outputs

    def after_step(self, progress):
        self.progress.append(progress)


def train(method, epochs=2, batch_size=20, log_every=4, lr=0.1):
    built = experiment("augmentation=none")
    num_steps = epochs * (len(IMAGES) // batch_size)
    optimizer, schedule = optim.make_optimizer(partial(torch.optim.SGD, lr=lr), method, num_steps, warmup_steps=4)
    return pretrain(
        dataclasses.replace(
            built, method=method, optimizer=optimizer, schedule=schedule, epochs=epochs, batch_size=batch_size, log_every=log_every
        )
    )


def test_rows_and_means():
    method = Spy()
    rows = list(train(method))  # 130 images, 6 whole batches an epoch
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert [row["pretrain/loss"] for row in rows] == [2, 5, 8, 11]
    assert [row["epoch"] for row in rows] == [0.5, 1, 1.5, 2]
    assert [row.get("pretrain/epoch_loss") for row in rows] == [None, 3.5, None, 9.5]
    assert method.progress == [pytest.approx(step / 12) for step in range(1, 13)]
    assert not method.training


def test_a_batch_is_images_and_nothing_else():
    method = Spy()
    list(train(method, epochs=1))
    seen = set()
    for images, views in method.calls:
        assert images.shape == (20, 1, 28, 28) and images.dtype == torch.float32
        assert isinstance(views, tuple) and [view.shape for view in views] == [images.shape] * 2
        seen |= {tuple(image.flatten().mul(255).round().byte().tolist()) for image in images}
    known = {tuple(image.flatten().tolist()) for image in IMAGES}
    assert len(seen) == 120 and seen <= known  # an epoch: each image at most once, nothing from elsewhere


def test_warm_up_then_cosine():
    rates = [row["pretrain/lr"] for row in train(Spy(), epochs=4, log_every=1)]
    peak = rates.index(max(rates))
    assert rates[peak] == pytest.approx(0.1) and peak in (3, 4)
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(0.1 / 4) and rates[-1] < 0.002


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_its_step(bad):
    rows = []
    with pytest.raises(Diverged, match=r"step 6 \(epoch 1\).*last good metrics: step 3, loss 2"):
        for row in train(Spy(losses=[1.0, 2.0, 3.0, 4.0, 5.0, bad])):
            rows.append(row)
    assert [row["step"] for row in rows] == [3]


def test_same_seed_same_bits_whatever_was_drawn_before():
    results = []
    for seed in (0, 0, 1):
        torch.rand(17)
        built = experiment(f"seed={seed}", "pretrain.epochs=2")
        rows = list(pretrain(built))
        results.append(([row["pretrain/loss"] for row in rows], torch.cat([p.detach().flatten() for p in built.method.parameters()])))
    assert results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]


def test_figures_between_two_steps_change_nothing():
    """What the consumer draws between two rows does not reach the training."""
    plain, disturbed = experiment("pretrain.epochs=2", "pretrain.log_every=1"), experiment("pretrain.epochs=2", "pretrain.log_every=1")
    first = [row["pretrain/loss"] for row in pretrain(plain)]
    second = []
    for row in pretrain(disturbed):
        torch.rand(5)
        second.append(row["pretrain/loss"])
    assert first == second


def test_methods_of_one_seed_begin_with_the_same_encoder():
    first, second = (experiment(f"method={name}").encoder.state_dict() for name in ("simclr", "rotation"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_seeds_differ_by_purpose_moment_and_rank():
    assert seed_for(0, "views", 3) == seed_for(0, "views", 3)
    assert len({seed_for(0, "views"), seed_for(1, "views"), seed_for(0, "order"), seed_for(0, "views", 1), seed_for(0, "views", 0, 1)}) == 5


def test_a_term_that_was_not_measured_is_left_out_of_its_mean():
    class Now(Spy):
        def forward(self, images, views):
            found = super().forward(images, views)
            return found | {"now": torch.tensor(float("nan") if len(self.calls) % 2 else 4.0)}

    assert [row.get("pretrain/now") for row in train(Now(), log_every=1)][:2] == [None, 4.0]


def test_a_reserved_name_is_refused():
    class Named(Spy):
        def forward(self, images, views):
            return super().forward(images, views) | {"lr": torch.ones(())}

    with pytest.raises(UserError, match="a term named lr"):
        list(train(Named()))


def test_only_weights_decay():
    decaying, still = optim.parameter_groups(experiment().encoder)
    assert still["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decaying["params"]) and all(p.ndim <= 1 for p in still["params"])
    assert len(decaying["params"]) == 4 and len(still["params"]) == 8


def test_lars_without_decay_is_refused():
    with pytest.raises(UserError, match=r"set optimizer\.weight_decay above 0"):
        experiment("optimizer=lars", "optimizer.weight_decay=0")


def test_a_missing_device_is_named():
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    with pytest.raises(UserError, match=r"device=cuda is not available; this machine has: .*cpu"):
        Device.choose("cuda", "auto")
    assert CPU.precision == "32"
