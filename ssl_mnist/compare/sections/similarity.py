"""Linear CKA between the encoders, and between their layers, as heat maps."""

import math

import numpy as np

from ssl_mnist.compare.cka import similarity
from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.sections import plot
from ssl_mnist.pages import Heading, Note, Part, Plot, Section

TITLE = "How alike the encoders are"


def section(comparison: Comparison) -> Section:
    found = similarity(comparison)
    if isinstance(found, str):
        return Section("similarity", TITLE, [Note(f"Left out: {found}.")])
    what = (
        f"Linear CKA (Kornblith et al. 2019) of the embeddings of {found.num:,} images: 1 where one is the other up to rotation and scale. "
    )
    parts: list[Part] = [Note(what + (f"Left out: {'; '.join(found.left_out)}." if found.left_out else ""))]
    if found.encoders is None:
        parts.append(Note("One encoder alone: no other to compare it with."))
    else:
        several = [(name, values) for name in dict.fromkeys(name for name, _ in found.runs) if (values := found.within(name))]
        said = [f"between seeds of {name} {_span(values)}" for name, values in several]
        said += [f"between configurations {_span(values)}" for values in [found.between()] if values]
        parts += [_heat_map([f"{name} seed {seed}" for name, seed in found.runs], found.encoders), Note(f"CKA {'; '.join(said)}.", "")]
    if found.between_layers is not None:
        names = [f"{layer}, {name}" for name, layer in found.layers]
        note = "Layers of the first seed of each configuration; a layer's map is averaged over positions. "
        if any(layer == "projection" for _, layer in found.layers):
            note += "The projection is the output of the head between the embedding and the loss."
        parts += [Heading("Between layers"), _heat_map(names, found.between_layers), Note(note)]
    return Section("similarity", TITLE, parts)


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if max(values) - min(values) >= 0.005 else f"{values[0]:.2f}"


def _heat_map(names: list[str], values: np.ndarray) -> Plot:
    size = len(names)
    figure = plot.new_figure("", "", max(300, 160 + 26 * size))
    z = [[None if math.isnan(value) else round(value, 3) for value in row] for row in values.tolist()]
    short, number = plot.ticks(names), {"texttemplate": "%{z:.2f}"} if size <= 20 else {}
    figure.add_heatmap(x=short, y=short, z=z, zmin=0, zmax=1, colorscale="Viridis", colorbar={"title": "CKA"}, hoverongaps=False, **number)
    figure.update_xaxes(type="category", tickangle=-40).update_yaxes(type="category", autorange="reversed")
    return plot.plot(figure, label="Linear CKA of each two")
