"""Everything done to a frozen encoder. `protocol.evaluate` runs the probes, `study.study` what is measured with them; one file each."""

from ssl_mnist.evaluate.base import Fitted, Labelled, Probe
from ssl_mnist.evaluate.features import FeatureStore, extract
from ssl_mnist.evaluate.protocol import Evaluation, evaluate, score_titles
from ssl_mnist.evaluate.study import Study

__all__ = ["Evaluation", "FeatureStore", "Fitted", "Labelled", "Probe", "Study", "evaluate", "extract", "score_titles"]
