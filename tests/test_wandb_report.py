"""The W&B report of a sweep and the W&B sweep file: every name in them exists in a real run."""

import json
import re
import shutil

import pytest
import wandb
import wandb_files
import yaml
from conftest import METHODS, REPOSITORY
from wandb_server import KEY, serving

from ssl_mnist import compose
from ssl_mnist.compare import configurations, read, verdicts, wandb_report


@pytest.fixture(autouse=True)
def _forget_settings():
    wandb.teardown()
    yield
    wandb.teardown()


def test_every_name_in_the_report_exists_in_every_run(sweep):
    for folder, method in zip(sweep, METHODS, strict=True):
        saved = wandb_files.read(folder)
        rows = set().union(*saved.history)
        assert {wandb_report.LOSS, "epoch", *wandb_report.MEDIA} <= rows
        assert set(wandb_report.SCORES) <= set(saved.summary)
        group, key = wandb_report.METHOD.split(".")
        assert saved.config[group][key] == method
        assert saved.run.run_group == sweep[0].parent.name  # what the run set is filtered by


def test_without_a_key_the_specification_is_written(sweep, tmp_path):
    found = read(sweep[0].parent)
    line = wandb_report.publish(found, verdicts(configurations(found.runs)))
    assert "not published, because no W&B key" in line
    text = (sweep[0].parent / "wandb_report.json").read_text()
    kinds = {"Run History Line Plot", "Bar Chart", "Run Comparer", "Media Browser"}
    assert all(kind in text for kind in kinds) and found.folder.name in text
    assert json.loads(text)["blocks"]


def test_a_sweep_of_another_group_is_found_by_it(sweep, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(sweep[0], folder / sweep[0].name)
    config = folder / sweep[0].name / ".hydra" / "config.yaml"
    config.write_text(re.sub(r"group: .*", "group: mine", config.read_text()))
    wandb_report.publish(read(folder), [])
    assert '"mine"' in (folder / "wandb_report.json").read_text()


def test_with_a_server_it_is_saved(sweep, monkeypatch):
    found = read(sweep[0].parent)
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        line = wandb_report.publish(found, verdicts(configurations(found.runs)))
    assert line.startswith("report  http"), line
    (view,) = server.views
    assert view["displayName"] == f"ssl_mnist: sweep {found.folder.name}" and view["projectName"] == "ssl-mnist"


def test_the_sweep_file_names_settings_that_exist(sweep):
    content = yaml.safe_load((REPOSITORY / "docs" / "wandb_sweep.yaml").read_text())
    for key, values in content["parameters"].items():
        for value in values["values"]:
            compose(f"{key}={value}")
    assert content["metric"]["name"] in json.loads((sweep[0] / "summary.json").read_text())
    assert content["metric"]["name"].startswith("val/")
