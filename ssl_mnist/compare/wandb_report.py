"""A sweep as a Weights & Biases report, by wandb-workspaces: grouped run set, panels by method, run comparer, latent plots.

Needs the extra `report`. Where W&B cannot be reached the report's JSON specification is written, to be published later.
"""

import json
from typing import Any

from ssl_mnist.compare.report import Comparison
from ssl_mnist.errors import UserError
from ssl_mnist.record import atomic_write
from ssl_mnist.tracking import PROJECT

METHOD = "choices.method"
LOSS = "pretrain/loss"
MEDIA = ("figures/tsne", "figures/pca")


def scores_of(comparison: Comparison) -> list[str]:
    """The first three scores that every run has, on the split that decides."""
    keys = [f"{comparison.split}/{name}" for name in comparison.titles]
    return [key for key in keys if all(key in run.summary for run in comparison.sweep.runs)][:3]


def build(comparison: Comparison, project: str, entity: str) -> Any:
    """The report, unsaved; nothing is asked of the network. project, entity: where the sweep's runs are, or will be synced to."""
    import wandb_workspaces.reports.v2 as wr

    name = comparison.sweep.folder.resolve().name
    group = _tracked(comparison).get("group") or name
    runs = wr.Runset(name=name, groupby=[f"config.{METHOD}"], filters=f"Metric('group') == '{group}'")
    words = "\n".join(f"- {verdict.words}" for verdict in comparison.verdicts)
    bars: list[Any] = [
        wr.BarPlot(metrics=[score], groupby=wr.Config(METHOD), layout=wr.Layout(x=8 * i, y=8, w=8, h=8))
        for i, score in enumerate(scores_of(comparison))
    ]
    panels: list[Any] = [
        wr.LinePlot(x="epoch", y=[LOSS], layout=wr.Layout(x=0, y=0, w=24, h=8)),
        *bars,
        wr.RunComparer(diff_only="split", layout=wr.Layout(x=0, y=16, w=24, h=9)),
        wr.MediaBrowser(media_keys=list(MEDIA), num_columns=3, layout=wr.Layout(x=0, y=25, w=24, h=12)),
    ]
    text = f"{comparison.answer}\n\n{words}"
    blocks: list[Any] = [wr.H1(f"Sweep {name}"), wr.MarkdownBlock(text), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(project=project, entity=entity, title=f"ssl_mnist: sweep {name}", blocks=blocks)


def publish(comparison: Comparison) -> str:
    """Save the report to W&B, or write its specification; returns a line that says which. Raises UserError without the extra."""
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise UserError("--wandb-report needs wandb-workspaces: pip install 'ssl_mnist[report]'") from error
    import wandb

    tracked, folder = _tracked(comparison), comparison.sweep.folder
    project, entity = tracked.get("project") or PROJECT, tracked.get("entity")
    reason = "no W&B key is configured (wandb login)"
    try:
        if wandb.login(prompt=False, verify=False):
            report = build(comparison, project, entity or str(wandb.Api(timeout=15).default_entity))
            report.save()
            return f"report  {report.url}"
    except Exception as error:  # whatever the client raises: the specification is written instead
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    specification = build(comparison, project, entity or "me")._to_model()
    path = folder / "wandb_report.json"
    atomic_write(path, json.dumps(json.loads(specification.spec.model_dump_json(by_alias=True, exclude_none=True)), indent=2) + "\n")
    again = f"python -m ssl_mnist.compare {folder} --wandb-report"
    return f"report  not published, because {reason}; its specification is {path}. To publish: wandb login, wandb sync as above, {again}"


def _tracked(comparison: Comparison) -> dict[str, Any]:
    """Where W&B has the sweep's runs, by its first tracked one."""
    return next((run.about["wandb"] for run in comparison.sweep.runs if run.about.get("wandb")), {})
