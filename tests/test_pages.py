"""Pages: templates that escape, figures that are embedded, a run's own page, and what sets them off at the end of a run or sweep."""

import ast
import base64
import io
import json
import re
import shutil
import urllib.parse
import webbrowser
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import REPOSITORY, TINY, command
from jinja2 import UndefinedError
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs
from synthetic_sweep import PNG, finished_run, started_run

from ssl_mnist import UserError, compose, config, console, jobs, pages, report
from ssl_mnist.compare import compare_runs, read, write
from ssl_mnist.compare.afterwards import afterwards
from ssl_mnist.compare.sections import classes
from ssl_mnist.pages.images import embedded
from ssl_mnist.pipeline import run

EVIL = "<img src=x onerror=alert(1)>'\"&"


class Page(HTMLParser):
    """What a page holds, outside its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._inside = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        self.text += "" if self._inside else data

    def all(self, name):
        """Values of an attribute, in the order of the page."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def check(text):
    """The page, of which every anchor resolves and nothing is loaded from elsewhere."""
    page = Page(text)
    ids = page.all("id")
    assert {link[1:] for link in page.all("href") if link.startswith("#")} <= set(ids) and len(ids) == len(set(ids))
    assert all(source.startswith("data:image/") for source in page.all("src"))
    assert not any(tag in ("link", "iframe", "object", "embed") for tag, _ in page.tags)
    ours = text.replace(get_plotlyjs(), "")
    loaded = re.findall(r"""(?:url\(|@import|\bimport\(|\bfetch\()\s*['"]?(?!#|data:)[^'")\s]+""", ours)
    assert not loaded and not any("://" in link for link in page.all("href"))
    return page


# templates


def every_part():
    link = pages.Link(EVIL, urllib.parse.quote(EVIL))
    cells = [pages.Cell(EVIL, look=look, below=EVIL, best=EVIL if look == "" else "") for look in ("", "name", "short", "key", "words")]
    plot = pages.Plot(Markup("<svg></svg>"), EVIL)
    return [
        pages.Note(EVIL, "", EVIL),
        pages.Heading(EVIL),
        pages.Items([pages.Items.Item(EVIL, EVIL, [link, link])]),
        pages.Table([EVIL] * 5, [cells], EVIL, cells, [cells]),
        plot,
        pages.Chart([pages.Line(EVIL, [(0, 1), (1, 2)])] * 2, EVIL, EVIL),
        pages.Panels({EVIL: plot}),
        pages.Pictures([pages.Picture("data:image/png;base64,", EVIL, EVIL, [link])]),
        pages.Command(EVIL),
    ]


def test_every_part_is_drawn_and_escaped():
    parts = every_part()
    assert {part.kind for part in parts} | {"details"} == {each.kind for each in vars(pages).values() if hasattr(each, "kind")} - {None}
    sections = [pages.Section(f"s{i}", EVIL, [pages.Details(EVIL, [part])]) for i, part in enumerate(parts)]
    page = check(pages.render("report.html", title=EVIL, introduction=[], sections=sections))
    assert not any("onerror" in attributes or attributes.get("src") == "x" for _, attributes in page.tags)
    assert page.text.count(EVIL) > 30 and page.all("aria-label").count(EVIL) == 4 and EVIL in page.all("alt")


def test_a_variable_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError, match="title"):
        pages.render("base.html", sections=[])


def test_no_python_file_writes_html():
    tag = re.compile(
        r"</?(a|b|body|code|details|div|figure|h[1-6]|head|html|img|li|nav|p|script|section|span|style|svg|t[dhr]|table|ul)\b[^>]*>"
    )
    for path in (REPOSITORY / "ssl_mnist").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            texts = node.values if isinstance(node, ast.JoinedStr) else []
            found = [text.value for text in texts if isinstance(text, ast.Constant) and tag.search(str(text.value))]
            assert not found, f"{path.name}: {found}"


# figures


def test_a_chart_spans_its_axes_with_round_ticks():
    chart = pages.Chart([pages.Line("a", [(0, -1.0), (4, 1.0), (8, 0.0)])], "a by epoch")
    assert [tick.text for tick in chart.x_ticks] == ["0", "2", "4", "6", "8"]
    assert [tick.text for tick in chart.y_ticks] == ["-1", "-0.5", "0", "0.5", "1"]
    ((_, _, _, points, _),) = chart.drawn
    found = [tuple(map(float, point.split(","))) for point in points.split()]
    assert [x for x, _ in found] == [chart.left, (chart.left + chart.right) / 2, chart.right]
    y = {tick.text: tick.place for tick in chart.y_ticks}
    assert [place for _, place in found] == [y["-1"], y["1"], y["0"]] and chart.top < y["1"] < y["-1"] < chart.bottom
    constant = pages.Chart([pages.Line("a", [(1, 5.0)])], "")
    assert constant.drawn[0].points == f"{(chart.left + chart.right) / 2:.1f},{(chart.top + chart.bottom) / 2:.1f}"


def test_figures_are_embedded_as_webp_where_that_is_smaller(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 300))
    path = tmp_path / "a.png"
    Image.fromarray(np.stack([ramp, 255 - ramp, ramp], -1) ^ np.random.default_rng(0).integers(0, 4, (256, 300, 3), np.uint8)).save(path)
    kind, _, data = embedded(path).partition(";base64,")
    assert kind == "data:image/webp" and len(data) < path.stat().st_size / 2
    seen, meant = (np.asarray(Image.open(file).convert("RGB"), float) for file in (io.BytesIO(base64.b64decode(data)), path))
    assert np.abs(seen - meant).mean() < 6
    path.write_bytes(PNG[:20])  # cut short: as it is
    assert embedded(path) == f"data:image/png;base64,{base64.b64encode(PNG[:20]).decode()}"


# a run's page


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A run of one epoch with its page, made by the command in a folder with a space in its name."""
    here = tmp_path_factory.mktemp("smoke")
    words = [word for word in TINY if not word.startswith("pretrain.epochs")]
    result = command(*words, "pretrain.epochs=2", "hydra.run.dir='my run'", cwd=here)
    assert result.returncode == 0, result.stdout + result.stderr
    return here / "my run", result.stdout


def test_a_runs_page_tells_what_was_run_and_what_came_out(smoke):
    folder, printed = smoke
    text = (folder / "report.html").read_text()
    page, summary = check(text), json.loads((folder / "summary.json").read_text())
    assert len(text) < 3 * 2**20 and text.startswith("<!doctype html><html lang=en><head>")
    linear = f"{100 * summary['test/linear_accuracy']:.2f}"
    answer = f"simclr on packaged-5k: {linear} % of 500 test images by the linear probe; pretraining: {summary['health/verdict']}."
    assert page.text.count(answer) == 2  # title and first line
    scores = page.text[page.text.index("Scoresscore") :]
    assert all(f"{100 * summary[key]:.2f}" in scores for key in summary["scores"])
    assert "python -m ssl_mnist experiment=smoke evaluation=quick" in page.text and "pretrain.epochs=2" in page.text
    assert "pretrain.epochs210" in page.text and "evaluation.linear.l2[0.001]" in page.text  # value and default
    assert text.count("<polyline") >= 6 and text.count("data:image/webp") >= 6
    files = [link for link in page.all("href") if not link.startswith("#")]
    assert {"summary.json", "run.json", "encoder.pt", "metrics.jsonl"} <= set(files)
    assert all((folder / urllib.parse.unquote(link)).exists() for link in files)
    assert f"page    {folder.resolve().as_uri()}/report.html" in printed.replace("/private/", "/") and "my%20run" in printed


def test_the_page_is_written_again_for_runs_of_before(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "sweep" / "0")
    before = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    (folder / "explore.html").touch()
    result = command(str(folder.parent), cwd=tmp_path, module="ssl_mnist.report")
    assert result.returncode == 0 and result.stdout.strip() == f"page    {(folder / 'report.html').as_uri()}"
    after = (folder / "report.html").read_text()
    assert "explore.html" in Page(after).all("href") and "explore.html" not in Page(before).all("href")


@pytest.mark.parametrize("error", ["", "no such thing\n"])
def test_a_run_without_a_result_has_no_page(error, tmp_path):
    folder = started_run(tmp_path, "0", ["seed=0"])
    if error:
        (folder / "error.txt").write_text(error)
    with pytest.raises(UserError, match="holds no finished run" + (": no such thing" if error else "")):
        report.write(folder)


def test_a_page_that_fails_costs_no_result(tmp_path, monkeypatch, caplog):
    def fail(run):
        raise ZeroDivisionError("of the page")

    monkeypatch.setattr("ssl_mnist.report.page.page", fail)
    summary = run(compose(*TINY), tmp_path / "r")
    assert "report.html could not be written: ZeroDivisionError: of the page" in caplog.text
    assert json.loads((tmp_path / "r" / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert not (tmp_path / "r" / "report.html").exists() and json.loads((tmp_path / "r" / "run.json").read_text())["ended"]


def test_a_users_own_report_is_not_replaced(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UserError, match=r"report\.html is there and not of a run"):
        run(compose(*TINY), tmp_path)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_nothing_from_a_runs_files_becomes_a_tag(tmp_path):
    about = {f"{split}/linear_accuracy": {"title": EVIL, "higher_is_better": True} for split in ("test", "val")}
    changes = {"data/source": EVIL, "data/classes": [EVIL] * 10, "scores": about, "warnings": [EVIL], "machine/processor": EVIL,
               "versions/ssl_mnist": EVIL, "health/verdict": EVIL, "health/measures": {"rank": EVIL}, "health/rank": 1.0}  # fmt: skip
    record = {"command": EVIL, "started": EVIL, "host": EVIL, "platform": EVIL, "git": {"commit": EVIL},
              "choices": {"method": EVIL, EVIL: EVIL}, "settings": {"seed": 0, EVIL: EVIL}, "wandb": {"id": EVIL}}  # fmt: skip
    folder = finished_run(tmp_path / EVIL, "0", [f"x={EVIL}"], 0.9, record=record, **changes)
    rows = [{"epoch": i, "pretrain/loss": 1.0, f"pretrain/{EVIL}": 2.0, "health/rank": 3.0} for i in range(3)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "figures" / "a b#?.png").write_bytes(PNG)
    report.write(folder)
    page = check((folder / "report.html").read_text())
    assert page.text.count(EVIL) > 15
    assert not any("onerror" in attributes or attributes.get("src") == "x" for _, attributes in page.tags)


def test_images_without_labels_have_a_page_without_scores(tmp_path):
    folder = finished_run(tmp_path, "0", ["seed=0"], 0.9, splits=())
    report.write(folder)
    assert "the images have no labels, and there is no score." in check((folder / "report.html").read_text()).text


def test_a_run_that_did_not_read_test_says_how_to(tmp_path):
    report.write(folder := finished_run(tmp_path, "0", ["seed=0"], 0.9, splits=("val",)))
    text = check((folder / "report.html").read_text()).text
    assert f"python -m ssl_mnist.evaluate {console.shown(folder)}" in text and "90.00 % of 5,000 val images" in text


def test_the_command_of_a_sweeps_job_makes_that_run_alone(tmp_path):
    choices = {"method": "simclr", "experiment": "mine"}
    record = {"command": "python -m ssl_mnist --config-dir my -m method=a,b", "choices": choices}
    report.write(folder := finished_run(tmp_path, "0", ["experiment=mine", "method=simclr", "x='a b'"], 0.9, record=record))
    words = "python -m ssl_mnist --config-dir my experiment=mine method=simclr 'x='\"'\"'a b'\"'\"'' hydra.mode=RUN"
    assert words in Page((folder / "report.html").read_text()).text


# opening it


def test_open_changes_no_identity_and_is_checked():
    settings = [compose(*TINY, f"open={value}") for value in ("true", "false")]
    one, other = (config.identity(each, "cpu", "32", "d" * 16, 1)["identity"] for each in settings)
    assert one == other
    with pytest.raises(UserError, match="open must be true or false"):
        config.check(compose(*TINY, "open=yes_please"))


def test_a_run_opens_its_page_once_and_a_job_of_a_sweep_does_not(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or bool(opened[1:]))
    run(compose(*TINY, "open=true"), tmp_path / "a b")
    assert opened == [f"{(tmp_path / 'a b').as_uri()}/report.html"] and "no browser was found" in capsys.readouterr().out
    run(compose(*TINY, "open=true"), tmp_path / "s" / "0", sweep=tmp_path / "s")
    assert len(opened) == 1 and (tmp_path / "s" / "0" / "report.html").is_file()
    monkeypatch.setattr(jobs.Folders, "open_page", True)
    jobs.end_sweep(tmp_path / "s")
    assert opened[1:] == [f"{(tmp_path / 's').as_uri()}/comparison.html"] and "no browser" not in capsys.readouterr().out


def test_a_sweeps_settings_say_whether_its_page_is_opened(tmp_path):
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/opened"\n')
    script.chmod(0o755)
    words = [*TINY, "-m", "seed=0", "open=true", "hydra.sweep.dir=s"]
    result = command(*words, cwd=tmp_path, BROWSER=f"{script} %s")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "opened").read_text().splitlines() == [f"{(tmp_path / 's').as_uri()}/comparison.html"]


# the comparison's page


def evaluated(folder, name, accuracy, day=1, settings=None, **changes):
    """Write what `python -m ssl_mnist.evaluate` finds of a run afterwards."""
    summary, identity = json.loads((folder / "summary.json").read_text()), json.loads((folder / "run.json").read_text())["identity"]
    keys = [f"test/spreading_{num}_labels_accuracy" for num in (10, 50, 100)]
    scores = {key: {"title": f"spreading, {num} labels", "higher_is_better": True} for key, num in zip(keys, (10, 50, 100), strict=True)}
    content = {key: value for key, value in summary.items() if key.startswith(("data/", "versions/"))}
    content |= {"scores": scores, "seed": summary["seed"], "identity": identity, "evaluation": settings or {"spreading": {"k": 5}}}
    content |= {"evaluated": f"2026-02-0{day}T00:00:00+00:00", **{key: accuracy + i / 100 for i, key in enumerate(keys)}, **changes}
    (folder / "evaluation").mkdir(exist_ok=True)
    (folder / "evaluation" / f"{name}-{day:08}.json").write_text(json.dumps(content))


@pytest.fixture
def four_runs(tmp_path):
    runs = [(method, seed) for method in ("rotation", "simclr") for seed in (0, 1)]
    return [finished_run(tmp_path, f"{m}-{s}", [f"method={m}", f"seed={s}"], 0.9) for m, s in runs]


def test_evaluations_made_afterwards_are_sections_of_their_own(four_runs, tmp_path):
    for folder in four_runs:
        evaluated(folder, "few-labels", 0.5, day=1)
        evaluated(folder, "few-labels", 0.6, day=2)  # the newest counts
    evaluated(four_runs[0], "quick", 0.7)
    write(tmp_path)
    page = check((tmp_path / "comparison.html").read_text())
    section = page.text[page.text.rindex("Evaluated afterwards: few-labels") :]
    assert "60.00 and 60.00" in section and "50.00 and 50.00" not in page.text and "4 of 4 runs" in section and "2026-02-02" in section
    assert "How few labels suffice" in section and "1 of 4 runs, evaluated after their end, on 2026-02-01. Without simclr" in page.text
    report.write(four_runs[0])
    text = check((four_runs[0] / "report.html").read_text()).text
    assert "Evaluated afterwards: few-labels" in text and "60.00" in text and "50.00" not in text


def test_only_evaluations_that_are_alike_are_compared(four_runs, tmp_path):
    for folder in four_runs[:3]:
        evaluated(folder, "standard", 0.5)
    evaluated(four_runs[3], "standard", 0.9, settings={"spreading": {"k": 9}})
    evaluated(four_runs[0], "old", 0.9, identity="of another encoder")
    evaluated(four_runs[0], "standard", 0.8, day=3, **{"data/fingerprint": "e" * 16, "data/source": "other"})
    (four_runs[1] / "evaluation" / "broken-1.json").write_text("{")
    found = read(tmp_path)
    assert found.warnings == ["rotation-1/evaluation/broken-1.json is cut short or not JSON; the evaluation is left out"]
    evaluations = afterwards(compare_runs(found))
    assert list(evaluations) == ["standard", "standard on other"]
    groups = evaluations["standard"].comparison.groups
    assert {name: [run.seed for run in runs] for name, runs in groups.items()} == {"rotation": [0, 1], "simclr": [0]}
    assert evaluations["standard on other"].left_out == ["simclr"]


def test_the_page_links_what_there_is_of_each_run(four_runs, tmp_path):
    (four_runs[0] / "report.html").touch()
    (four_runs[1] / "explore.html").touch()
    (tmp_path / "explore.html").touch()
    write(tmp_path)
    links = Page((tmp_path / "comparison.html").read_text()).all("href")
    assert [link for link in links if link.endswith(".html")] == ["explore.html", "rotation-0/report.html", "rotation-1/explore.html"]


def test_classes_of_many_configurations_are_a_heat_map(tmp_path):
    for number in range(9):
        finished_run(tmp_path, f"{number}", [f"method=m{number}"], 0.9, **{"test/per_class_accuracy": [0.9 + number / 100] * 10})
    plot, note = classes.section(compare_runs(read(tmp_path))).parts
    assert '"type":"heatmap"' in plot.markup and plot.markup.index('"m8"') < plot.markup.index('"m0"')
    assert "the configuration with the best mean at the top" in note.text
