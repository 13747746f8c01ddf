"""A sweep as a Weights & Biases report, by wandb-workspaces: grouped run set, panels by method, run comparer, latent plots.

Needs the extra `report`. Where W&B cannot be reached the report's JSON specification is written, to be published later.
"""

import json
import shlex
from typing import Any

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.errors import UserError
from ssl_mnist.files import atomic_write

METHOD = "choices.method"
LOSS = "pretrain/loss"
MEDIA = ("figures/tsne", "figures/pca")
PROJECT = "ssl-mnist"  # where no run was tracked
MAX_SCORES = 12


def scores_of(comparison: Comparison) -> list[str]:
    """What is drawn: the scores of the split that decides, the primary first."""
    scores = sorted(comparison.scores_on(comparison.split), key=lambda score: score is not comparison.primary)
    return [score.key for score in scores][:MAX_SCORES]


def build(comparison: Comparison, project: str, entity: str) -> Any:
    """The report, unsaved; nothing is asked of the network. project, entity: where the sweep's runs are, or will be synced to."""
    import wandb_workspaces.reports.v2 as wr

    name = comparison.sweep.folder.resolve().name
    group = _tracked(comparison).get("group") or name
    runs = wr.Runset(name=name, groupby=[f"config.{METHOD}"], filters=f"Metric('group') == {group!r}")
    decided = [verdict.words for verdict in comparison.verdicts if verdict.kind != "too few seeds"]
    words = "\n".join(["", *(f"- {text}" for text in decided[:60])])
    scores: list[Any] = [
        wr.BarPlot(metrics=[key], groupby=wr.Config(METHOD), layout=wr.Layout(x=8 * (i % 3), y=8 + 8 * (i // 3), w=8, h=8))
        for i, key in enumerate(scores_of(comparison))
    ]
    below = 8 + 8 * -(-len(scores) // 3)
    panels: list[Any] = [
        wr.LinePlot(x="epoch", y=[LOSS], layout=wr.Layout(x=0, y=0, w=24, h=8)),
        *scores,
        wr.RunComparer(diff_only="split", layout=wr.Layout(x=0, y=below, w=24, h=9)),
        wr.MediaBrowser(media_keys=list(MEDIA), num_columns=3, layout=wr.Layout(x=0, y=below + 9, w=24, h=12)),
    ]
    text = f"{comparison.answer}. {comparison.basis if comparison.groups else ''}\n{words}"
    blocks: list[Any] = [wr.H1(f"Sweep {name}"), wr.MarkdownBlock(text), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(project=project, entity=entity, title=f"ssl_mnist: sweep {name}", blocks=blocks)


def publish(comparison: Comparison) -> str:
    """Save the report to W&B, or write its specification; returns a line that says which. Raises UserError without the extra."""
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise UserError("--wandb-report needs wandb-workspaces: pip install 'ssl_mnist[report]'") from error
    import wandb

    tracked = _tracked(comparison)
    project, entity = tracked.get("project") or PROJECT, tracked.get("entity")
    try:
        if wandb.login(prompt=False, verify=False):
            report = build(comparison, project, entity or str(wandb.Api(timeout=15).default_entity))
            report.save()
            return f"report  {report.url}"
        reason = "no W&B key is configured (wandb login)"
    except (wandb.errors.Error, wandb.errors.CommError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    specification = build(comparison, project, entity or "me")._to_model()
    path = comparison.sweep.folder / "wandb_report.json"
    atomic_write(path, json.dumps(json.loads(specification.spec.model_dump_json(by_alias=True, exclude_none=True)), indent=2) + "\n")
    again = f"python -m ssl_mnist.compare {shlex.quote(str(comparison.sweep.folder))} --wandb-report"
    return f"report  not published, because {reason}; its specification is {path}. To publish: wandb login, wandb sync as above, {again}"


def _tracked(comparison: Comparison) -> dict[str, Any]:
    """Project, entity and group of the first run that W&B has, as they were resolved when it started."""
    return next((run.record["wandb"] for run in comparison.sweep.runs if run.record.get("wandb")), {})
