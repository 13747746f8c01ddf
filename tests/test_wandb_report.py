"""The W&B report of a sweep and the W&B sweep file: every name in them exists in a real run."""

import json

import pytest
import wandb
import yaml
from synthetic_sweep import finished_run

from ssl_mnist.compare import compare_runs, read, wandb_report

KINDS = {"Run History Line Plot", "Bar Chart", "Run Comparer", "Media Browser"}


@pytest.fixture(autouse=True)
def _forget_settings():
    wandb.teardown()
    yield
    wandb.teardown()


def specification(folder):
    """What `publish` writes without a key."""
    line = wandb_report.publish(compare_runs(read(folder)))
    assert "not published, because no W&B key" in line
    return (folder / "wandb_report.json").read_text()


# made folders, without training


@pytest.mark.parametrize("group,project,entity", [("mine", "theirs", "team"), ('it\'s "odd"', "p", None)])
def test_project_entity_and_group_come_from_the_record(group, project, entity, tmp_path, monkeypatch):
    """As they were resolved when the first tracked run started."""
    where = {"id": "x", "project": project, "entity": entity, "group": group, "offline": True}
    for number, tracked in enumerate((None, where)):
        finished_run(tmp_path, f"{number}", [f"seed={number}"], 0.9, record={"wandb": tracked})
    assert json.dumps(group)[1:-1] in specification(tmp_path)
    report = wandb_report.build(compare_runs(read(tmp_path)), project, entity or "me")
    assert report.project == project and wandb_report._tracked(compare_runs(read(tmp_path))) == where


def test_an_untracked_sweep_is_named_after_its_folder(tmp_path):
    finished_run(tmp_path / "my-sweep", "0", ["seed=0"], 0.9)
    text = specification(tmp_path / "my-sweep")
    assert all(kind in text for kind in KINDS) and "my-sweep" in text and json.loads(text)["blocks"]


def test_the_scores_are_those_that_decide_the_primary_first(tmp_path):
    for number in range(2):
        finished_run(tmp_path, f"{number}", [f"optimizer.lr={number}"], 0.9, primary="knn")
    assert wandb_report.scores_of(compare_runs(read(tmp_path))) == ["val/knn_accuracy", "val/linear_accuracy"]


# a real sweep


def test_every_name_in_the_report_exists_in_every_run(sweep):
    import wandb_files
    from conftest import METHODS

    comparison = compare_runs(read(sweep[0].parent))
    for folder, method in zip(sweep, METHODS, strict=True):
        saved = wandb_files.read(folder)
        rows = set().union(*saved.history)
        assert {wandb_report.LOSS, "epoch", *wandb_report.MEDIA} <= rows
        assert set(wandb_report.scores_of(comparison)) <= set(saved.summary)
        group, key = wandb_report.METHOD.split(".")
        assert saved.config[group][key] == method
        assert saved.run.run_group == sweep[0].parent.name  # what the run set is filtered by


def test_without_a_key_the_specification_of_a_sweep_is_written(sweep):
    text = specification(sweep[0].parent)
    assert all(kind in text for kind in KINDS) and sweep[0].parent.name in text and json.loads(text)["blocks"]


def test_with_a_server_it_is_saved(sweep, monkeypatch):
    from wandb_server import KEY, serving

    comparison = compare_runs(read(sweep[0].parent))
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        line = wandb_report.publish(comparison)
    assert line.startswith("report  http"), line
    (view,) = server.views
    assert view["displayName"] == f"ssl_mnist: sweep {sweep[0].parent.name}" and view["projectName"] == "ssl-mnist"


def test_the_sweep_file_names_settings_that_exist(sweep):
    from conftest import REPOSITORY

    from ssl_mnist import compose

    content = yaml.safe_load((REPOSITORY / "docs" / "wandb_sweep.yaml").read_text())
    for key, values in content["parameters"].items():
        for value in values["values"]:
            compose(f"{key}={value}")
    assert content["metric"]["name"] in json.loads((sweep[0] / "summary.json").read_text())
    assert content["metric"]["name"].startswith("val/")
