"""Everything done to a frozen encoder. `protocol.evaluate` runs the probes; one file a probe."""

from ssl_mnist.evaluate.base import Fitted, Labelled, Probe
from ssl_mnist.evaluate.features import FeatureStore, extract
from ssl_mnist.evaluate.protocol import Evaluation, evaluate, score_titles

__all__ = ["Evaluation", "FeatureStore", "Fitted", "Labelled", "Probe", "evaluate", "extract", "score_titles"]
