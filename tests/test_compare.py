"""Comparisons: what is averaged, what is kept apart, what is said of it; and a sweep that goes on where it stopped."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import METHODS, TINY, command
from scipy import stats

from ssl_mnist import compose
from ssl_mnist.compare import configurations, read, rows, verdicts, write
from ssl_mnist.compare.statistics import compare, estimate, sign_flip_p
from ssl_mnist.resume import config_hash, remove_superseded

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


def finished_run(sweep, number, overrides, linear, **changes):
    """A finished run's folder, as `run` leaves it."""
    folder = sweep / f"{number}-run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "figures").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {override}\n" for override in overrides))
    (folder / "figures" / "tsne.png").write_bytes(PNG)
    seed = next((int(o.removeprefix("seed=")) for o in overrides if o.startswith("seed=")), 0)
    method = next((o.removeprefix("method=") for o in overrides if o.startswith("method=")), "simclr")
    summary = {
        **{f"{split}/linear_accuracy": linear for split in ("test", "val")},
        **{f"{split}/knn_accuracy": linear - 0.01 for split in ("test", "val")},
        **{"test/per_class_accuracy": [linear] * 10, "test/most_confused": "4 taken for 9, 3 times"},
        **{"pretrain/seconds": 10.0, "seconds": 20.0, "pretrain/images_per_second": 1000.0, "model/parameters": 5},
        **{"choices/method": method, "data/source": "mnist", "seed": seed, "versions/ssl_mnist": "1"},
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes))
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"epoch": e, "pretrain/loss": 5 - e}) + "\n" for e in range(3)))
    return folder


@pytest.fixture
def three_by_three(tmp_path):
    for number, (method, seed) in enumerate(itertools.product(("rotation", "simclr"), range(3))):
        finished_run(tmp_path, number, [f"method={method}", f"seed={seed}"], 0.9 + 0.001 * seed + 0.05 * (method == "simclr"))
    return tmp_path


def test_interval_is_students_t():
    values = [0.91, 0.93, 0.95, 0.96]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found.mean - found.half_width == pytest.approx(low) and found.mean + found.half_width == pytest.approx(high)
    assert found.std == pytest.approx(np.std(values, ddof=1))


def test_permutation_test_is_scipys():
    differences = [0.3, -0.1, 0.4, 0.2, 0.15, -0.02]
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue)


def test_verdict_is_paired_by_seed():
    """A difference that is the same at every seed is found, however much the seeds differ among themselves."""
    a = {0: 0.90, 1: 0.95, 2: 0.99, 7: 0.1}
    b = {0: 0.89, 1: 0.941, 2: 0.979, 8: 0.9}
    found = compare("a", "b", "test/linear_accuracy", a, b)
    assert found.difference.n == 3 and "a is better than b by 1.00 points" in found.words and "p = 0.25" in found.words
    assert "a is better than b by 1.00" in compare("b", "a", "s", b, a).words, "whichever comes first"
    noisy = compare("a", "b", "s", {0: 0.9, 1: 0.8, 2: 0.9}, {0: 0.8, 1: 0.9, 2: 0.85})
    assert "cannot be told apart" in noisy.words
    assert "not enough seeds" in compare("a", "b", "s", {0: 0.9, 1: 0.8}, {0: 0.8, 1: 0.9}).words


def test_rows_average_over_seeds_alone(three_by_three):
    groups = configurations(read(three_by_three).runs)
    assert {name: [run.seed for run in runs] for name, runs in groups.items()} == {"rotation": [0, 1, 2], "simclr": [0, 1, 2]}
    table = {row["configuration"]: row for row in rows(groups)}
    assert table["simclr"]["test/linear_accuracy mean"] == pytest.approx(0.951)
    assert table["simclr"]["test/linear_accuracy std"] == pytest.approx(0.001)
    assert "test/linear_accuracy: simclr is better than rotation by 5.00 points" in verdicts(groups)[0].words


def test_files_hold_the_table_and_the_page_stands_alone(three_by_three):
    write(three_by_three)
    assert len((three_by_three / "comparison.csv").read_text().splitlines()) == 3
    content = json.loads((three_by_three / "comparison.json").read_text())
    assert [row["configuration"] for row in content["configurations"]] == ["rotation", "simclr"] and len(content["verdicts"]) == 2
    page = (three_by_three / "comparison.html").read_text()
    assert "simclr is better than rotation" in page and "data:image/png;base64" in page and "0-run/" in page
    body = page[page.index("<body>") :]
    assert "src='http" not in body and 'src="http' not in body


def test_what_was_swept_names_the_configurations(tmp_path):
    for number, (lr, seed) in enumerate(itertools.product(("1e-3", "1e-2"), (0, 1))):
        finished_run(tmp_path, number, [f"optimizer.lr={lr}", f"seed={seed}", "experiment=smoke"], 0.9)
    assert list(configurations(read(tmp_path).runs)) == ["optimizer.lr=1e-3", "optimizer.lr=1e-2"]
    write(tmp_path)
    assert "Effect of optimizer.lr" in (tmp_path / "comparison.html").read_text()


def test_numbers_that_were_swept_stand_by_size(tmp_path):
    for number, words in enumerate(itertools.product(["epochs=16", "epochs=2", "epochs=8"], ["lr=19e-4", "lr=1e-4"])):
        finished_run(tmp_path, number, list(words), 0.9)
    names = list(configurations(read(tmp_path).runs))
    assert names == [f"epochs={epochs} lr={lr}" for epochs in (2, 8, 16) for lr in ("1e-4", "19e-4")]


@pytest.mark.parametrize("key,value", [("data/source", "packaged-5k"), ("versions/ssl_mnist", "2")])
def test_other_data_or_version_is_named_and_never_averaged(key, value, three_by_three):
    finished_run(three_by_three, 9, ["method=simclr", "seed=3"], 0.1, **{key: value})
    sweep = read(three_by_three)
    assert any(key in warning and value in warning for warning in sweep.warnings)
    groups = configurations(sweep.runs)
    assert sorted(len(runs) for runs in groups.values()) == [1, 3, 3]
    if key == "data/source":
        assert not any(value in verdict.words for verdict in verdicts(groups))


def test_what_is_broken_is_named(three_by_three):
    with (three_by_three / "0-run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "pretr')
    (three_by_three / "5-run" / "summary.json").unlink()
    (three_by_three / "failures.jsonl").write_text(json.dumps({"overrides": ["method=x"], "error": "no such thing"}) + "\n")
    sweep = read(three_by_three)
    assert sweep.warnings == ["0-run/metrics.jsonl: line 4 is broken and left out"]
    assert len(sweep.runs) == 5
    assert {failure.error for failure in sweep.failures} == {"did not finish: 5-run has no summary.json", "no such thing"}


def test_a_job_is_its_words_in_any_order(three_by_three):
    """What failed is no failure once the same words, turned round, have finished; what was killed goes when they start again."""
    (three_by_three / "failures.jsonl").write_text(json.dumps({"overrides": ["seed=0", "method=simclr"], "error": "once"}) + "\n")
    finished_run(three_by_three, 8, ["seed=1", "method=simclr"], 0.9)
    (three_by_three / "8-run" / "summary.json").unlink()
    assert [failure.overrides for failure in read(three_by_three).failures] == [["seed=1", "method=simclr"]]
    remove_superseded(three_by_three, three_by_three / "new", ["method=simclr", "seed=1"])
    assert read(three_by_three).failures == [] and len(read(three_by_three).runs) == 6


def test_the_same_words_twice_count_once(three_by_three):
    """They ran again because a YAML file had changed; the later run stands, and a warning says so."""
    later = finished_run(three_by_three, "00", ["method=simclr", "seed=2"], 0.5)
    os.utime(later / "summary.json", (time.time() + 60,) * 2)
    sweep = read(three_by_three)
    assert [run.summary["test/linear_accuracy"] for run in configurations(sweep.runs)["simclr"]] == pytest.approx([0.95, 0.951, 0.5])
    assert sweep.warnings == ["1 of the runs left out: the same words ran again later, when a YAML file said something else"]


def test_the_page_counts_its_comparisons_and_says_what_its_plots_show(three_by_three):
    write(three_by_three)
    page = (three_by_three / "comparison.html").read_text()
    assert "2 comparisons, each by its own interval" in page and page.count("<th scope=col><button>") > 5
    assert 'aria-label="test linear accuracy, % by wall time, s"' in page


def test_empty_folder_is_one_line(tmp_path):
    result = subprocess.run([sys.executable, "-m", "ssl_mnist.compare", str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "holds no run" in result.stderr


def test_500_runs_within_15_seconds_15_mebibytes_and_1_gibibyte(tmp_path):
    for number in range(500):
        folder = finished_run(tmp_path, number, [f"optimizer.lr={number // 5 + 1}e-4", f"seed={number % 5}"], 0.9 + number * 1e-5)
        (folder / "figures" / "tsne.png").write_bytes(PNG + bytes(80_000))
    code = """
import pathlib, resource, sys, time
from ssl_mnist.compare import write
started = time.monotonic()
write(pathlib.Path(sys.argv[1]))
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    seconds, peak = map(float, result.stdout.split())
    assert seconds < 15
    assert peak * (1 if sys.platform == "darwin" else 1024) < 2**30  # macOS counts bytes, Linux kibibytes
    assert (tmp_path / "comparison.html").stat().st_size < 15 * 2**20


def test_numbers_a_search_drew_are_shortened_and_never_merged(tmp_path):
    for number, lr in enumerate(("0.0012345678901", "0.0012345999901", "0.0098765432109", "1e-2")):
        finished_run(tmp_path, number, [f"optimizer.lr={lr}"], 0.9)
    names = [name.removeprefix("optimizer.lr=") for name in configurations(read(tmp_path).runs)]
    assert names == ["0.00123457", "0.0012346", "0.00987654", "1e-2"]


def test_a_setting_that_is_a_name_gets_a_heat_map(tmp_path):
    for number, omit in enumerate(("null", "affine", "stroke")):
        finished_run(tmp_path, number, [f"augmentation.omit={omit}"], 0.9 + 0.01 * number)
    write(tmp_path)
    page = (tmp_path / "comparison.html").read_text()
    assert "Effect of augmentation.omit" in page and '"type":"heatmap"' in page


def test_hash_is_of_what_makes_a_result():
    def of(*overrides, source="mnist"):
        from omegaconf import OmegaConf

        return config_hash(OmegaConf.to_container(compose(*overrides), resolve=True), source)

    same = of()
    assert of("data.root=/elsewhere", "tracking.mode=offline", "tracking.name=x") == same
    changed = [of("seed=1"), of("optimizer.lr=1e-4"), of("method=rotation"), of("augmentation.omit=stroke"), of(source="packaged-5k")]
    assert len({same, *changed}) == 6


def test_the_entry_point_compares_a_sweep(sweep):
    """After a multirun the page and the table are there, with a row a method."""
    folder = sweep[0].parent
    content = json.loads((folder / "comparison.json").read_text())
    assert [row["configuration"] for row in content["configurations"]] == METHODS
    assert all("not enough seeds" in words for words in content["verdicts"])
    assert (folder / "comparison.html").is_file()


def test_a_killed_sweep_goes_on(tmp_path):
    """kill -9 in the middle of job 3 of 6: started again, jobs 1 and 2 are not run again, 3 to 6 are, and the table holds six."""
    words = ("-m", f"seed={','.join('012345')}", *TINY, "hydra.sweep.dir=all")
    sweep = tmp_path / "all"
    process = command(*words, cwd=tmp_path, wait=False)
    while process.poll() is None and not list(sweep.glob("2-*/metrics.jsonl")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/summary.json")}
    assert sorted(json.loads(path.read_text())["seed"] for path in before) == [0, 1]
    (torn,) = sweep.glob("2-*")

    again = command(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    after = {path: path.stat().st_mtime_ns for path in sweep.glob("*/summary.json")}
    assert sorted(json.loads(path.read_text())["seed"] for path in after) == [0, 1, 2, 3, 4, 5]
    assert before.items() <= after.items() and not torn.exists()
    assert len([path for path in sweep.iterdir() if path.is_dir()]) == 6
    (row,) = json.loads((sweep / "comparison.json").read_text())["configurations"]
    assert row["n"] == 6 and again.stdout.count("already in") == 2


def test_what_changed_is_a_new_job(tmp_path):
    """In the same folder, another setting runs, and never takes the first one's results."""
    for omit in ("null", "stroke"):
        result = command("-m", f"augmentation.omit={omit}", *TINY, "hydra.sweep.dir=all", cwd=tmp_path)
        assert result.returncode == 0 and "already in" not in result.stdout, result.stderr
    assert len(json.loads((tmp_path / "all" / "comparison.json").read_text())["configurations"]) == 2
