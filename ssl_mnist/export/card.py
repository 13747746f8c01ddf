"""A model card: what a model is, what it was made from, its scores and how they were measured, how it is loaded.

Markdown with YAML before it, as the Hugging Face Hub reads it (https://huggingface.co/docs/hub/model-cards).
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ssl_mnist import __version__
from ssl_mnist.console import SPLITS, score_text, splits_of
from ssl_mnist.encoders import Encoder

LOADING = {
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
{outputs} = session.run(None, {{"images": images}})  # a numpy array""",
    "torch_export": """\
import torch

model = torch.export.load("model.pt2").module()
{outputs} = model(images)  # a tensor""",
    "safetensors": """\
import ssl_mnist

encoder = ssl_mnist.load_encoder("model.safetensors")
embedding = encoder(images)  # a tensor""",
    "hub": """\
import ssl_mnist
from huggingface_hub import snapshot_download

encoder = ssl_mnist.load_encoder(snapshot_download("<user>/<model>"))
embedding = encoder(images)  # a tensor""",
}

OUTPUT = "`probabilities`, of the linear probe: float32 (B, {num})"
TENSORS = "The file holds a linear probe too: softmax(probe.weight (embedding - probe.mean) / probe.std + probe.bias), (B, {num})"
PROBE = {"onnx": OUTPUT, "torch_export": OUTPUT, "safetensors": TENSORS, "hub": TENSORS}
PLACES = ("tracking", "checkpoint", "compare", "data.root", "data.path", "data.cache")  # settings that are the machine's alone


def model_card(encoder: Encoder, kind: str, run: Mapping[str, Any], summary: Mapping[str, Any], with_probe: bool) -> str:
    """kind: the format; run, summary: what run.json and summary.json hold."""
    method, data, spec = run["choices"]["method"], summary["data/source"], encoder.spec
    size = f"{spec.channels}, {spec.height}, {spec.width}"
    splits = [f"{name} {summary[f'data/{name}_size']:,}" for name in ("train", *SPLITS) if summary.get(f"data/{name}_size")]
    commit = f", commit {run['git']['commit']}" if run["git"] else ""
    facts = {
        "data": f"{data} (fingerprint {summary['data/fingerprint']}): {', '.join(splits)} images",
        "method": f"{method}, {summary['pretrain/steps']:,} steps, seed {run['settings']['seed']}",
        "encoder": f"{type(encoder).__name__}, {summary['model/parameters']:,} parameters",
        "made with": f"ssl_mnist {summary['versions/ssl_mnist']}{commit}, torch {summary['versions/torch']}",
        "run": run["identity"],
    }
    outputs = f"`embedding`: float32 (B, {encoder.dim})."
    if with_probe:
        assert spec.classes is not None
        outputs += f" {PROBE[kind].format(num=len(spec.classes))}, of {', '.join(spec.classes[:20])}{', ...' * (len(spec.classes) > 20)}."
    loading = LOADING[kind].format(outputs="embedding, probabilities" if with_probe else "(embedding,)")
    table = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"""\
---
{yaml.safe_dump(_metadata(method, data, run, summary), sort_keys=False).strip()}
---

# {method} on {data}

An image encoder trained by {method} and frozen, exported by ssl_mnist {__version__}.

| | |
|---|---|
{table}

## Use

Input: float32 (B, {size}) in [0, 1], any B; it is normalised inside. Output: {outputs}

```python
{loading}
```

## Scores

{_scores(summary)}

## Settings

`{_command(run["overrides"])}`

```yaml
{yaml.safe_dump(run["identity_parts"]["settings"], sort_keys=False, default_flow_style=None, width=120).strip()}
```

## Licence

MIT, that of the code. The data have a licence of their own.
"""


def _command(overrides: Sequence[str]) -> str:
    words = [word for word in overrides if not word.lstrip("+~").startswith(PLACES)]
    return shlex.join(["python", "-m", "ssl_mnist", *words])


def _metadata(method: str, data: str, run: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the Hub reads. The scores are those on test, or on val where test was not read."""
    split = next(reversed(splits_of(summary)), None)
    metrics = [
        {"type": "accuracy", "value": summary[key], "name": about["title"]}
        for key, about in summary["scores"].items()
        if split and key.startswith(f"{split}/") and key.endswith("_accuracy")
    ]
    dataset = {"type": run["choices"]["data"], "name": data, "split": split}
    result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
    return {
        "license": "mit",
        "library_name": "ssl_mnist",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["self-supervised-learning", method],
        **({"model-index": [{"name": f"{method} on {data}", "results": [result]}]} if metrics else {}),
    }


def _scores(summary: Mapping[str, Any]) -> str:
    if not summary["scores"]:
        return "None: the images have no labels."
    splits = splits_of(summary)
    rows: dict[str, dict[str, str]] = {}
    for key, about in summary["scores"].items():
        split, _, name = key.partition("/")
        title = about["title"] + (", %" if key.endswith("_accuracy") else "")
        rows.setdefault(name, {"title": title})[split] = score_text(summary, key)
    lines = [f"| {row['title']} | {' | '.join(row.get(split, '') for split in splits)} |" for row in rows.values()]
    read = "test was read once, after the last choice" if "test" in splits else "test was not read"
    return f"""\
The encoder is frozen; each probe is fitted to its features of train, every choice is made on val, and {read}.
± is the standard deviation over draws of the labels.

| score | {" | ".join(splits)} |
|---|{"---:|" * len(splits)}
{chr(10).join(lines)}"""
