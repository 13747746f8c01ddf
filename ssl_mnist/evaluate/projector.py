"""Linear probe of the projector's output: what the head that the loss looks at has kept of the embedding.

A projector is thrown away after pretraining because its output serves other tasks less well than the embedding before it (Chen et al. 2020,
https://arxiv.org/abs/2002.05709, section 4.2, figure 8); this probe shows by how much. It needs the method's heads, which encoder.pt
does not hold, and so is made at the end of a run alone.
"""

from ssl_mnist.evaluate.linear import Linear


class Projector(Linear):
    """As the linear probe, on the projector's output."""

    feature = "projection"
    keeps = False  # what is kept belongs to the encoder's weights, and not to the projector's

    def titles(self) -> dict[str, str]:
        return {self.score: "linear probe, projector's output"}
