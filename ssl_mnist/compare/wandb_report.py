"""A sweep as a Weights & Biases report, by wandb-workspaces: grouped run set, panels by method, run comparer, latent plots.

Needs the extra `report`. Where W&B cannot be reached the report's JSON specification is written, to be published later.
"""

import json
from pathlib import Path
from typing import Any

from ssl_mnist.compare import SCORES
from ssl_mnist.compare.runs import Sweep
from ssl_mnist.compare.statistics import Verdict
from ssl_mnist.tracking import write_whole

METHOD = "choices.method"
LOSS = "pretrain/loss"
MEDIA = ("figures/tsne", "figures/pca")


def build(sweep: Sweep, verdicts: list[Verdict], project: str, entity: str) -> Any:
    """The report, unsaved; nothing is asked of the network. project, entity: where the sweep's runs are, or will be synced to."""
    import wandb_workspaces.reports.v2 as wr

    group = _tracking(sweep).get("group") or sweep.folder.name
    runs = wr.Runset(name=sweep.folder.name, groupby=[f"config.{METHOD}"], filters=f"Metric('group') == '{group}'")
    words = "\n".join(f"- {verdict.words}" for verdict in verdicts) or "- one configuration alone: nothing to compare"
    scores: list[Any] = [
        wr.BarPlot(metrics=[score], groupby=wr.Config(METHOD), layout=wr.Layout(x=8 * i, y=8, w=8, h=8)) for i, score in enumerate(SCORES)
    ]
    panels: list[Any] = [
        wr.LinePlot(x="epoch", y=[LOSS], layout=wr.Layout(x=0, y=0, w=24, h=8)),
        *scores,
        wr.RunComparer(diff_only="split", layout=wr.Layout(x=0, y=16, w=24, h=9)),
        wr.MediaBrowser(media_keys=list(MEDIA), num_columns=3, layout=wr.Layout(x=0, y=25, w=24, h=12)),
    ]
    blocks: list[Any] = [wr.H1(f"Sweep {sweep.folder.name}"), wr.MarkdownBlock(words), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(project=project, entity=entity, title=f"ssl_mnist: sweep {sweep.folder.name}", blocks=blocks)


def publish(sweep: Sweep, verdicts: list[Verdict]) -> str:
    """Save the report to W&B, or write its specification; returns a line that says which. Raises ValueError without the extra."""
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise ValueError("--wandb-report needs wandb-workspaces: pip install 'ssl_mnist[report]'") from error
    import wandb

    tracking = _tracking(sweep)
    project, entity = tracking.get("project", "ssl-mnist"), tracking.get("entity")
    if entity is not None or wandb.login(prompt=False, verify=False):
        try:
            report = build(sweep, verdicts, project, entity or str(wandb.Api(timeout=15).default_entity))
            report.save()
            return f"report  {report.url}"
        except (wandb.errors.Error, wandb.errors.CommError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
    else:
        reason = "no W&B key is configured (wandb login)"
    specification = build(sweep, verdicts, project, entity or "me")._to_model()
    path = sweep.folder / "wandb_report.json"
    write_whole(path, json.dumps(json.loads(specification.spec.model_dump_json(by_alias=True, exclude_none=True)), indent=2) + "\n")
    again = f"python -m ssl_mnist.compare {sweep.folder} --wandb-report"
    return f"report  not published, because {reason}; its specification is {path}. To publish: wandb login, wandb sync as above, {again}"


def _tracking(sweep: Sweep) -> dict[str, Any]:
    """The settings that the sweep's first run was tracked under."""
    import yaml

    if not sweep.runs:
        return {}
    return yaml.safe_load((Path(sweep.runs[0].folder) / ".hydra" / "config.yaml").read_text())["tracking"]
