"""The page one draws on: what it is made of, and what it does in headless Chromium, its encoder compared with PyTorch's."""

import re
import shutil

import numpy as np
import pytest
import torch
from conftest import CPU, SPEC, command
from PIL import Image
from torch.nn import functional as F

from ssl_mnist import compose, load_encoder, pipeline
from ssl_mnist.data import as_float, packaged_5k
from ssl_mnist.errors import UserError
from ssl_mnist.explore import page
from ssl_mnist.explore.__main__ import explore
from ssl_mnist.explore.contents import MAX_CODES
from ssl_mnist.explore.layouts import Layout, layouts
from ssl_mnist.explore.neighbours import codes, nearest_others
from ssl_mnist.explore.points import Points
from ssl_mnist.explore.sheet import sheet
from ssl_mnist.files import ENCODER, EXPLORER, RUN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SMOKE = ("experiment=smoke", "evaluation=quick", "evaluation.num_points=50", "precision=32", "device=cpu", "tracking.mode=disabled")
NUM = 300  # points of the pages here
SEVEN = [(0.25, 0.22), (0.5, 0.2), (0.75, 0.22), (0.68, 0.4), (0.58, 0.6), (0.48, 0.82)]


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A sweep of a SimCLR that is trained well enough to know digits, and of an untrained encoder, with its page."""
    folder = tmp_path_factory.mktemp("explore") / "sweep"
    for name in ("simclr", "untrained"):
        pipeline.run(compose(*SMOKE, f"method={name}", "pretrain.epochs=3"), folder / name, sweep=folder)
    explore(folder, NUM, ["pca", "tsne"])
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A run on colour images without labels, with its page."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for i in range(150):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / "images" / f"{i}.png")
    data = ("data=image_folder", f"data.root={root / 'images'}", "data.size=16", f"data.cache={root / 'cache'}")
    settings = compose(*data, "pretrain.epochs=0", "evaluation=quick", "evaluation.num_points=50", "device=cpu", "tracking.mode=disabled")
    pipeline.run(settings, root / "run")
    explore(root / "run", layouts=["pca"])
    return root / "run"


# What the page is made of


def test_codes_find_the_neighbours_that_cosines_find(explored):
    """Of test digits by SimCLR most of each one's ten nearest, and others that are as near; the points' own neighbours are exact."""
    images = packaged_5k(num_val=500, num_test=500, spec=SPEC, device=CPU.device).read_test().images
    with torch.no_grad():
        embeddings = load_encoder(explored / "simclr")(as_float(images))
    unit = F.normalize(embeddings, dim=1)
    exact = unit @ unit.T
    found = codes(embeddings, max_bytes=2**20)
    about = found.step * (unit @ torch.from_numpy(found.directions)) @ torch.from_numpy(found.values).float()
    exact.fill_diagonal_(-2), about.fill_diagonal_(-2)
    nearest, guessed = (each.topk(10, dim=1).indices for each in (exact, about))
    assert (nearest[:, :, None] == guessed[:, None]).any(1).float().mean() > 0.8
    assert (exact.gather(1, nearest) - exact.gather(1, guessed)).mean() < 0.0005
    assert codes(embeddings, max_bytes=40_000).values.any(1).sum() < 256  # coarser, and so small
    assert (nearest_others(embeddings, 10) == nearest.numpy()).all()


def test_pca_says_where_any_embedding_lies():
    """(e - mean) @ axes are the points' own places; they fill [-1, 1]; two components are padded to three."""
    rng = np.random.default_rng(0)
    for width in (2, 30):
        embeddings = rng.normal(size=(100, width)).astype("float32") + 3
        ((layout,),) = layouts([embeddings], ["pca"], [0], 1)
        assert np.allclose((embeddings - layout.mean) @ layout.axes, layout.points, atol=1e-4)
        assert layout.points.shape == (100, 3) and np.isclose(np.abs(layout.points).max(), 1)


def test_tsne_in_three_dimensions_puts_further_points_between_their_neighbours(monkeypatch):
    """Of two groups far apart, made of every third point: each point is between places of its own group, which bound it on every axis."""
    monkeypatch.setattr("ssl_mnist.explore.layouts.MAX_TSNE_3D", 100)
    groups = np.arange(300) // 150
    embeddings = np.random.default_rng(0).normal(size=(300, 20)).astype("float32") + 20 * groups[:, None]
    found = layouts([embeddings], ["tsne"], [0], 1)[0][1].points
    assert found.shape == (300, 3)
    for k in (0, 1):
        taken = found[::3][groups[::3] == k]
        own = found[groups == k]
        assert (own >= taken.min(0) - 1e-5).all() and (own <= taken.max(0) + 1e-5).all()


def test_layouts_of_embeddings_that_are_all_one():
    (found,) = layouts([np.ones((40, 8), "float32")], ["pca", "tsne"], [0], 1)
    assert len(found) == 3 and all(np.isfinite(layout.points).all() for layout in found)


def test_layouts_are_each_methods_own_and_the_same_from_any_number_of_processes():
    rng = np.random.default_rng(0)
    embeddings = [rng.normal(size=(60, width)).astype("float32") for width in (8, 12)]
    alone = [layouts([each], ["pca", "tsne"], [seed], 1)[0] for each, seed in zip(embeddings, (3, 4), strict=True)]
    for num_processes in (1, 2):
        for mine, expected in zip(layouts(embeddings, ["pca", "tsne"], (3, 4), num_processes), alone, strict=True):
            assert [(each.name, each.points.shape) for each in mine] == [("pca", (60, 3)), ("tsne", (60, 2)), ("tsne", (60, 3))]
            assert all((a.points == b.points).all() for a, b in zip(mine, expected, strict=True))


@pytest.mark.parametrize("shape", [(7, 1, 28, 28), (7, 3, 100, 50), (7, 2, 8, 12)])
def test_every_image_is_in_its_tile(shape, tmp_path):
    images = torch.arange(7, dtype=torch.uint8).mul(35).view(7, 1, 1, 1).expand(shape)
    found = sheet(images)
    (tmp_path / "sheet.webp").write_bytes(found.data)
    pixels = np.asarray(Image.open(tmp_path / "sheet.webp").convert("L")).astype(int)
    assert max(found.height, found.width) <= 48 and found.height / found.width == pytest.approx(shape[2] / shape[3], rel=0.05)
    for i in range(7):
        row, column = divmod(i, found.columns)
        middle = pixels[row * found.height + found.height // 2, column * found.width + found.width // 2]
        assert abs(middle - 35 * i) <= 10  # 16 levels of grey


def test_a_page_of_three_methods_and_10000_points_is_under_15_mib():
    """Of noise, which nothing compresses, and with a t-SNE and a UMAP of each; a model for which there is no room is refused."""
    rng = np.random.default_rng(0)
    num, width = 10_000, 256
    embeddings = torch.from_numpy(rng.normal(size=(num, width)).astype("float32"))
    places = [Layout(name, rng.uniform(-1, 1, (num, dims)).astype("float32")) for name in ("tsne", "umap") for dims in (2, 3)]
    pca = Layout("pca", places[1].points, np.zeros((width, 3), "float32"), np.zeros(width, "float32"))
    neighbours = rng.integers(0, num, (num, 12)).astype("uint16")
    points = Points(embeddings, 0, neighbours, codes(embeddings, MAX_CODES // 3), neighbours[:, 0] % 10, rng.uniform(0, 1, num), None)
    made = page.Page()
    made.meta |= {"num": num, "total": num, "split": "test", "labels": None, "drawn": "digit", "classes": None}
    assert made.add({"sheet": page.text_of(rng.bytes(1_900_000))})  # what MNIST's 10,000 test images take
    assert made.add(page.runtime())
    for i in range(3):
        assert made.add(
            {f"points{i}": page.packed(page.arrays_of(points, [pca, *places]))[1], f"model{i}": page.compressed(rng.bytes(400_000))}
        )
    assert len(made.html("title").encode()) <= page.MAX_BYTES
    before = dict(made.blobs)
    assert not made.add({"model3": page.compressed(rng.bytes(4_000_000))}) and made.blobs == before


def test_what_a_run_kept_is_not_needed(explored, tmp_path):
    """The page of a run of which encoder.pt and run.json remain is the same, but for what floats round."""
    (tmp_path / "bare").mkdir()
    for name in (ENCODER, RUN):
        shutil.copy(explored / "simclr" / name, tmp_path / "bare" / name)
    shutil.copytree(explored / "simclr", tmp_path / "whole")
    texts = [explore(tmp_path / name, 50, ["pca"]).read_text() for name in ("bare", "whole")]
    assert texts[0] == texts[1]


def test_val_is_shown_where_test_was_not_read_and_its_probe_has_not_seen_it(explored, tmp_path, monkeypatch):
    """The probe of the points is solved on train alone, with the L2 that was chosen."""
    from ssl_mnist.evaluate import linear

    shutil.copytree(explored / "simclr", tmp_path / "run")
    record = (tmp_path / "run" / RUN).read_text()
    (tmp_path / "run" / RUN).write_text(record.replace('"test": true', '"test": false'))
    solved = []
    monkeypatch.setattr(
        linear, "fit", lambda *arguments, fit=linear.fit, **more: solved.append(len(arguments[1])) or fit(*arguments, **more)
    )
    text = explore(tmp_path / "run", 50, ["pca"]).read_text()
    assert solved[-1] == 4000 and "images of val, and the probe was fitted to train alone" in text and "50 of 500 val images" in text


# What a user can get wrong


def test_mistakes_are_one_line_and_status_1(explored, tmp_path):
    """Of the command, as a user runs it."""
    (tmp_path / "empty").mkdir()
    done = command("empty", cwd=tmp_path, module="ssl_mnist.explore")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "ssl_mnist: empty is neither the folder of a run nor of a sweep: there is no run.json in it\n"


def test_a_page_of_ours_is_replaced_and_a_users_file_is_not(explored, tmp_path):
    shutil.copytree(explored / "untrained", tmp_path / "run")
    explore(tmp_path / "run", 20, ["pca"])
    explore(tmp_path / "run", 20, ["pca"])
    (tmp_path / "run" / EXPLORER).write_text("<html>my own notes on ssl_mnist explore</html>")
    with pytest.raises(UserError, match=r"explore\.html is there and not a page of ssl_mnist\.explore; move it"):
        explore(tmp_path / "run", 20, ["pca"])
    assert "my own notes" in (tmp_path / "run" / EXPLORER).read_text()


def test_a_sweep_without_encoders_or_on_different_data(explored, tmp_path):
    shutil.copytree(explored, tmp_path / "sweep", ignore=shutil.ignore_patterns(ENCODER))
    with pytest.raises(UserError, match=r"none of the 2 finished runs in .* keeps its encoder\.pt"):
        explore(tmp_path / "sweep")
    shutil.copytree(explored, tmp_path / "mixed")
    summary = tmp_path / "mixed" / "simclr" / "summary.json"
    summary.write_text(summary.read_text().replace('"data/source": "packaged-5k"', '"data/source": "mnist"'))
    with pytest.raises(UserError, match=r"on different data \(mnist .*, packaged-5k .*\)"):
        explore(tmp_path / "mixed")


def test_other_data_than_the_runs(explored, tmp_path):
    shutil.copytree(explored / "untrained", tmp_path / "run")
    record = tmp_path / "run" / RUN
    record.write_text(re.sub(r'"data": "[0-9a-f]{16}"', '"data": "0123456789abcdef"', record.read_text()))
    with pytest.raises(UserError, match=r"other data than is found now: fingerprint 0123456789abcdef, not [0-9a-f]{16} \(packaged-5k\)"):
        explore(tmp_path / "run")
    with pytest.raises(UserError, match=r"data\.num_val=3 cannot be set here"):
        explore(tmp_path / "run", overrides=["data.num_val=3"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_points": 5}, r"--points must be in 10\.\.10,000, got 5"),
        ({"layouts": ["isomap"]}, "isomap is no layout; there are pca, tsne, umap"),
    ],
)
def test_settings_out_of_range(explored, arguments, words):
    with pytest.raises(UserError, match=words):
        explore(explored, **arguments)


# In a browser


@pytest.fixture(scope="module")
def chromium():
    """Starts browsers: one with WebGL in software, and with `plain` one without."""
    sync = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    started = {}
    with sync.sync_playwright() as playwright:

        def start(plain=False):
            if plain not in started:
                graphics = ["--disable-3d-apis"] if plain else ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
                started[plain] = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *graphics])
            return started[plain]

        yield start
        for browser in started.values():
            browser.close()


@pytest.fixture
def opened(chromium):
    """Opens a folder's page from disk. A request that leaves the page, an error in it or one in its console fails the test."""
    problems, contexts = [], []

    def open_page(folder, plain=False, width=1300, height=900, **options):
        context = chromium(plain).new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
        contexts.append(context)
        tab = context.new_page()
        address = (folder / EXPLORER).as_uri()

        def gate(route):
            if route.request.url not in (address,) and not route.request.url.startswith(("blob:", "data:")):
                problems.append(f"requests {route.request.url}")
            route.continue_()

        tab.route("**/*", gate)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.goto(address)
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def await_encoders(tab, num):
    tab.wait_for_function(f"explorer.runner.encoders.size === {num}")


def drag(tab, element, points):
    """Move the mouse, pressed, through points in [0, 1] of an element; returns them in pixels of the window."""
    box = element.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place in places[1:]:
        tab.mouse.move(*place, steps=6)
    tab.mouse.up()
    return places


def sketch(tab, points):
    """Draw a line through points in [0, 1] with the mouse."""
    tab.locator("#canvas").scroll_into_view_if_needed()
    drag(tab, tab.locator("#canvas"), points)
    tab.wait_for_function("explorer.drawn && !explorer.runner.frame")


def place_of(tab, i, pane=0):
    """Of a point, in pixels of the window."""
    box = tab.locator(".pane").nth(pane).bounding_box()
    x, y, _ = tab.evaluate(f"explorer.panes[{pane}].placeOf({i})")
    return box["x"] + x, box["y"] + y


def test_a_drawn_7_is_a_7(explored, opened):
    """Class, confidence, neighbours and place, for each method of the sweep; cleared, nothing of them remains."""
    tab = opened(explored)
    await_encoders(tab, 2)
    sketch(tab, SEVEN)
    result = tab.locator(".result").first  # of simclr
    assert result.locator(".answer").inner_text() == "7" and "simclr" in result.inner_text()
    assert float(result.locator(".sure").inner_text().split(" %")[0]) > 50
    neighbours = result.locator(".tile-class").all_inner_texts()
    assert len(neighbours) == 7 and neighbours.count("7") >= 5
    assert tab.locator(".result").count() == 2
    tab.click("#erase")
    tab.wait_for_function("explorer.drawn === null")
    assert tab.locator(".result").count() == 0


def test_the_encoder_in_the_page_is_pytorchs(explored, opened):
    """Embedding to 1e-3, class by the same probe, PCA's place by projection, neighbours by cosine."""
    tab = opened(explored)
    await_encoders(tab, 2)
    sketch(tab, SEVEN)
    pixels = tab.evaluate("Array.from(explorer.drawing.pixels())")
    images = torch.tensor(pixels).view(1, 1, 28, 28)
    for i, name in enumerate(("simclr", "untrained")):
        found = tab.evaluate(f"""(() => {{ const made = explorer.drawn.get(explorer.methods[{i}]);
            return {{ embedding: Array.from(made.embedding), sum: made.probabilities.reduce((a, b) => a + b) }}; }})()""")
        with torch.no_grad():
            expected = load_encoder(explored / name)(images)[0]
        assert (torch.tensor(found["embedding"]) - expected).abs().max() < 1e-3
        assert found["sum"] == pytest.approx(1, abs=1e-5)


def test_drawings_are_made_like_mnist(explored, opened):
    """A small 7 in a corner is the same to the encoder as a large one: at most 20 pixels a side, its centre of mass in the middle."""
    tab = opened(explored)
    await_encoders(tab, 2)
    seen = []
    for points in (SEVEN, [(0.05 + 0.5 * x, 0.4 + 0.5 * y) for x, y in SEVEN]):
        sketch(tab, points)
        seen.append(np.array(tab.evaluate("Array.from(explorer.drawing.pixels())")).reshape(28, 28))
        tab.click("#erase")
    assert np.abs(seen[0] - seen[1]).mean() < 0.02
    for pixels in seen:
        rows, columns = (np.flatnonzero(pixels.max(axis) > 0.1) for axis in (1, 0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
        for axis in (0, 1):
            assert (pixels.sum(1 - axis) @ np.arange(28)) / pixels.sum() == pytest.approx(13.5, abs=0.75)
        assert 60 < pixels.sum() < 160  # MNIST's digits have 102 on average
        assert pixels.max() == 1 and pixels.min() == 0


def test_one_can_draw_by_keys(explored, opened):
    tab = opened(explored)
    await_encoders(tab, 2)
    tab.focus("#canvas")
    tab.keyboard.press("Space")
    for _ in range(14):
        tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Space")
    tab.wait_for_function("explorer.drawn && !explorer.runner.frame")
    assert tab.locator(".result .answer").first.inner_text() == "1"
    tab.keyboard.press("Backspace")
    tab.wait_for_function("explorer.drawn === null")


def test_a_click_shows_the_image_and_its_neighbours_in_both_panes(explored, opened):
    """The nearest by cosine of PyTorch's embeddings; the point is ringed under either method."""
    tab = opened(explored)
    assert tab.locator(".pane").count() == 2
    lonely = tab.evaluate(
        """(() => { // the point that lies furthest from all others
      const places = Array.from({ length: meta.num }, (_, i) => explorer.panes[0].placeOf(i));
      const room = places.map((a, i) => Math.min(...places.map((b, k) => i === k ? 1e9 : Math.hypot(a[0] - b[0], a[1] - b[1]))));
      return room.indexOf(Math.max(...room)); })()""".replace("meta.num", "explorer.methods[0].arrays.confidence.length")
    )
    tab.mouse.move(*place_of(tab, lonely))
    assert tab.locator(".pane .tip").first.is_visible()
    tab.mouse.click(*place_of(tab, lonely))
    assert tab.evaluate("explorer.selected") == lonely
    details = tab.locator("#details")
    assert details.locator(".row").count() == 2 and details.locator(".row").first.locator(".tile").count() == 12
    for pane in (0, 1):
        ring = f"""(() => {{ const pane = explorer.panes[{pane}], [x, y] = pane.placeOf({lonely}), radius = pane.size / 2 + 7;
          return pane.overlay.pen.getImageData(x + radius, y, 1, 1).data[3]; }})()"""
        tab.wait_for_function(f"{ring} > 0")


def test_a_lasso_counts_what_is_in_it(explored, opened):
    tab = opened(explored)
    tab.click("#tools button[value=lasso]")
    places = drag(tab, tab.locator(".pane").first, [(0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98)])
    inside = [place_of(tab, i)[0] < places[1][0] for i in range(NUM)]
    assert 0 < sum(inside) < NUM
    assert tab.locator("#details h2").inner_text() == f"Lasso: {sum(inside)} images"
    counts = tab.locator("#details .counts > span:nth-child(3n)").all_inner_texts()
    assert sum(map(int, counts)) == sum(inside)
    tab.click("#clear")
    assert tab.evaluate("explorer.mask") is None


def test_search_and_colours(explored, opened):
    """A class, an error pair, a number; the legend of right and wrong counts what the probe got wrong."""
    tab = opened(explored)

    def search(words):
        tab.fill("#search", words)
        tab.press("#search", "Enter")
        return tab.locator("#details").inner_text().splitlines()[0] if not tab.locator("#search-note").inner_text() else None

    assert search("3") == "Class 3: 30 images"  # of ten classes, drawn in proportion
    wrong = tab.evaluate(f"[...Array({NUM}).keys()].filter(i => explorer.methods[0].isWrong(i)).length")
    assert search("wrong").startswith(f"Wrong by simclr: {wrong} image")
    assert search("three") is None and "search for a class (0, 1, 2, …)" in tab.locator("#search-note").inner_text()
    if wrong:
        pair = tab.locator("#pairs .chip").first
        num = pair.locator(".soft").inner_text()
        pair.click()
        assert f"{num} image" in tab.locator("#details h2").inner_text()
    tab.select_option("#colours", "error")
    assert tab.locator("#legend .chip").first.inner_text().split() == ["wrong", str(wrong)]
    for value in ("predicted", "confidence", "methods"):
        tab.select_option("#colours", value)
        nums = [int(text.split()[-1].replace(",", "")) for text in tab.locator("#legend .chip").all_inner_texts()]
        assert sum(nums) == NUM
    image = tab.evaluate("JSON.parse(document.getElementById('meta').textContent).positions[5]")
    search(f"#{image}")
    assert tab.evaluate("explorer.selected") == 5


def test_points_are_drawn_in_every_layout(explored, opened):
    """Something is painted in two and three dimensions, as dots and as images; dragging turns the view."""
    tab = opened(explored)
    painted = """(() => { const gl = explorer.panes[0].scatter.gl, { drawingBufferWidth: w, drawingBufferHeight: h } = gl;
      explorer.panes[0].draw(); const pixels = new Uint8Array(4 * w * h); gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      return pixels.filter((value, i) => i % 4 === 3 && value > 100).length; })()"""
    for layout in ("pca", "tsne"):
        for dims in (2, 3):
            for shape in ("false", "true"):
                tab.click(f"#layouts button[value={layout}]")
                tab.click(f"#dims button[value='{dims}']")
                tab.click(f"#shapes button[value={shape}]")
                assert tab.evaluate(painted) > 10 * NUM
    before = place_of(tab, 0)
    box = tab.locator(".pane").first.bounding_box()
    tab.mouse.move(box["x"] + 100, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 200, box["y"] + 130, steps=3)
    tab.mouse.up()
    assert np.hypot(*np.subtract(place_of(tab, 0), before)) > 5


def test_without_webgl_there_are_circles(explored, opened):
    """And it says so; choosing works, and so do the encoders."""
    tab = opened(explored, plain=True)
    assert tab.locator("#fallback").inner_text() == f"This browser has no WebGL 2: {NUM} points of {NUM} are drawn as SVG."
    assert tab.locator(".pane").first.locator("circle").count() == NUM
    tab.mouse.click(*place_of(tab, 3))
    assert tab.evaluate("explorer.selected") is not None
    await_encoders(tab, 2)
    sketch(tab, SEVEN)
    assert tab.locator(".answer").first.inner_text() == "7"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_no_horizontal_scroll(explored, opened, scheme):
    """By touch one draws; the page does not scroll meanwhile."""
    tab = opened(explored, width=360, height=740, has_touch=True, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    await_encoders(tab, 2)
    tab.locator("#canvas").scroll_into_view_if_needed()
    tab.touchscreen.tap(*[sum(pair) for pair in zip(
        (lambda box: (box["x"], box["y"]))(tab.locator("#canvas").bounding_box()), (60, 60), strict=True)])  # fmt: skip
    tab.wait_for_function("explorer.drawn !== null")


def test_colour_images_without_labels(photographs, opened):
    """No classes, no probe, no canvas: an image is dropped instead, and lands where PyTorch says."""
    tab = opened(photographs)
    assert tab.locator("#canvas").count() == 0 and tab.locator("#legend .chip").count() == 0
    await_encoders(tab, 1)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photographs / "mine.png")
    tab.set_input_files("#file", photographs / "mine.png")
    tab.wait_for_function("explorer.drawn !== null")
    found = torch.tensor(tab.evaluate("Array.from(explorer.drawn.get(explorer.methods[0]).embedding)"))
    with torch.no_grad():
        expected = load_encoder(photographs)(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0]
    assert (found - expected).abs().max() < 1e-3
    assert tab.locator(".result .tile").count() == 7 and tab.locator(".answer").count() == 0
    (photographs / "notes.png").write_text("no image")
    tab.set_input_files("#file", photographs / "notes.png")
    tab.wait_for_function("document.getElementById('draw-state').textContent.includes('notes.png is not an image')")
