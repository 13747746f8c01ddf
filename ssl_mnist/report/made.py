"""Where and with what a run ran."""

from ssl_mnist.compare.runs import Run
from ssl_mnist.compare.sections.made import commit_of, machine_of
from ssl_mnist.pages import Cell, Section, Table


def section(run: Run) -> Section:
    record, summary = run.record, run.summary
    facts = {
        "data": f"{summary['data/source']}, fingerprint {summary['data/fingerprint']}",
        "started": record["started"],
        "ended": record.get("ended") or "",
        "machine": machine_of(run),
        "platform": str(record.get("platform") or ""),
        "host": str(record.get("host") or ""),
        "versions": ", ".join(f"{key.removeprefix('versions/')} {value}" for key, value in summary.items() if key.startswith("versions/")),
        "code": commit_of(run),
        "identity": record["identity"] or "",
        "W&B": " / ".join(str((record.get("wandb") or {}).get(key)) for key in ("entity", "project", "id") if record.get("wandb")),
    }
    rows = [[Cell(name), Cell(text)] for name, text in facts.items() if text]
    return Section("made", "Machine and versions", [Table([], rows, "Machine and versions", sortable=False, look="plain")])
