"""The loop: what it hands to a method, what it yields, and that it repeats itself."""

from functools import partial

import pytest
import torch
from hydra.utils import instantiate

from ssl_mnist import compose, optim
from ssl_mnist.augment import Augmentation
from ssl_mnist.encoders import MLP
from ssl_mnist.engine import Engine
from ssl_mnist.methods import Method
from ssl_mnist.pretrain import pretrain

FACTS = {"channels": 1, "size": 28, "mean": [0.1307], "std": [0.3081]}
IMAGES = torch.randint(256, (130, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Spy(Method):
    """Learns nothing; remembers what it was handed. Its loss is the number of the step, or what `losses` says."""

    num_views = 2

    def __init__(self, losses=None):
        super().__init__(MLP(widths=[4], **FACTS))
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.losses, self.calls, self.progress = losses, [], []

    def forward(self, images, views):
        self.calls.append((images, views))
        step = len(self.calls)
        value = self.losses[step - 1] if self.losses else float(step)
        return {"loss": self.weight * 0 + value}

    def after_step(self, progress):
        self.progress.append(progress)


def train(method, epochs=2, batch_size=20, log_every=4, augmentation=None, lr=0.1):
    num_steps = epochs * (len(IMAGES) // batch_size)
    optimizer, schedule = optim.build(partial(torch.optim.SGD, lr=lr), method, num_steps, warmup_steps=4)
    engine = Engine.choose("cpu", "32")
    return pretrain(
        method, IMAGES, augmentation or Augmentation(channels=1, omit=None), optimizer, schedule, engine, epochs, batch_size, log_every
    )  # fmt: skip


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
    with pytest.raises(FloatingPointError, match=r"step 6 \(epoch 1\).*last good metrics: step 3, loss 2"):
        for row in train(Spy(losses=[1.0, 2.0, 3.0, 4.0, 5.0, bad])):
            rows.append(row)
    assert [row["step"] for row in rows] == [3]


def test_same_seed_same_bits():
    cfg = compose("method=simclr")
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        method = instantiate(cfg.method, encoder=instantiate(cfg.encoder, **FACTS))
        rows = list(train(method, augmentation=instantiate(cfg.augmentation, channels=1)))
        results.append(([row["pretrain/loss"] for row in rows], torch.cat([p.detach().flatten() for p in method.parameters()])))
    assert results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]


def test_only_weights_decay():
    decaying, still = optim.parameter_groups(instantiate(compose().encoder, **FACTS))
    assert still["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decaying["params"]) and all(p.ndim <= 1 for p in still["params"])
    assert len(decaying["params"]) == 4 and len(still["params"]) == 8


def test_a_missing_device_is_named():
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    with pytest.raises(ValueError, match=r"device=cuda is not there; this machine has: .*cpu"):
        Engine.choose("cuda", "auto")
