"""A user's own images, as a folder and as arrays: every kind of file, every layout, every mistake in one line; and public data sets."""

import gzip
import importlib
import json
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CPU as DEVICE
from conftest import SPEC, command, summary_of
from PIL import Image

from ssl_mnist import data
from ssl_mnist.data import KnownSpec, decode, folder
from ssl_mnist.data.splits import three_parts
from ssl_mnist.data.stored import Stored
from ssl_mnist.errors import UserError

public = importlib.import_module("ssl_mnist.data.public")  # as an attribute of the package, `public` is the function
CPU = DEVICE.device
MEASURED = KnownSpec(None, None, None, None, None, None, [])


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def fill(root: Path, classes: dict[str, int], size: tuple[int, int] = (20, 20)) -> Path:
    """`classes[name]` PNG files of noise in root/name."""
    for k, (name, num) in enumerate(classes.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(num):
            Image.fromarray(noise(*size, 3, seed=1000 * k + i)).save(root / name / f"{i}.png")
    return root


def read(root: Path, **changes):
    settings = {"size": 16, "channels": 3, "resize": "squash", "val": 0.2, "test": 0.2, "allow_broken": False, "cache": None}
    return data.image_folder(**{"root": str(root), **settings, "device_limit_gb": 4.0, "spec": MEASURED, "device": CPU} | changes)


def parts(dataset):
    return dataset.train, dataset.val, dataset.read_test()


# --- one file ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("RGB", "tiff"), ("RGB", "bmp"), ("L", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("1", "png")],
)
def test_lossless_modes_keep_their_pixels(mode, suffix, tmp_path):
    image = Image.fromarray(noise(16, 12, 3)).convert(mode)
    if "A" in mode:
        image.putalpha(255)
    image.save(tmp_path / f"x.{suffix}")
    found = decode.decode(str(tmp_path / f"x.{suffix}"), (16, 12), 3, "squash")
    assert found.shape == (3, 16, 12) and found.dtype == np.uint8
    assert (found == np.asarray(image.convert("RGB")).transpose(2, 0, 1)).all()


@pytest.mark.parametrize(("save", "tolerance"), [({"format": "JPEG", "quality": 95}, 25), ({"format": "WEBP", "quality": 95}, 25)])
def test_lossy_formats_and_cmyk(save, tolerance, tmp_path):
    smooth = np.asarray(Image.fromarray(noise(4, 4, 3)).resize((32, 32), Image.Resampling.BICUBIC))
    for mode in ("RGB", "CMYK") if save["format"] == "JPEG" else ("RGB",):
        Image.fromarray(smooth).convert(mode).save(tmp_path / "x", **save)
        found = decode.decode(str(tmp_path / "x"), (32, 32), 3, "squash").astype(int)
        assert np.abs(found - smooth.transpose(2, 0, 1)).mean() < tolerance


def test_sixteen_bits_are_scaled_and_transparent_parts_are_white(tmp_path):
    values = noise(16, 16)
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "x.png")
    assert (decode.decode(str(tmp_path / "x.png"), (16, 16), 1, "squash")[0] == values).all()
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (decode.decode(str(tmp_path / "clear.png"), (16, 16), 3, "squash") == 255).all()


def test_the_right_way_up(tmp_path):
    """Orientation 6: the camera was held upright, the stored image lies on its side."""
    upright = np.zeros((20, 10, 3), np.uint8)
    upright[:10] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "x.png", exif=exif)
    assert (decode.decode(str(tmp_path / "x.png"), (20, 10), 3, "squash") == upright.transpose(2, 0, 1)).all()


def test_aspect_ratio(tmp_path):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 8:24] = 200
    Image.fromarray(wide).save(tmp_path / "x.png")
    squash, crop, pad = (decode.decode(str(tmp_path / "x.png"), (16, 16), 3, how)[0] for how in ("squash", "crop", "pad"))
    assert (squash[:, 0] == 0).all() and (squash[:, 8] == 200).all()
    assert (crop == 200).all()
    assert (pad[:4] == 0).all() and (pad[-4:] == 0).all() and pad[8, 8] == 200


def test_small_and_broken_files_say_why(tmp_path):
    Image.fromarray(noise(7, 20, 3)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="is 20 x 7 pixels, fewer than 8 a side"):
        decode.decode(str(tmp_path / "small.png"), (16, 16), 3, "squash")
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "x.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:900])
    with pytest.raises(OSError, match="truncated"):
        decode.decode(str(tmp_path / "cut.jpg"), (16, 16), 3, "squash")


# --- a folder ---------------------------------------------------------------------------------------------------------------------------


def test_classes_are_split_in_three(tmp_path):
    dataset = read(fill(tmp_path / "pets", {"cat": 20, "dog": 10}))
    assert dataset.name == "pets" and dataset.spec.classes == ["cat", "dog"] and "stratified by class" in dataset.note
    assert [data.class_counts(part, dataset.spec.classes) for part in parts(dataset)] == [[12, 6], [4, 2], [4, 2]]
    images = torch.cat([part.images for part in parts(dataset)])
    assert len(images.flatten(1).unique(dim=0)) == 30  # no image twice, none lost
    mean = dataset.train.images.float().mean((0, 2, 3)) / 255
    assert torch.tensor(dataset.spec.mean) == pytest.approx(mean, abs=1e-4)


def test_each_image_keeps_its_label(tmp_path):
    for k, name in enumerate(("a", "b", "c")):
        (tmp_path / "x" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (8, 8), 80 * k).save(tmp_path / "x" / name / f"{i}.png")
    dataset = read(tmp_path / "x", channels=1, size=8)
    for part in parts(dataset):
        assert part.images.shape[1:] == (1, 8, 8) and (part.images[:, 0, 0, 0] == 80 * part.labels).all()


def test_named_parts_are_kept(tmp_path):
    for part, num in (("train", 10), ("valid", 3), ("test", 4)):
        fill(tmp_path / "x" / part, {"a": num, "b": num})
    dataset = read(tmp_path / "x")
    assert [len(part) for part in parts(dataset)] == [20, 6, 8] and dataset.note == "train, val and test as the folders say"
    for image in (tmp_path / "x" / "valid").rglob("*.png"):
        image.unlink()
    assert [len(part) for part in parts(read(tmp_path / "x"))] == [16, 4, 8]


def test_images_alone_have_no_labels(tmp_path):
    dataset = read(fill(tmp_path, {"pile": 20}) / "pile")
    assert dataset.spec.classes is None and [part.labels for part in parts(dataset)] == [None] * 3
    assert [len(part) for part in parts(dataset)] == [12, 4, 4]


def test_a_second_start_decodes_nothing_and_a_change_is_seen(tmp_path, monkeypatch):
    root, cache = fill(tmp_path / "x", {"a": 6, "b": 6}), tmp_path / "cache"
    first = read(root, cache=str(cache))
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_run_workers", None)
        patch.setattr(folder, "FileLock", None)  # nor is anything written: a cache that is read-only serves
        again = read(root, cache=str(cache))
    assert again.fingerprint == first.fingerprint and torch.equal(again.train.images, first.train.images)
    Image.fromarray(noise(20, 20, 3, seed=99)).save(root / "a" / "0.png")
    os.utime(root / "a" / "0.png", ns=(1, 1))
    assert read(root, cache=str(cache)).fingerprint != first.fingerprint
    (place,) = cache.iterdir()
    assert len(list(place.glob("*.u8"))) == len(list(place.glob("*.json"))) == 1


def test_a_cache_that_was_cut_short_is_made_again(tmp_path):
    root, cache = fill(tmp_path / "x", {"a": 6, "b": 6}), tmp_path / "cache"
    first = read(root, cache=str(cache))
    (images,) = cache.rglob("*.u8")
    images.write_bytes(images.read_bytes()[:-1])
    assert torch.equal(read(root, cache=str(cache)).train.images, first.train.images)
    (index,) = cache.rglob("*.json")
    index.write_text("{")
    assert read(root, cache=str(cache)).fingerprint == first.fingerprint


def test_two_at_once_decode_once(tmp_path, monkeypatch):
    root, calls, found = fill(tmp_path / "x", {"a": 6, "b": 6}), [], []
    run = folder._run_workers
    monkeypatch.setattr(folder, "_run_workers", lambda *a: calls.append(1) or run(*a))
    threads = [threading.Thread(target=lambda: found.append(read(root).fingerprint)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len(set(found)) == 1 and len(found) == 2


def test_images_past_the_limit_stay_in_the_file(tmp_path):
    root = fill(tmp_path / "x", {"a": 20, "b": 20})
    held, stored = read(root), read(root, device_limit_gb=0.0)
    assert isinstance(stored.train.images, Stored) and stored.fingerprint == held.fingerprint
    order = torch.randperm(len(held.train), generator=torch.Generator().manual_seed(0))
    for one, other in zip(parts(held), parts(stored), strict=True):
        assert torch.equal(one.images, other.images[:]) and torch.equal(one.labels, other.labels)
    batches = [list(data.batches(each.train.images, order, 7)) for each in (held, stored)]
    assert len(batches[0]) == 3 and all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_broken_files_are_named_and_left_out(tmp_path, capsys, caplog):
    root = fill(tmp_path / "x", {"a": 60, "b": 60})
    (root / "a" / "7.png").write_text("no image")
    (root / "notes.txt").write_text("mine")
    (root / ".DS_Store").write_text("")
    dataset = read(root)
    assert sum(len(part) for part in parts(dataset)) == 119
    assert "a/7.png" in caplog.text and "notes.txt" in capsys.readouterr().out
    for i in range(3):
        (root / "b" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^.* \(data\.root\): 4 images of 120 cannot be decoded: .*data\.allow_broken=true") as error:
        read(root)
    assert "\n" not in str(error.value)
    assert sum(len(part) for part in parts(read(root, allow_broken=True))) == 116


LAYOUTS = {
    "no folder": (lambda root: None, "is not there"),
    "a file": (lambda root: root.write_text(""), "is a file"),
    "empty": (lambda root: root.mkdir(), "holds 0 files and no image"),
    "text": (lambda root: (root.mkdir(), (root / "a.txt").write_text("")), "holds 1 file and no image"),
    "one image": (lambda root: fill(root.parent, {root.name: 1}), "too few for train, val and test"),
    "one class": (lambda root: fill(root, {"a": 9}), "holds one class, a"),
    "a class of one image": (lambda root: fill(root, {"a": 9, "b": 1}), "class b has 1 image"),
    "tiny images": (lambda root: fill(root, {"a": 5, "b": 5}, (5, 5)), "fewer than 8 a side"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_that_cannot_be_used_is_one_line(name, tmp_path):
    make, words = LAYOUTS[name]
    make(tmp_path / "x")
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path / "x")
    assert "data.root" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"size": 4}, "data.size"), ({"size": [16]}, "data.size"), ({"channels": 2}, "data.channels"), ({"resize": "x"}, "data.resize"),
     ({"val": 0.6}, "data.val"), ({"test": 0.0}, "data.test"), ({"cache": "/proc/nope"}, "data.cache")],
)  # fmt: skip
def test_settings_of_a_folder(change, words, tmp_path):
    with pytest.raises(UserError, match=words):
        read(fill(tmp_path / "x", {"a": 5, "b": 5}), **change)


def test_small_classes_are_in_every_part():
    labels = np.repeat([0, 1], [100, 3])
    found = three_parts(labels, 103, (0.1, 0.1))
    assert [np.bincount(labels[part]).tolist() for part in found] == [[80, 1], [10, 1], [10, 1]]
    assert sorted(np.concatenate(found)) == list(range(103))


# --- arrays -----------------------------------------------------------------------------------------------------------------------------


def from_arrays(path: Path, **content):
    np.savez(path, **content)
    return data.arrays(str(path), 0.1, 0.1, MEASURED, CPU)


@pytest.mark.parametrize("shape", [(50, 12, 10), (50, 20, 18, 3), (50, 3, 20, 18)])
@pytest.mark.parametrize("as_float", [False, True])
def test_arrays_in_every_shape(shape, as_float, tmp_path):
    images = noise(*shape)
    labels = np.array(["dog", "cat"])[np.arange(50) % 2]
    dataset = from_arrays(tmp_path / "mine.npz", images=images / np.float32(255) if as_float else images, labels=labels)
    assert dataset.name == "mine" and dataset.spec.classes == ["cat", "dog"]
    expected = images[:, None] if len(shape) == 3 else images if shape[1] == 3 else images.transpose(0, 3, 1, 2)
    everything = torch.cat([part.images for part in parts(dataset)])
    order = np.concatenate(three_parts(np.arange(50) % 2 == 0, 50, (0.1, 0.1)))
    assert (everything.sort(0).values == torch.from_numpy(expected).sort(0).values).all() and len(order) == 50
    for part in parts(dataset):
        for image, label in zip(part.images, part.labels, strict=True):
            index = int((torch.from_numpy(expected) == image).flatten(1).all(1).nonzero())
            assert dataset.spec.classes[label] == labels[index]


GOOD = noise(50, 20, 20)
WRONG = {
    "rank": ({"images": noise(50, 400)}, "must be \\(N, H, W\\)"),
    "NaN": ({"images": np.full((50, 20, 20), np.nan)}, "not finite"),
    "floats in 0..255": ({"images": GOOD.astype(np.float32)}, "divide them by 255"),
    "negative": ({"images": GOOD / 255 - 0.5}, "bring them to"),
    "whole numbers": ({"images": GOOD.astype(np.int64)}, "must be uint8"),
    "labels of another length": ({"images": GOOD, "labels": np.arange(49)}, "labels of the shape 49"),
    "labels that are floats": ({"images": GOOD, "labels": np.arange(50) / 2}, "whole numbers or texts"),
    "one class": ({"images": GOOD, "labels": np.zeros(50, int)}, "all labels are 0"),
    "no images": ({"x": GOOD}, "the name must be images"),
    "small": ({"images": noise(50, 5, 5)}, "8 pixels"),
    "two images": ({"images": GOOD[:2]}, "too few"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_one_line(name, tmp_path):
    content, words = WRONG[name]
    with pytest.raises(UserError, match=words) as error:
        from_arrays(tmp_path / "x.npz", **content)
    assert "data.path" in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_no_npz(tmp_path):
    for content in (b"", b"text", b"PK\x03\x04"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"data\.path"):
            data.arrays(str(tmp_path / "x.npz"), 0.1, 0.1, MEASURED, CPU)
    with pytest.raises(UserError, match="there is no file"):
        data.arrays(str(tmp_path / "y.npz"), 0.1, 0.1, MEASURED, CPU)


# --- public data sets -------------------------------------------------------------------------------------------------------------------


def idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(num.to_bytes(4, "big") for num in values.shape)
    path.write_bytes(header + values.tobytes())


def test_a_set_in_mnists_format_and_its_transposed_kin(tmp_path):
    images, labels = noise(200, 28, 28), np.arange(200, dtype=np.uint8) % 47
    for part in ("train", "test"):
        idx(tmp_path / f"EMNIST/raw/emnist-balanced-{part}-images-idx3-ubyte", images)
        idx(tmp_path / f"EMNIST/raw/emnist-balanced-{part}-labels-idx1-ubyte", labels)
    arguments = [{"split": "balanced", "train": train} for train in (True, False)]
    dataset = public.public("EMNIST", *arguments, None, str(tmp_path.parent), 50, True, None, MEASURED, CPU)
    assert dataset.name == "emnist" and len(dataset.spec.classes) == 47 and [len(p) for p in parts(dataset)] == [150, 50, 200]
    test = dataset.read_test()
    assert (test.images[:, 0].numpy() == images.transpose(0, 2, 1)).all() and (test.labels.numpy() == labels).all()


def test_cifar10_in_torchvisions_files(tmp_path, monkeypatch):
    """Colour images, first by channel; the checksums of the real files are not looked at."""
    images, labels = noise(50, 3, 32, 32), np.arange(50) % 10
    raw = tmp_path / "cifar-10-batches-py"
    raw.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (raw / name).write_bytes(pickle.dumps({"data": images.reshape(50, -1), "labels": labels.tolist()}))
    (raw / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{i}" for i in range(10)]}))
    import torchvision

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: (Path(self.root) / "cifar-10-batches-py").is_dir())
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda self: setattr(self, "classes", [f"c{i}" for i in range(10)]))
    dataset = public.public("CIFAR10", {"train": True}, {"train": False}, None, str(tmp_path), 50, False, "0" * 16, MEASURED, CPU)
    assert dataset.name == "cifar10-format" and dataset.spec.classes[3] == "c3"
    assert (dataset.read_test().images.numpy() == images).all()


def test_absent_and_damaged_sets_are_one_line(tmp_path):
    (tmp_path / "mine.txt").write_text("")
    arguments = ({"train": True}, {"train": False}, None, str(tmp_path), 50, False, None, MEASURED, CPU)
    with pytest.raises(data.DataNotFound, match=r"there is no intact FashionMNIST in .*data\.root"):
        public.public("FashionMNIST", *arguments)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            idx(tmp_path / f"FashionMNIST/raw/{part}-{kind}-ubyte", np.zeros(0, np.uint8))
            (tmp_path / f"FashionMNIST/raw/{part}-{kind}-ubyte").write_bytes(gzip.compress(b"x"))
    with pytest.raises(UserError, match=r"FashionMNIST in .*is damaged") as error:
        public.public("FashionMNIST", *arguments)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"data\.dataset must be a class"):
        public.public("Nope", *arguments)


def test_packaged_8x8_digits():
    dataset = data.digits_8x8(180, 180, KnownSpec(None, None, None, None, None, SPEC.classes, []), CPU)
    assert [len(part) for part in parts(dataset)] == [1437, 180, 180] and (dataset.spec.height, dataset.spec.width) == (16, 16)


# --- whole runs -------------------------------------------------------------------------------------------------------------------------


def test_a_run_without_labels_says_what_it_leaves_out(tmp_path):
    np.savez(tmp_path / "x.npz", images=noise(120, 16, 16))
    settings = ("pretrain.epochs=1", "tracking.mode=disabled", "evaluation.num_points=50", "hydra.sweep.dir=s")
    result = command("-m", "data=arrays", "data.path=x.npz", *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "no score: the images have no labels" in result.stdout
    assert "WARNING not evaluated: linear, linear_map, knn, kmeans, few_labels: the images have no labels" in result.stdout
    assert "batches of 96 instead of 256 images" in result.stdout
    summary = summary_of(tmp_path / "s" / "0-simclr")
    assert summary["scores"] == {} and summary["data/classes"] is None and summary["data/train_size"] == 96
    figures = {path.stem for path in (tmp_path / "s" / "0-simclr" / "figures").iterdir()}
    assert "There are no scores to compare: the images have no labels." in result.stdout
    assert {"tsne", "pca", "nearest_neighbours", "augmented_views"} <= figures and "confusion_matrix" not in figures


def test_a_run_on_a_folder_evaluates_what_fits(tmp_path):
    fill(tmp_path / "pets", {"cat": 40, "dog": 40, "emu": 40})
    settings = ("data.size=16", "pretrain.epochs=1", "tracking.mode=disabled", "evaluation.num_points=50", "hydra.run.dir=run")
    result = command("data=image_folder", "data.root=pets", *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "augment crop, flip, jitter, grayscale (auto" in result.stdout and "not evaluated: few_labels" in result.stdout
    summary = summary_of(tmp_path / "run")
    assert summary["data/source"] == "pets" and 0 <= summary["test/linear_accuracy"] <= 1
    again = command("run", "evaluation=quick", module="ssl_mnist.evaluate", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    (scores,) = (json.loads(path.read_text()) for path in (tmp_path / "run" / "evaluation").iterdir())
    assert scores["test/linear_accuracy"] == summary["test/linear_accuracy"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["data"]["root"] == str(tmp_path / "pets")
