"""Comparisons: what is averaged, what is kept apart, what is said of it, and what a broken file costs. No run is trained here."""

import csv
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from html.parser import HTMLParser

import pytest
from filelock import FileLock
from synthetic_sweep import PNG, finished_run, started_run
from threadpoolctl import threadpool_limits

from ssl_mnist.compare import compare_runs, configurations, read, report, write
from ssl_mnist.compare.report import console_table
from ssl_mnist.errors import UserError

COMPARE = [sys.executable, "-m", "ssl_mnist.compare"]


def by_methods(sweep, num_seeds, gap=0.05, **changes):
    """Rotation and SimCLR over some seeds, SimCLR ahead by about `gap`."""
    for number, (method, seed) in enumerate(itertools.product(("rotation", "simclr"), range(num_seeds))):
        linear = 0.9 + 0.001 * seed + (gap + 0.0001 * seed) * (method == "simclr")
        finished_run(sweep, f"{number}-run", [f"method={method}", f"seed={seed}"], linear, **changes)
    return sweep


@pytest.fixture
def three_by_three(tmp_path):
    return by_methods(tmp_path, 3)


def page_of(folder):
    write(folder)
    return (folder / "comparison.html").read_text()


class Tags(HTMLParser):
    """The tags and links of a page, outside its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "a":
            self.links.append(dict(attributes)["href"])

    def handle_data(self, data):
        self.text += data if self.tags and self.tags[-1][0] not in ("script", "style") else ""


# what is averaged


def test_rows_average_over_seeds_alone(three_by_three):
    comparison = compare_runs(read(three_by_three))
    seeds = {name: [run.seed for run in runs] for name, runs in comparison.groups.items()}
    assert seeds == {"rotation": [0, 1, 2], "simclr": [0, 1, 2]}
    row = comparison.table[1]
    assert row["test/linear_accuracy mean"] == pytest.approx(0.9511) and row["test/linear_accuracy std"] == pytest.approx(0.0011)
    assert row["test/linear_accuracy sampling95"] == pytest.approx(1.96 * (0.9511 * 0.0489 / 10_000) ** 0.5, rel=2e-3)


def test_runs_are_found_however_deep_and_oddly_named(tmp_path):
    finished_run(tmp_path, "simclr/seed=0", ["seed=0"], 0.9)
    finished_run(tmp_path, "my sweep (1)/#2 ?x='y'", ["seed=1"], 0.91)
    finished_run(tmp_path, "simclr/seed=0/figures/inner", ["seed=7"], 0.5)  # a run's own folders are not searched
    assert sorted(run.seed for run in read(tmp_path).runs) == [0, 1]
    links = [link for link in Tags(page_of(tmp_path)).links if link.endswith("/")]
    assert len(links) == 2
    for link in links:  # as a browser resolves them, from the page
        path = urllib.parse.urlsplit(link)
        assert not path.query and not path.fragment and (tmp_path / urllib.parse.unquote(path.path) / "summary.json").is_file()


def test_what_was_swept_names_the_configurations(tmp_path):
    for number, (lr, seed) in enumerate(itertools.product(("1e-3", "1e-2"), (0, 1))):
        finished_run(tmp_path, f"{number}", [f"optimizer.lr={lr}", f"seed={seed}", "experiment=smoke"], 0.9)
    assert list(configurations(read(tmp_path).runs)) == ["optimizer.lr=1e-3", "optimizer.lr=1e-2"]
    assert "Effect of optimizer.lr" in page_of(tmp_path)


def test_numbers_that_were_swept_stand_by_size(tmp_path):
    for number, overrides in enumerate(itertools.product(["epochs=16", "epochs=2", "epochs=8"], ["lr=19e-4", "lr=1e-4"])):
        finished_run(tmp_path, f"{number}", list(overrides), 0.9)
    names = list(configurations(read(tmp_path).runs))
    assert names == [f"epochs={epochs} lr={lr}" for epochs in (2, 8, 16) for lr in ("1e-4", "19e-4")]


def test_numbers_of_a_search_are_shortened_and_never_merged(tmp_path):
    for number, lr in enumerate(("0.0012345678901", "0.0012345999901", "0.0098765432109", "1e-2")):
        finished_run(tmp_path, f"{number}", [f"optimizer.lr={lr}"], 0.9)
    names = [name.removeprefix("optimizer.lr=") for name in configurations(read(tmp_path).runs)]
    assert names == ["0.00123457", "0.0012346", "0.00987654", "1e-2"]


def test_a_probe_left_out_and_the_default_method_have_names(tmp_path):
    finished_run(tmp_path, "0", ["~evaluation.kmeans"], 0.9)
    finished_run(tmp_path, "1", [], 0.9)
    finished_run(tmp_path, "2", ["method=rotation"], 0.9)
    assert set(configurations(read(tmp_path).runs)) == {"simclr ~evaluation.kmeans", "simclr", "rotation"}


@pytest.mark.parametrize(
    "summary,record,key",
    [
        ({"data/source": "packaged-5k", "data/fingerprint": "e" * 16}, {}, "data/source"),
        ({"data/fingerprint": "e" * 16}, {}, "data/source"),
        ({"versions/ssl_mnist": "2"}, {}, "version"),
        ({}, {"resolved": {"device": "cuda", "precision": "32"}}, "device"),
        ({}, {"resolved": {"device": "cpu", "precision": "bf16"}}, "precision"),
    ],
)
def test_other_data_version_device_or_precision_is_named_and_never_averaged(summary, record, key, three_by_three):
    finished_run(three_by_three, "9", ["method=simclr", "seed=2"], 0.99, record=record, **summary)
    comparison = compare_runs(read(three_by_three))
    assert any(warning.startswith(f"{key} differs between runs") for warning in comparison.sweep.warnings)
    assert sorted(len(runs) for runs in comparison.groups.values()) == [1, 3, 3]
    with_other = [verdict for verdict in comparison.verdicts if verdict.difference.n == 1]
    assert bool(with_other) == (key != "data/source")  # scores on different data are not compared
    assert page_of(three_by_three)


def test_data_sets_are_kept_apart(tmp_path):
    """Each has a sentence, a best row and sections of its own; which data set is easier decides nothing, so test may decide."""
    for data, gap in (("mnist", 0.05), ("fashion_mnist", -0.05)):
        about = {"data/source": data, "data/fingerprint": data[0] * 16}
        for number, (method, seed) in enumerate(itertools.product(("rotation", "simclr"), (0, 1))):
            linear = 0.9 + gap * (method == "simclr")
            finished_run(tmp_path, f"{data}-{number}", [f"data={data}", f"method={method}", f"seed={seed}"], linear, **about)
    comparison, _ = write(tmp_path)
    few = "% of test images (2 seeds, too few to call it better)"
    assert comparison.answer.split(". ") == [
        f"rotation data=fashion_mnist is ahead on the linear probe on fashion_mnist: 90.00 {few}",
        f"simclr data=mnist is ahead on the linear probe on mnist: 95.00 {few}",
    ]
    assert comparison.basis == "Decided by test: only the data, the method and the seed were swept." and not comparison.sweep.warnings
    assert comparison.best_rows("test/linear_accuracy", True) == {"rotation data=fashion_mnist", "simclr data=mnist"}
    assert {frozenset((v.first, v.second)) for v in comparison.verdicts} == {
        frozenset(f"{method} data={data}" for method in ("rotation", "simclr")) for data in ("mnist", "fashion_mnist")
    }
    page = (tmp_path / "comparison.html").read_text()
    titles = [f"{title} ({data})" for title in ("Scores on test", "Which is better?") for data in ("fashion_mnist", "mnist")]
    assert [page.find(f">{title}</h2>") > 0 for title in titles] == [True] * 4
    anchors = re.findall(r'<section id="([\w-]+)"', page)
    assert {"scores-of-0", "scores-of-1"} <= set(anchors) and len(anchors) == len(set(anchors))


def test_the_same_overrides_twice_count_once(three_by_three):
    """The newer run stands, and a warning says what differs."""
    parts = json.loads((three_by_three / "5-run" / "run.json").read_text())["identity_parts"]
    parts["settings"]["optimizer.lr"] = 0.5
    record = {"started": "2026-02-01T00:00:00+00:00", "identity_parts": parts}
    finished_run(three_by_three, "00", ["seed=2", "method=simclr"], 0.5, record=record)
    sweep = read(three_by_three)
    values = [run.summary["test/linear_accuracy"] for run in configurations(sweep.runs)["simclr"]]
    assert values == pytest.approx([0.95, 0.9511, 0.5])
    assert sweep.warnings == [
        "1 run left out, because a newer one has the same overrides: 5-run for 00 (optimizer.lr 0.001 -> 0.5)",
        "runs are averaged that differ in more than their seed: simclr (optimizer.lr 0.001 -> 0.5)",
    ]


def test_code_that_changed_between_seeds_is_named(tmp_path):
    finished_run(tmp_path, "0", ["seed=0"], 0.9)
    folder = finished_run(tmp_path, "1", ["seed=1"], 0.9)
    content = json.loads((folder / "run.json").read_text())
    content["identity_parts"]["code"]["methods/simclr.py"] = "2" * 12
    (folder / "run.json").write_text(json.dumps(content))
    (warning,) = read(tmp_path).warnings
    assert warning == "runs are averaged that differ in more than their seed: simclr (code of methods/simclr.py)"


# what did not finish


def test_failed_running_and_stopped_jobs_are_told_apart(three_by_three):
    failed = started_run(three_by_three, "6", ["method=x"])
    (failed / "error.txt").write_text("no such thing\n\nTraceback (most recent call last):\n")
    started_run(three_by_three, "7", ["method=y"])
    running = started_run(three_by_three, "8", ["method=z"])
    started_run(three_by_three, "9", ["seed=1", "method=simclr"])  # stopped, and the same overrides finished elsewhere
    (started_run(three_by_three, "10", ["method=simclr", "seed=0"]) / "error.txt").write_text("once\n")  # likewise
    with FileLock(running / "run.lock"):
        sweep = read(three_by_three)
        page = page_of(three_by_three)
    assert [(job.overrides, job.error) for job in sweep.failed] == [(["method=x"], "no such thing")]
    assert [job.overrides for job in sweep.running] == [["method=z"]] and [job.overrides for job in sweep.killed] == [["method=y"]]
    assert len(sweep.runs) == 6 and sweep.warnings == []
    text = Tags(page).text
    assert "1 failed, 1 running, 1 stoppedFailedmethod=x: no such thing" in text and "1 job still running: method=z" in text
    assert "1 job stopped before the end: method=y" in text
    assert (running / "run.lock").exists()
    assert [job.overrides for job in read(three_by_three).killed] == [["method=y"], ["method=z"]]


def test_a_stopped_job_is_covered_by_its_identity(tmp_path):
    """The same settings in other overrides: `seed=0`, the default, left out."""
    finished_run(tmp_path, "0", ["method=simclr", "seed=0"], 0.9, record={"identity": "a" * 16})
    started_run(tmp_path, "1", ["method=simclr"], identity="a" * 16)
    started_run(tmp_path, "2", ["method=rotation"], identity=None)
    assert [job.overrides for job in read(tmp_path).killed] == [["method=rotation"]]


def test_many_tries_of_one_job_are_told_once(tmp_path):
    for i in range(3):
        folder = started_run(tmp_path, f"{i}", ["optimizer.lr=-1"], started=f"2026-01-0{i + 1}")
        (folder / "error.txt").write_text(f"error {i}\n")
    for i in range(3, 43):
        started_run(tmp_path, f"{i}", [f"optimizer.lr={i}"])
    assert [job.error for job in read(tmp_path).failed] == ["error 2"]
    page = page_of(tmp_path)
    assert page.count("stopped before the end") == 1 and "40 jobs stopped before the end" in page and "No run has finished." in page


# broken files


def overwrite(text):
    return lambda path: path.write_text(text)


def edited(**changes):
    """The file's object with other values; a value of ... takes the key out."""

    def change(path):
        content = json.loads(path.read_text()) | {key.replace("__", "/"): value for key, value in changes.items()}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}, default=str))

    return change


def cut(path):
    path.write_text(path.read_text()[: len(path.read_text()) // 2])


def folder(path):
    path.unlink()
    path.mkdir()


def binary(path):
    path.write_bytes(b"\xff\xfe\x00\x80")


ANY = {"empty": overwrite(""), "cut": cut, "brace": overwrite("{"), "five": overwrite("5"), "null": overwrite("null"),
       "list": overwrite("[]"), "text": overwrite('"x"'), "folder": folder, "binary": binary, "deep": overwrite("[" * 100_000)}  # fmt: skip
RECORD = {key: edited(**{key: ...}) for key in ("command", "overrides", "settings", "choices", "identity_parts", "resolved", "started")}
RECORD |= {f"{key} 5": edited(**{key: 5}) for key in (*RECORD, "identity", "wandb")}
RECORD |= {"overrides [5]": edited(overrides=[5]), "no method": edited(choices={})}
NEEDED = ("scores", "seed", "data__source", "data__fingerprint", "versions__ssl_mnist", "test__knn_accuracy")
NUMBERS = ("seed", "test__linear_accuracy", "seconds", "data__test_size")
SUMMARY = {key: edited(**{key: ...}) for key in NEEDED}
SUMMARY |= {f"{key} text": edited(**{key: "x"}) for key in ("scores", *NUMBERS, "warnings")}
SUMMARY |= {f"{key} [5]": edited(**{key: [5]}) for key in ("primary", "data__source", "data__classes", "test__per_class_accuracy", "seed")}
SUMMARY |= {"nan": edited(test__linear_accuracy=float("nan")), "1.7": edited(test__linear_accuracy=1.7), "huge": edited(seconds=10**400),
            "true": edited(test__linear_accuracy=True), "a score of another form": edited(scores={"test/linear_accuracy": "linear"}),
            "a score of no split": edited(scores={"linear": {"title": "x", "higher_is_better": True}}), "seed true": edited(seed=True),
            "health text": edited(health__std="x"), "verdict 5": edited(health__verdict=5), "measures": edited(health__measures={"std": 5}),
            "confused 5": edited(test__most_confused=5), "no images": edited(data__test_size=0)}  # fmt: skip
BROKEN = [("run.json", how) for how in [*ANY, *RECORD]] + [("summary.json", how) for how in [*ANY, *SUMMARY]]


@pytest.fixture(scope="module")
def shared_sweep(tmp_path_factory):
    return by_methods(tmp_path_factory.mktemp("shared"), 2)


@pytest.mark.parametrize("name,how", BROKEN)
def test_a_broken_file_costs_its_job_alone(name, how, shared_sweep, capsys):
    path = shared_sweep / "1-run" / name
    before = path.read_text()
    try:
        (ANY | (RECORD if name == "run.json" else SUMMARY))[how](path)
        comparison, _ = report(shared_sweep)
        assert sorted(run.place for run in comparison.sweep.runs) == ["0-run", "2-run", "3-run"]
        (warning,) = comparison.sweep.warnings
        assert re.fullmatch(rf"1-run/{re.escape(name)} \w.*; the job is left out|1-run/run.json is a folder; the job is left out", warning)
        assert f"WARNING {warning}" in capsys.readouterr().out
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_text(before)


@pytest.mark.parametrize("how", ANY)
def test_broken_metrics_cost_a_curve(how, shared_sweep):
    path = shared_sweep / "1-run" / "metrics.jsonl"
    before = path.read_text()
    try:
        ANY[how](path)
        comparison, _ = write(shared_sweep)
        assert len(comparison.sweep.runs) == 4
        assert [warning.startswith("1-run/metrics.jsonl") for warning in comparison.sweep.warnings] == [True] * (how != "empty")
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_text(before)


def test_a_line_that_is_no_object_is_named_by_its_number(three_by_three):
    with (three_by_three / "0-run" / "metrics.jsonl").open("a") as file:
        file.write('5\n{"pretrain/loss": "x", "epoch": [1]}\n{"epoch": 3, "pretr')
    sweep = read(three_by_three)
    assert sweep.warnings == ["0-run/metrics.jsonl: line 4, 6 is broken and left out"]
    assert len(sweep.runs[0].history) == 4 and page_of(three_by_three)


@pytest.mark.parametrize("how", [overwrite(""), folder, binary])
def test_an_error_that_cannot_be_read_is_still_a_failure(how, three_by_three):
    (started_run(three_by_three, "6", ["method=x"]) / "error.txt").write_text("x")
    how(three_by_three / "6" / "error.txt")
    (job,) = read(three_by_three).failed
    assert job.error.startswith("error.txt is ")


def test_a_page_that_cannot_be_written_is_named_and_the_rest_is_there(three_by_three):
    (three_by_three / "comparison.html").mkdir()
    result = subprocess.run([*COMPARE, str(three_by_three)], capture_output=True, text=True)
    assert result.returncode == 1 and "WARNING comparison.html cannot be written: Is a directory" in result.stdout and not result.stderr
    assert (three_by_three / "comparison.csv").is_file() and not list(three_by_three.glob("*.tmp"))


def test_a_figure_that_links_out_of_its_run_is_not_embedded(three_by_three, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("private") / "secret.png"
    elsewhere.write_bytes(PNG + b"secret")
    figure = three_by_three / "5-run" / "figures" / "tsne.png"
    for number in range(6):
        (three_by_three / f"{number}-run" / "figures" / "tsne.png").unlink()
    figure.symlink_to(elsewhere)
    assert "src='data:image" not in page_of(three_by_three)
    figure.unlink()
    figure.symlink_to(figure)
    assert "src='data:image" not in page_of(three_by_three)
    figure.unlink()
    figure.write_bytes(PNG)
    assert page_of(three_by_three).count("src='data:image") == 1


def test_a_folder_without_a_run_is_one_line(tmp_path):
    result = subprocess.run([*COMPARE, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "holds no run" in result.stderr
    with pytest.raises(UserError, match="is not a folder"):
        read(tmp_path / "nowhere")


# what is said


def test_the_answer_of_a_sweep_with_few_seeds(three_by_three):
    text = Tags(page_of(three_by_three)).text
    answer = "simclr is ahead on the linear probe: 95.11 % of test images (3 seeds, too few to call it better)."
    assert text.count(answer) == 2  # title and first line
    assert text.count("Too few seeds") == 1 and "at least 6 are needed" in text


def test_the_answer_of_a_sweep_with_six_seeds(tmp_path):
    text = Tags(page_of(by_methods(tmp_path, 6))).text
    assert text.lstrip().startswith("simclr is better than rotation on the linear probe: 95.28 % of test images (6 seeds).")
    assert "linear probe (test): simclr is better than rotation by 5.03 points (95 % interval" in text
    assert "2 comparisons. p is corrected for all pairs" in text and "Too few seeds" not in text


def test_the_answer_where_nothing_can_be_told_apart(tmp_path):
    for number, (method, seed) in enumerate(itertools.product(("rotation", "simclr"), range(6))):
        finished_run(tmp_path, f"{number}", [f"method={method}", f"seed={seed}"], 0.9 + 0.001 * ((seed * 7 + 3 * (method == "simclr")) % 6))
    assert "not told apart from" in compare_runs(read(tmp_path)).answer


def test_the_answer_of_one_configuration(tmp_path):
    finished_run(tmp_path, "0", ["seed=0"], 0.9)
    assert compare_runs(read(tmp_path)).answer == "simclr: 90.00 % of test images by the linear probe (1 seed)"


def test_a_sweep_over_a_setting_is_decided_by_val(tmp_path):
    """What is best on test is not what is told."""
    for number, (lr, val, test) in enumerate((("1e-3", 0.95, 0.90), ("1e-2", 0.90, 0.99))):
        scores = {"val/linear_accuracy": val, "test/linear_accuracy": test}
        finished_run(tmp_path, f"{number}", [f"optimizer.lr={lr}"], 0.9, **scores)
    comparison = compare_runs(read(tmp_path))
    assert comparison.split == "val"
    assert comparison.answer.startswith("optimizer.lr=1e-3 is ahead on the linear probe: 95.00 % of val images")
    assert {verdict.score for verdict in comparison.verdicts} == {"linear probe (val)", "k-NN, k = 20 (val)"}
    page = page_of(tmp_path)
    assert page.index("<h2>Scores on val</h2>") < page.index("Scores on test (nothing is chosen by them)")
    assert "because optimizer.lr was swept" in page


def test_a_search_that_did_not_read_test_says_how_to_read_it(tmp_path):
    for number in range(3):
        finished_run(tmp_path, f"my {number}", [f"optimizer.lr=1e-{number}"], 0.9 + 0.01 * number, splits=("val",))
    comparison = compare_runs(read(tmp_path))
    command = f"python -m ssl_mnist.evaluate '{os.path.relpath(tmp_path / 'my 2')}'"
    assert comparison.split == "val" and comparison.basis.endswith("Test was not read; to read it for the run that is chosen:")
    page = page_of(tmp_path)
    assert comparison.evaluate == command and "Scores on test" not in page and command in Tags(page).text


def test_a_sweep_of_methods_that_did_not_read_test_is_decided_by_val(tmp_path):
    assert compare_runs(read(by_methods(tmp_path, 2, splits=("val",)))).split == "val"


def test_scores_and_their_titles_come_from_the_summaries(tmp_path):
    """A probe that this package does not know, whose score is better the lower it is, and is the primary one."""
    about = {
        "test/energy_accuracy": {"title": "energy probe", "higher_is_better": False},
        "test/nats": {"title": "nats", "higher_is_better": True},
    }
    for number, (method, value) in enumerate((("a", 0.2), ("b", 0.3))):
        changes = {"scores": about, "primary": "energy", "test/energy_accuracy": value, "test/nats": 1234 * value}
        finished_run(tmp_path, f"{number}", [f"method={method}"], 0.9, **changes)
    comparison = compare_runs(read(tmp_path))
    assert [score.title for score in comparison.scores] == ["energy probe", "nats"]
    assert comparison.ranking == ["a", "b"] and comparison.answer.startswith("a is ahead on the energy probe: 20.00 % of test images")
    assert "<td data-value=370.2 class=best title='best mean of the column'>370.2</td>" in page_of(tmp_path)


def test_different_probes_in_one_sweep(tmp_path):
    """A score that only some runs have is told for these."""
    finished_run(tmp_path, "0", ["method=a", "evaluation=standard"], 0.9)
    extra = {"val/mine_accuracy": 0.5, "scores": {"val/mine_accuracy": {"title": "mine", "higher_is_better": True}}, "primary": "mine"}
    finished_run(tmp_path, "1", ["method=b", "evaluation=mine"], 0.8, **extra)
    write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    assert [row["val/mine_accuracy mean"] for row in rows] == ["", "0.5"] or [row["val/mine_accuracy mean"] for row in rows] == ["0.5", ""]


def test_the_best_of_each_column_is_marked(three_by_three, capsys):
    for number in range(3):  # k-NN is rotation's
        edited(test__knn_accuracy=0.99)(three_by_three / f"{number}-run" / "summary.json")
    page = page_of(three_by_three)
    table = page[page.index("aria-label='Scores on test'") : page.index("</tbody>", page.index("aria-label='Scores on test'"))]
    marked = [re.findall(r"<td data-value=[\d.]+( class=best)?", row) for row in table.split("<tr>")[2:]]
    assert marked == [["", " class=best"], [" class=best", ""]]
    report(three_by_three)
    lines = capsys.readouterr().out.splitlines()
    rotation, simclr = (next(line for line in lines if line.startswith(name)) for name in ("rotation  ", "simclr  "))
    assert "90.10 ± 0.25 " in rotation and "99.00 ± 0.01*" in rotation and "95.11 ± 0.27*" in simclr
    assert max(map(len, lines[:20])) <= 120


def test_two_seeds_are_both_told_and_absurd_intervals_are_not(tmp_path):
    for number, (method, values) in enumerate({"a": (0.5, 0.69), "b": (0.1, 0.5, 0.9), "c": (0.994, 0.995, 0.996)}.items()):
        for seed, value in enumerate(values):
            finished_run(tmp_path, f"{number}-{seed}", [f"method={method}", f"seed={seed}"], value)
    text = Tags(page_of(tmp_path)).text
    assert "50.00 and 69.00" in text and "10.00 to 90.00" in text and "99.50 ± 0.25" in text


def test_what_differed_is_a_table(tmp_path):
    finished_run(tmp_path, "0", ["method=simclr", "pretrain.epochs=10"], 0.9)
    finished_run(tmp_path, "1", ["method=mine", "pretrain.epochs=4"], 0.9)
    assert compare_runs(read(tmp_path)).different == {"method": ["mine", "simclr"], "pretrain.epochs": ["4", "10"]}
    assert "pretrain.epochs410" in Tags(page_of(tmp_path)).text


def test_made_by_lists_every_command(three_by_three):
    other = {"command": "python -m ssl_mnist -m method=new 'a b'", "started": "2026-03-01T00:00:00+00:00"}
    finished_run(three_by_three, "9", ["method=new"], 0.9, record=other)
    text = Tags(page_of(three_by_three)).text
    made = text[text.index("How this was made") :]
    assert "python -m ssl_mnist -m method=rotation,simclr seed=0,1,2" in made and other["command"] in made
    assert "2026-01-02 to 2026-03-01" in made and "AMD EPYC, 2 cpus, 1 thread, cpu, precision 32" in made and "commit 0123456789ab" in made


def test_warnings_of_the_runs_are_told(three_by_three, capsys):
    edited(warnings=["linear: did not converge"])(three_by_three / "3-run" / "summary.json")
    report(three_by_three)
    assert "WARNING linear: did not converge (simclr seed 0)" in capsys.readouterr().out
    assert "linear: did not converge (simclr seed 0)" in (three_by_three / "comparison.html").read_text()


def test_the_sync_line_names_offline_runs_that_were_not_uploaded(three_by_three, capsys):
    for number, name in enumerate(("offline-run-a", "offline-run-b")):
        (three_by_three / f"{number}-run" / "wandb" / name).mkdir(parents=True)
    (three_by_three / "1-run" / "wandb" / "offline-run-b" / "run-b.wandb.synced").touch()
    report(three_by_three)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("W&B"))
    assert "wandb sync" in line and "offline-run-a" in line and "offline-run-b" not in line


# plots


def losses(page):
    """By method, the curves of the page's loss panels: the points in each drawing."""
    section = page[page.index("<h2>Pretraining loss</h2>") : page.index("<h2>Accuracy of each class</h2>")]
    found = {}
    for panel in section.split("<h3>")[1:]:
        curves = re.findall(r'<polyline points="([^"]+)"', panel)
        found[panel.partition("</h3>")[0]] = [[tuple(map(float, point.split(","))) for point in curve.split()] for curve in curves]
    return found


def test_losses_of_two_methods_share_no_axis_and_keep_their_values(tmp_path):
    for method, values in {"a": [-1.0, -3.0], "b": [0.0, 2.0, 1.0]}.items():
        folder = finished_run(tmp_path, method, [f"method={method}"], 0.9)
        lines = [json.dumps({"epoch": epoch, "pretrain/loss": value}) for epoch, value in enumerate(values)]
        lines += ['{"epoch": 9, "pretrain/epoch_loss": 1}', '{"epoch": 9, "pretrain/loss": NaN}']
        (folder / "metrics.jsonl").write_text("\n".join(lines))
    ((first,), (second,)) = losses(page_of(tmp_path)).values()
    assert [y for _, y in first] == pytest.approx([14.5, 145.5], abs=0.1)  # 5 % of the axis' length is left at both ends
    assert [y for _, y in second] == pytest.approx([145.5, 14.5, 80], abs=0.1) and [x for x, _ in second] == [54, 173, 292]


def test_a_balanced_effect_has_an_interval_and_an_unbalanced_one_points(tmp_path):
    for number, (epochs, seed) in enumerate(itertools.product((2, 8), range(3))):
        finished_run(tmp_path, f"{number}", [f"pretrain.epochs={epochs}", f"seed={seed}"], 0.9 + 0.001 * number)
    page = page_of(tmp_path)
    assert "Mean of n = 3 a value and its 95 % interval over seeds." in page and '"error_y"' in page
    finished_run(tmp_path, "6", ["pretrain.epochs=8", "seed=3"], 0.99)
    page = page_of(tmp_path)
    assert "The design is unbalanced (3 to 4 runs a value" in page and '"error_y":{"array"' not in page


def test_a_setting_that_is_a_name_gets_a_heat_map(tmp_path):
    for number, omit in enumerate(("null", "affine", "stroke")):
        finished_run(tmp_path, f"{number}", [f"augmentation.omit={omit}"], 0.9 + 0.01 * number)
    page = page_of(tmp_path)
    assert "Effect of augmentation.omit" in page and '"type":"heatmap"' in page


def test_a_thousand_classes_are_drawn_by_the_worst_twenty(tmp_path):
    names = [f"{'a very long name of a class ' * 4}{i}" for i in range(1000)]
    accuracies = [0.5 + i / 2000 for i in range(1000)]
    for number, method in enumerate(("a", "b")):
        changes = {"data/classes": names, "test/per_class_accuracy": [*accuracies[:-1], float("nan")]}
        finished_run(tmp_path, f"{number}", [f"method={method}"], 0.9, **changes)
    page = page_of(tmp_path)
    assert "The 20 classes with the lowest accuracy, of 1,000." in page and "The axis begins at" in page
    assert f"{names[19]}: {50.95:.2f} %" in page and f"{names[20]}:" not in page


def test_verdicts_on_pretraining(tmp_path):
    """All seeds' verdicts, the epochs that were kept, and the means of what was measured; no section where nothing was."""
    for seed in range(2):
        found = {"health/verdict": "collapsed: so" if seed else "healthy", "pretrain/kept_epoch": 4 + seed}
        measures = {"health/std": 0.5 + seed, "health/measures": {"std": "deviation"}}
        finished_run(tmp_path / "a", f"{seed}", ["method=simclr", f"seed={seed}"], 0.9, **found, **measures)
        finished_run(tmp_path / "b", f"{seed}", ["method=simclr", f"seed={seed}"], 0.9)
    text = Tags(page_of(tmp_path / "a")).text
    assert "Did pretraining work?" in text and "healthy (seed 0); collapsed: so (seed 1)" in text
    assert "epochdeviationsimclr2" in text and "4 to 51Measured" in text
    assert "Did pretraining work?" not in page_of(tmp_path / "b")


# text from files


def test_nothing_from_a_file_or_folder_becomes_a_tag(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    sweep = tmp_path / evil
    about = {f"{split}/linear_accuracy": {"title": evil, "higher_is_better": True} for split in ("test", "val")}
    for number, method in enumerate((evil, "'\"><script>alert(2)</script>")):
        changes = {"data/source": evil, "data/classes": [evil] * 10, "scores": about, "warnings": [evil], "test/most_confused": evil}
        changes |= {"health/verdict": evil, "health/measures": {evil: evil}, f"health/{evil}": 1.0}
        changes |= {"versions/ssl_mnist": evil, "machine/processor": evil, "versions/torch": evil}
        record = {"command": evil, "started": evil, "settings": {"seed": 0, evil: f"{evil}{number}"}, "choices": {"method": method}}
        record |= {"git": {"commit": evil}}
        finished_run(sweep, f"{number} {evil}", [f"method={method}", f"{evil}={evil}{number}"], 0.9, record=record, **changes)
    (started_run(sweep, "failed", [evil]) / "error.txt").write_text(evil)
    started_run(sweep, f"killed {evil}", [f"x={evil}"])
    page = page_of(sweep)
    assert evil in Tags(page).text
    tags = Tags(page).tags
    assert not any("onerror" in attributes or attributes.get("src") == "x" for _, attributes in tags)
    plain = Tags(page_of(by_methods(tmp_path / "plain", 1))).tags
    scripts = [sum(tag == "script" for tag, _ in found) for found in (tags, plain)]
    plots = [sum("plotly-graph-div" in attributes.get("class", "") for _, attributes in found) for found in (tags, plain)]
    assert scripts[0] - plots[0] == scripts[1] - plots[1]


def test_a_cell_of_the_csv_is_no_formula(tmp_path):
    for number, method in enumerate(("=1+1", "-x", "+a", "@b", "simclr")):
        finished_run(tmp_path, f"{number}", [f"method={method}"], 0.9, record={"choices": {"method": method}})
    write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    assert {row["configuration"] for row in rows} == {"'=1+1", "'-x", "'+a", "'@b", "simclr"}
    assert {row["test/linear_accuracy mean"] for row in rows} == {"0.9"}


def test_a_folder_whose_name_is_not_text(tmp_path):
    try:
        finished_run(tmp_path, os.fsdecode(b"run-\xff"), ["seed=0"], 0.9)
    except OSError:
        pytest.skip("this file system takes text alone")
    assert "href='run-%FF/'" in page_of(tmp_path)


# size


def test_fifteen_methods(tmp_path):
    for number, (method, seed) in enumerate(itertools.product(range(15), range(2))):
        finished_run(tmp_path, f"{number}", [f"method=method_{method:02d}", f"seed={seed}"], 0.9 + 0.005 * method)
    page = page_of(tmp_path)
    assert page.count("<h3>method_") == 15 and "method_14 is ahead" in page
    assert page.count("Too few seeds") == 1


def test_500_runs_within_15_seconds_15_mebibytes_and_1_gibibyte(tmp_path):
    for number in range(500):
        folder = finished_run(tmp_path, f"{number}", [f"optimizer.lr={number // 5 + 1}e-4", f"seed={number % 5}"], 0.9 + number * 1e-5)
        (folder / "figures" / "tsne.png").write_bytes(PNG + bytes(80_000))
    code = """
import pathlib, resource, sys, time
from threadpoolctl import threadpool_limits
from ssl_mnist.compare import write
threadpool_limits(1)  # threads that wait for each other count as CPU time, and the more the busier the machine is
started = time.process_time()
write(pathlib.Path(sys.argv[1]))
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    words = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code, str(tmp_path)]  # a child of pytest would inherit pytest's peak
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, peak = map(float, result.stdout.split())
    assert seconds < 15
    assert peak * (1 if sys.platform == "darwin" else 1024) < 2**30  # macOS counts bytes, Linux kibibytes
    assert (tmp_path / "comparison.html").stat().st_size < 15 * 2**20


def test_500_configurations_are_compared_with_the_best(tmp_path):
    for number in range(500):
        finished_run(tmp_path, f"{number}", [f"optimizer.lr={number + 1}e-5"], 0.9 + number * 1e-5, splits=("val",))
    with threadpool_limits(1):
        started = time.process_time()
        comparison, _ = write(tmp_path)
        assert time.process_time() - started < 15
    assert {verdict.first for verdict in comparison.verdicts} == {"optimizer.lr=500e-5"} and len(comparison.verdicts) == 2 * 499
    text = console_table(comparison)
    assert text.splitlines()[-52].startswith("lr=500e-5") and "the 50 best of 500 configurations" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120
