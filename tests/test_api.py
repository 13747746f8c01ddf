"""The library: the same results as the command's, a caller's process left alone, images of any kind or a line that says why not."""

import gc
import logging
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
import wandb
from conftest import CPU, REPOSITORY, SPEC, TINY, experiment, isolate, noise, settings, without_times
from PIL import Image

import ssl_mnist
from ssl_mnist import pipeline
from ssl_mnist.build import make_dataset
from ssl_mnist.data import ImageSpec, as_float
from ssl_mnist.errors import UserError

TRAINED = (*TINY, "pretrain.epochs=1", "evaluation.test=true")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
RGB = ImageSpec(channels=3, height=12, width=16, mean=[0.5] * 3, std=[0.25] * 3, classes=SPEC.classes, label_changing=[])


@pytest.fixture(scope="module")
def result():
    return ssl_mnist.run(*TRAINED, "evaluation.cache=true")


def test_the_result_is_the_commands(result, tmp_path):
    again = pipeline.run(ssl_mnist.compose(*TRAINED, "evaluation.cache=true"), tmp_path / "run")
    assert without_times([result.summary]) == without_times([again])
    assert {path.name for path in result.folder.iterdir()} == {path.name for path in (tmp_path / "run").iterdir()}


def test_the_result_is_of_the_test_images(result):
    test = make_dataset(settings(*TRAINED), CPU).read_test()
    assert result.split == "test" and result.embeddings.dtype == np.float32
    assert (result.labels == test.labels.numpy()).all()
    with torch.no_grad():
        assert np.allclose(result.embeddings, result.encoder(as_float(test.images)).numpy(), atol=1e-5)


@pytest.mark.parametrize("tta", [0, 1])
def test_embeddings_that_were_not_kept_are_made_again(tta, tmp_path):
    """Those of val where test is not read, with test-time augmentation as the evaluation has them."""
    words = (*TINY, "evaluation.test=false", f"evaluation.tta={tta}", f"objective=val/linear{'_tta1' * tta}_accuracy")
    kept, made = (ssl_mnist.run(*words, f"evaluation.cache={cache}", folder=tmp_path / cache) for cache in ("true", "false"))
    assert kept.split == made.split == "val" and len(kept.embeddings) == 500 == len(kept.labels)
    assert np.array_equal(kept.embeddings, made.embeddings)


def test_a_result_shows_itself(result):
    assert "linear probe" in repr(result) and str(result.folder) in repr(result)
    assert result._repr_html_().startswith("<pre>")
    assert {"loss", "tsne", "confusion_matrix"} <= set(result.figures)
    assert all(figure._repr_png_().startswith(b"\x89PNG") for figure in result.figures.values())


def test_a_temporary_folder_lives_as_long_as_its_result():
    result = ssl_mnist.run(*TINY)
    folder = result.folder
    assert (folder / "summary.json").is_file()
    del result
    gc.collect()
    assert not folder.exists()


def test_a_run_that_fails_leaves_no_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UserError, match=r"^pretrain.batch_size must be at most the 4,000 training images, got 5,000$"):
        ssl_mnist.run(*TINY, "pretrain.batch_size=5000")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_named_stays_and_is_read_again(tmp_path, monkeypatch):
    first = ssl_mnist.run(*TINY, folder=tmp_path / "run")
    monkeypatch.setattr("ssl_mnist.training.loop.steps", None)
    again = ssl_mnist.run(*TINY, folder=str(tmp_path / "run"))
    assert again.summary == first.summary and again.folder == first.folder == tmp_path / "run"


@pytest.mark.parametrize("word", ["hydra.run.dir=here", "hydra.sweep.dir=here"])
def test_where_results_go_is_an_argument(word):
    with pytest.raises(UserError, match=rf"^{word} is for the command; run\(..., folder=...\) says where results go$"):
        ssl_mnist.run(word)


def test_a_callers_process_is_left_alone(tmp_path):
    """Its random numbers, threads, signal handlers, logging and its own W&B run."""
    wandb.teardown()
    mine = wandb.init(mode="offline", dir=tmp_path, project="mine")
    try:
        torch.manual_seed(3)
        torch.set_num_threads(2)
        root = logging.getLogger()
        before = torch.get_rng_state(), torch.get_num_threads(), [*map(signal.getsignal, SIGNALS)], list(root.handlers), root.level
        result = ssl_mnist.run(*[word for word in TINY if "tracking" not in word], "tracking.mode=offline", "threads=1")
        after = torch.get_rng_state(), torch.get_num_threads(), [*map(signal.getsignal, SIGNALS)]
        assert torch.equal(before[0], after[0]) and before[1:3] == after[1:]
        assert (root.handlers, root.level) == before[3:]
        assert wandb.run is mine and not mine._is_finished
        mine.log({"still": 1})
        assert list((result.folder / "wandb").glob("offline-run-*"))
    finally:
        torch.set_num_threads(1)
        mine.finish()
        wandb.teardown()


def test_threads_take_turns(result):
    """Two runs at once in threads of one process give what each gives alone."""
    found = {}

    def run(seed):
        found[seed] = ssl_mnist.run(*TRAINED, "evaluation.cache=true", f"seed={seed}").summary

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert without_times([found[0]]) == without_times([result.summary])
    assert found[1]["test/linear_accuracy"] != found[0]["test/linear_accuracy"]


APP = """
import sys
import hydra
from hydra.core.hydra_config import HydraConfig
import ssl_mnist

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    for method in ("simclr", "rotation"):
        result = ssl_mnist.run(*{words!r}, f"method={{method}}")
        assert result.summary["choices/method"] == method
    assert HydraConfig.get().job.name == "app"
    print("both")

main()
"""


def test_inside_another_hydra_application(tmp_path):
    (tmp_path / "app.py").write_text(APP.format(words=TINY))
    env = {"PATH": "", "PYTHONPATH": str(REPOSITORY)} | isolate(tmp_path / "home")
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.rstrip().endswith("both"), done.stdout + done.stderr


def encoder_for(spec: ImageSpec):
    return (
        experiment("augmentation=none", "encoder=mlp", "encoder.widths=[8]", dataset=noise(spec=spec)).encoder.requires_grad_(False).eval()
    )


@pytest.fixture(scope="module")
def grey():
    return encoder_for(SPEC)


@pytest.fixture(scope="module")
def rgb():
    return encoder_for(RGB)


def bytes_of(spec: ImageSpec, num: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(num, spec.channels, spec.height, spec.width), dtype=np.uint8)


def written(images, folder):
    """PNG files of images (N, C, H, W)."""
    paths = []
    for i, image in enumerate(images):
        paths.append(folder / f"{i}.png")
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(paths[-1])
    return paths


FORMS = {
    "uint8 (N, C, H, W)": lambda x, folder: x,
    "uint8 (N, H, W, C)": lambda x, folder: x.transpose(0, 2, 3, 1),
    "float64": lambda x, folder: x / 255,
    "float32 (N, H, W, C)": lambda x, folder: (x.transpose(0, 2, 3, 1) / 255).astype(np.float32),
    "tensor": lambda x, folder: torch.from_numpy(x),
    "float tensor with a gradient": lambda x, folder: (torch.from_numpy(x) / 255).requires_grad_(),
    "list of (C, H, W)": lambda x, folder: list(x),
    "list of (H, W, C), a tensor and files": lambda x, folder: [x[0].transpose(1, 2, 0), torch.from_numpy(x[1]), *written(x, folder)[2:]],
    "paths": lambda x, folder: written(x, folder),
    "texts": lambda x, folder: [str(path) for path in written(x, folder)],
    "PIL images": lambda x, folder: [Image.open(path) for path in written(x, folder)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("colours", ["grey", "rgb"])
def test_all_forms_of_the_same_images_are_embedded_alike(form, colours, grey, rgb, tmp_path):
    encoder = grey if colours == "grey" else rgb
    images = bytes_of(encoder.spec)
    expected = encoder(torch.from_numpy(images) / 255).numpy()
    found = ssl_mnist.embed(encoder, FORMS[form](images, tmp_path), batch_size=2, device="cpu")
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-5)


def test_grey_images_need_no_channels(grey):
    images = bytes_of(SPEC)
    expected = ssl_mnist.embed(grey, images)
    assert np.array_equal(ssl_mnist.embed(grey, images[:, 0]), expected)
    assert np.allclose(ssl_mnist.embed(grey, images[0, 0]), expected[:1], atol=1e-5)
    assert np.allclose(ssl_mnist.embed(grey, torch.from_numpy(images[:, 0]).to(torch.bfloat16) / 256), expected, atol=0.1)


def test_the_encoders_size_says_which_axis_is_which(grey, rgb):
    """(3, H, W) is three grey images or one in colour; one image, of any kind, has one embedding."""
    assert ssl_mnist.embed(grey, np.zeros((3, 28, 28), np.uint8)).shape == (3, 8)
    for shape in ((3, 12, 16), (12, 16, 3)):
        assert ssl_mnist.embed(rgb, np.zeros(shape, np.uint8)).shape == (1, 8)
    square = encoder_for(ImageSpec(8, 8, 8, [0.5] * 8, [0.25] * 8, SPEC.classes, []))
    images = bytes_of(square.spec)
    assert np.allclose(ssl_mnist.embed(square, images), square(torch.from_numpy(images) / 255).numpy(), atol=1e-5)


def test_pictures_are_made_as_the_encoder_takes_them(grey, rgb, tmp_path):
    """In colour for a grey encoder, and the other way round; the caller's image is not turned."""
    picture = Image.fromarray(bytes_of(RGB)[0].transpose(1, 2, 0))
    assert np.array_equal(ssl_mnist.embed(rgb, picture.convert("L")), ssl_mnist.embed(rgb, picture.convert("L").convert("RGB")))
    large = picture.resize((28, 28))
    assert np.array_equal(ssl_mnist.embed(grey, large), ssl_mnist.embed(grey, np.asarray(large.convert("L"))))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        for image in (turned, tmp_path / "turned.png"):
            assert np.array_equal(ssl_mnist.embed(rgb, image), ssl_mnist.embed(rgb, picture))
        assert turned.size == (12, 16)


def test_nothing_has_no_embedding(grey):
    assert ssl_mnist.embed(grey, []).shape == ssl_mnist.embed(grey, np.zeros((0, 28, 28), np.uint8)).shape == (0, 8)


def test_an_encoder_in_training_is_embedded_in_eval_mode_and_left_as_it_was(grey):
    images = bytes_of(SPEC)
    expected = ssl_mnist.embed(grey, images)
    state = {name: tensor.clone() for name, tensor in grey.state_dict().items()}
    grey.train()
    try:
        assert np.allclose(ssl_mnist.embed(grey, images), expected, atol=1e-5) and grey.training
    finally:
        grey.eval()
    assert all(torch.equal(tensor, state[name]) for name, tensor in grey.state_dict().items())


ORDERS = r"\(N, 1, 28, 28\), \(N, 28, 28, 1\), \(N, 28, 28\)"
REFUSED = {
    "size": (np.zeros((2, 20, 20), np.uint8), f"images: the encoder takes {ORDERS} or one such image, " r"got \(2, 20, 20\)"),
    "channels": (np.zeros((2, 3, 28, 28), np.uint8), r"images: the encoder takes .*, got \(2, 3, 28, 28\)"),
    "a vector": (np.zeros(784), r"images: the encoder takes .*, got \(784,\)"),
    "0..255 in floats": (np.full((2, 28, 28), 255.0), r"images are floats from 0 to 255 and must be in \[0, 1\]; divide them by 255"),
    "negative": (np.full((28, 28), -1.0), r"images are floats from -1 to 0 and must be in \[0, 1\]; bring them to \[0, 1\]"),
    "nan": (np.full((28, 28), np.nan), r"images include some that are not finite numbers \(NaN or infinity\)"),
    "infinity": (np.full((28, 28), np.inf), r"images include some that are not finite numbers \(NaN or infinity\)"),
    "int64": (np.zeros((28, 28), np.int64), r"images must be uint8 in 0..255 or float in \[0, 1\], got int64; .*"),
    "complex": (torch.zeros(28, 28, dtype=torch.complex64), r"images must be uint8 .*, got complex64; .*"),
    "in a list": ([np.zeros((28, 28)), np.ones((28, 28)) * 2], r"the values of image 1 are floats from 0 to 2 .*"),
    "arrays in a list": ([np.zeros((2, 28, 28))], r"image 0 is an array of 2 images; a list holds one image an entry"),
    "numbers": ([[0.0] * 28] * 28, r"image 0 must be an array, a tensor, a PIL image or a path, got list"),
    "nothing": (None, r"the image must be an array, a tensor, a PIL image or a path, got NoneType"),
    "a picture's size": (Image.new("L", (32, 30)), r"the image is 30 x 32 pixels \(H x W\), the encoder takes 28 x 28"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_for_the_encoder_is_one_line(name, grey):
    images, words = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{words}$"):
        ssl_mnist.embed(grey, images)


def test_other_arguments_of_embed_are_one_line(grey, tmp_path):
    with pytest.raises(ValueError, match=r"^embed takes an encoder, as load_encoder returns, and then images; got str$"):
        ssl_mnist.embed("outputs/run", bytes_of(SPEC))
    with pytest.raises(ValueError, match=r"^batch_size must be 1 or more, got 0$"):
        ssl_mnist.embed(grey, bytes_of(SPEC), batch_size=0)
    with pytest.raises(UserError, match=r"^device=tpu "):
        ssl_mnist.embed(grey, bytes_of(SPEC), device="tpu")
    with pytest.raises(FileNotFoundError):
        ssl_mnist.embed(grey, tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"the image is grey or RGB, the encoder takes 2 channels; give it arrays"):
        ssl_mnist.embed(encoder_for(ImageSpec(2, 28, 28, [0.5] * 2, [0.25] * 2, SPEC.classes, [])), Image.new("L", (28, 28)))


@pytest.mark.slow
def test_the_public_names_are_typed(tmp_path):
    """A caller's `mypy --strict` knows what each returns, and complains of nothing."""
    (tmp_path / "caller.py").write_text(
        "import numpy as np\nimport numpy.typing as npt\nimport ssl_mnist\n"
        "result: ssl_mnist.Result = ssl_mnist.run('experiment=smoke', folder=None)\n"
        "encoder = ssl_mnist.load_encoder(result.folder)\n"
        "right: npt.NDArray[np.float32] = ssl_mnist.embed(encoder, np.zeros((2, 28, 28)), batch_size=2)\n"
        "right = ssl_mnist.SSLTransformer(image_shape=None).fit(right).transform(right)\n"
        "wrong: int = result.split\n"
        "ssl_mnist.embed(right, encoder)\n"
    )
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "caller.py"], cwd=tmp_path, capture_output=True, text=True,
                          env={"PATH": "", "PYTHONPATH": str(REPOSITORY), "MYPYPATH": str(REPOSITORY)})  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("caller.py")]
    assert [line.partition(": ")[0] for line in lines] == ["caller.py:8", "caller.py:9"], done.stdout + done.stderr
