"""Encoders on disk: what comes back is what was saved, and nothing else comes back."""

import random
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
import wandb
from conftest import experiment

from ssl_mnist import load_encoder, tracking
from ssl_mnist.checkpoint import described, encoder_hash, save_encoder, save_safetensors
from ssl_mnist.encoders import MLP
from ssl_mnist.errors import UserError


def save(built, path):
    return save_encoder(built.encoder, path, "simclr", "0123456789abcdef")


@pytest.mark.parametrize("name", ["conv", "conv_deep", "mlp"])
def test_round_trip(name, tmp_path):
    """The file and the folder it lies in; frozen, in eval mode, with its spec, and as the file's only trace."""
    built = experiment(f"encoder={name}")
    images = torch.rand(8, 1, 28, 28)
    built.encoder.train()(images)  # moves BatchNorm's statistics, which must be saved too
    checksum = save(built, tmp_path / "encoder.pt")
    expected = built.encoder.to(memory_format=torch.contiguous_format).eval()(images)  # as it is loaded: another order, other last bits
    for place in (tmp_path / "encoder.pt", tmp_path, str(tmp_path)):
        loaded = load_encoder(place)
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters()) and list(loaded.parameters())
        assert (loaded.dim, loaded.spec) == (built.encoder.dim, built.encoder.spec)
        assert torch.equal(loaded(images), expected)
        assert encoder_hash(loaded) == encoder_hash(built.encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.pt"]
    saved = torch.load(tmp_path / "encoder.pt", weights_only=True)
    assert (saved["format"], saved["method"], saved["identity"], saved["sha256"]) == (2, "simclr", "0123456789abcdef", checksum)


def test_the_hash_is_of_the_weights():
    first, same, other = (experiment("encoder=mlp", "encoder.widths=[4]", f"seed={seed}").encoder for seed in (0, 0, 1))
    assert encoder_hash(first) == encoder_hash(same) != encoder_hash(other)
    first(torch.rand(8, 1, 28, 28))  # BatchNorm's statistics
    assert encoder_hash(first) != encoder_hash(same)


def test_a_flipped_bit_is_refused_or_harmless(tmp_path):
    """Each of 50 at random places: in a weight it changes the checksum, in the archive's padding it changes nothing."""
    built = experiment("encoder=mlp", "encoder.widths=[4]")
    path = tmp_path / "encoder.pt"
    save(built, path)
    content = path.read_bytes()
    images = torch.rand(8, 1, 28, 28)
    expected = built.encoder.eval()(images)
    draw, refused = random.Random(0), 0
    for _ in range(50):
        place, bit = draw.randrange(len(content)), draw.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            loaded = load_encoder(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert torch.equal(loaded(images), expected), f"bit {bit} of byte {place}"
    assert refused >= 40  # most of the file is weights


@pytest.mark.parametrize("part", ["weights", "arguments", "spec", "method", "identity", "class"])
def test_the_checksum_covers_everything(part, tmp_path):
    built = experiment("encoder=mlp", "encoder.widths=[4]")
    path = tmp_path / "encoder.pt"
    save(built, path)
    saved = torch.load(path, weights_only=True)
    match part:
        case "weights":
            saved["weights"]["trunk.1.weight"][0, 0] += 1e-6
        case "arguments":
            saved["arguments"]["widths"] = [5]
        case "spec":
            saved["spec"]["mean"] = [0.5]
        case _:
            saved[part] += "x"
    torch.save(saved, path)
    with pytest.raises(UserError, match=r"encoder\.pt is damaged: its content does not match its checksum"):
        load_encoder(path)


def test_every_length_of_a_file_cut_short_is_refused(tmp_path):
    built = experiment("encoder=mlp", "encoder.widths=[4]")
    path = tmp_path / "encoder.pt"
    save(built, path)
    content = path.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="is not an encoder saved by ssl_mnist, or it is damaged"):
            load_encoder(path)


MY_ENCODER = """
from ssl_mnist.encoders import MLP

imported = True


class Mine(MLP):
    pass


class NoEncoder:
    pass
"""


def test_a_class_from_outside_is_imported_only_where_it_is_allowed(tmp_path, monkeypatch):
    """Importing runs code, so it is not done before the caller says so."""
    (tmp_path / "my_encoders.py").write_text(MY_ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    import my_encoders

    built = experiment("encoder=mlp", "encoder.widths=[4]")
    built.encoder.__class__ = my_encoders.Mine
    save(built, tmp_path / "encoder.pt")
    del sys.modules["my_encoders"]
    with pytest.raises(UserError, match=r"of the class my_encoders\.Mine; load_encoder\(\.\.\., allow=\('my_encoders',\)\) imports it"):
        load_encoder(tmp_path / "encoder.pt")
    with pytest.raises(UserError, match=r"my_encoders\.Mine"):
        load_encoder(tmp_path / "encoder.pt", allow=("my_encoders_too",))
    assert "my_encoders" not in sys.modules
    loaded = load_encoder(tmp_path / "encoder.pt", allow=("my_encoders",))
    assert isinstance(loaded, MLP) and type(loaded).__name__ == "Mine"
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(loaded(images), built.encoder.eval()(images))
    sys.modules.pop("my_encoders")


@pytest.mark.parametrize("place", ["torch.nn.Linear", "ssl_mnist.build.Experiment", "ssl_mnist.encoders.nothing"])
def test_a_class_that_is_no_encoder_is_refused(place, tmp_path, monkeypatch):
    """Though its checksum is right."""
    from ssl_mnist import checkpoint

    built = experiment("encoder=mlp", "encoder.widths=[4]")
    save(built, tmp_path / "encoder.pt")
    saved = torch.load(tmp_path / "encoder.pt", weights_only=True) | {"class": place}
    content = {key: value for key, value in saved.items() if key not in ("weights", "sha256")}
    torch.save(saved | {"sha256": checkpoint._checksum(content, saved["weights"])}, tmp_path / "encoder.pt")
    with pytest.raises(UserError, match="is no encoder" if place.startswith("ssl") else "class torch.nn.Linear"):
        load_encoder(tmp_path / "encoder.pt")


class _Code:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a checkpoint was run')",))


VERSION_0_1 = {"class": "MLP", "arguments": {"widths": [4], "channels": 1, "size": 28, "mean": [0.1], "std": [0.3]}, "weights": {}}


@pytest.mark.parametrize(
    "content,words",
    [
        (VERSION_0_1, r" 0\.2 or later; one of version 0\.1 has to be trained again"),
        ({"format": 3, "class": "ssl_mnist.encoders.mlp.MLP"}, r" 0\.2 or later"),
        ({"format": 2}, ""),
        ({"format": 2, "weights": {}}, ""),
        ({"format": 2, "weights": [1], "sha256": ""}, ""),
        ({"format": 2, "weights": {"a": 1}, "sha256": "", "x": torch.zeros(2)}, ""),
        ({"weights": {}}, ""),
        (torch.zeros(3), ""),
        ([1, 2], ""),
        (_Code(), ", or it is damaged"),
    ],
    ids=["0.1", "later", "no weights", "no checksum", "list", "no tensors", "no format", "tensor", "a list", "code"],
)
def test_anything_else_is_refused_in_one_line(content, words, tmp_path):
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(UserError, match=rf"bad\.pt is not an encoder saved by ssl_mnist{words}") as caught:
        load_encoder(tmp_path / "bad.pt")
    assert "\n" not in str(caught.value)


def test_no_file_is_no_checkpoint(tmp_path):
    for place in (tmp_path / "encoder.pt", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no such encoder"):
            load_encoder(place)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="not an encoder"):
        load_encoder(tmp_path / "text.pt")


def test_safetensors_round_trip(tmp_path):
    """The file and its folder; the weights alone, not what lies beside them."""
    built = experiment("encoder=conv_deep")
    built.encoder.train()(torch.rand(8, 1, 28, 28))
    path = tmp_path / "model.safetensors"
    save_safetensors(built.encoder, path, described(built.encoder, "simclr", "0123456789abcdef"), {"probe.bias": torch.ones(3)})
    for place in (path, tmp_path):
        loaded = load_encoder(place)
        assert encoder_hash(loaded) == encoder_hash(built.encoder) and loaded.spec == built.spec
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # of a weight
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors is damaged: its content does not match its checksum"):
        load_encoder(path)


@pytest.mark.parametrize("content", [b"", b"{}", bytes(64)])
def test_foreign_safetensors_are_one_line(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors is not an encoder saved by ssl_mnist, or it is damaged$"):
        load_encoder(tmp_path)


def test_safetensors_of_another_program_are_one_line(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors is not an encoder saved by ssl_mnist, or it is damaged$"):
        load_encoder(tmp_path)


def test_an_artifact_is_loaded(tmp_path, monkeypatch):
    """By its name, where no file or folder has it; the client is a stand-in that hands out one file."""
    built = experiment("encoder=mlp")
    save(built, tmp_path / "kept.pt")
    asked = []

    class Api:
        def __init__(self, timeout):
            assert timeout < 60

        def artifact(self, name):
            asked.append(name)
            return self

        def download(self, root):
            shutil.copy(tmp_path / "kept.pt", Path(root) / "encoder.pt")

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    for name in ("me/digits/encoder-abc:latest", "digits/encoder-abc:v0"):
        assert encoder_hash(load_encoder(name)) == encoder_hash(built.encoder) and asked.pop() == name
    with pytest.raises(FileNotFoundError, match="there is no such encoder"):
        load_encoder("outputs/runs/none")
    assert not asked


@pytest.fixture
def _client():
    """The client reads its settings once a process."""
    yield wandb.teardown()
    wandb.teardown()


def test_an_artifact_that_cannot_be_had_is_one_line(_client, monkeypatch):
    """Without a key, and from a server that refuses connections."""
    with pytest.raises(UserError, match=r"no file or folder a/b:v0, and W&B does not .*: no W&B key is configured \(wandb login\)$"):
        load_encoder("a/b:v0")
    monkeypatch.setattr(tracking, "INIT_TIMEOUT", 1)
    monkeypatch.setenv("WANDB_API_KEY", "local" + "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()
    with pytest.raises(UserError, match=r"^there is no file or folder a/b:v0, and W&B does not give the artifact of this name: .+$"):
        load_encoder("a/b:v0")


def test_a_silent_server_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "Api", lambda timeout: time.sleep(60))
    monkeypatch.setattr(tracking, "FETCH_TIMEOUT", 0.2)
    with pytest.raises(UserError, match=r"no answer in 0.2 s$"):
        load_encoder("a/b:v0")
