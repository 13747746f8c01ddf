"""Which figures a run draws, and from what."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from ssl_mnist import data, plots
from ssl_mnist.evaluate.errors import confused_pairs, furthest
from ssl_mnist.evaluate.health import MEASURES, latest
from ssl_mnist.evaluate.project import nearest, project
from ssl_mnist.training.seeds import seed_for
from ssl_mnist.training.threads import limit_scikit_learn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ssl_mnist.build import Experiment
    from ssl_mnist.evaluate import Evaluation


def figures_of(
    experiment: "Experiment", evaluation: "Evaluation", history: list[dict[str, float]], num_points: int
) -> Iterator[tuple[str, Callable[[], "dict[str, Figure]"]]]:
    """Pairs of a name and a function that makes figures by their names."""
    dataset, classes = experiment.dataset, experiment.spec.classes
    shown, scores, split = evaluation.shown, evaluation.scores, evaluation.split
    few, many = (data.random_part(shown, num) for num in (32, num_points))

    def distribution() -> "dict[str, Figure]":
        assert classes is not None
        splits = {"train": dataset.train, "val": dataset.val, split: shown}
        return {"class_distribution": plots.class_distribution({n: data.class_counts(s, classes) for n, s in splits.items()}, classes)}

    def views() -> "dict[str, Figure]":
        images = data.examples(dataset.train, classes)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed_for(experiment.seed, "figures"))
            rows = [experiment.augmentation(images) for _ in range(4)]
        return {"augmented_views": plots.augmented_views(images, rows, ["view"] * len(rows))}

    def primary() -> "dict[str, Figure]":
        assert classes is not None and evaluation.confusion is not None
        name = f"{split}/{scores['primary']}_accuracy"
        title = f"{scores['scores'][name]['title']}, {split}: {100 * scores[name]:.2f} %"
        counts = data.class_counts(shown, classes)
        confusion = evaluation.confusion.cpu().numpy()
        return {
            "per_class_accuracy": plots.per_class_accuracy(scores[f"{split}/per_class_accuracy"], counts, classes, title),
            "confusion_matrix": plots.confusion_matrix(confusion, classes, f"{title}\nmost confused: {scores[f'{split}/most_confused']}"),
        }

    def projections() -> "dict[str, Figure]":
        labels = None if shown.labels is None else shown.labels[many].cpu().numpy()
        with limit_scikit_learn():
            found = project(evaluation.embeddings[many], seed_for(experiment.seed, "projection") % 2**32)
        title = f"of {len(many):,} {split} embeddings"
        return {name: plots.scatter(p.points, labels, classes, f"{p.title} {title}", p.axis_names) for name, p in found.items()}

    def neighbours() -> "dict[str, Figure]":
        rows = nearest(evaluation.embeddings[few[:8]], evaluation.bank, 9)
        images = [torch.cat([shown.images[few[i : i + 1]], dataset.train.images[row]]) for i, row in enumerate(rows)]
        names = None
        if classes is not None and shown.labels is not None and dataset.train.labels is not None:
            found = [[int(shown.labels[few[i]]), *dataset.train.labels[row].tolist()] for i, row in enumerate(rows)]
            names = [[classes[k] for k in row] for row in found]
        return {"nearest_neighbours": plots.nearest_neighbours([data.as_float(row) for row in images], split, names)}

    def errors() -> "dict[str, Figure]":
        assert classes is not None and shown.labels is not None and dataset.train.labels is not None and evaluation.predicted is not None
        far = furthest(evaluation.embeddings, shown.labels, evaluation.bank, dataset.train.labels, len(classes), 24)
        own, nearer = ([classes[k] for k in labels.tolist()] for labels in (shown.labels[far.images], far.nearest))
        images = data.as_float(shown.images[far.images])
        figures = {"furthest_from_class": plots.furthest(images, own, nearer, far.distances.tolist(), split)}
        found = confused_pairs(shown.labels, evaluation.predicted, 8)
        if found:
            title = f"Most confused classes of {split}, {scores['scores'][f'{split}/' + scores['primary'] + '_accuracy']['title']}"
            pairs = [
                plots.Pair(classes[pair.true], classes[pair.predicted], len(pair.images), data.as_float(shown.images[pair.images[:10]]))
                for pair in found
            ]
            figures["most_confused"] = plots.most_confused(pairs, title)
        return figures

    if classes is not None:
        yield "the classes", distribution
    yield "the augmentation", views
    yield "training", lambda: plots.of_training(history, experiment.method.chance)
    if latest(history, None):
        yield "health", lambda: {"health": plots.health(history, MEASURES)}
    if classes is not None:
        yield "the first probe", primary
        yield "the errors", errors
    yield "the embeddings", projections
    yield "the neighbours", neighbours
    yield "the method", lambda: experiment.method.draw(data.as_float(shown.images[few]))
    yield from evaluation.figures.items()
