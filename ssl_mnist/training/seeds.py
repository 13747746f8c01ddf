"""Stateless random numbers: a seed for each purpose and moment, made from the run's seed alone.

Nothing that is drawn depends on what was drawn before. So figures and evaluations cannot disturb training, a run can be continued from
any step, and two methods with the same seed see the same images in the same order.
"""

import hashlib


def seed_for(seed: int, purpose: str, moment: int = 0, rank: int = 0) -> int:
    """A seed in [0, 2^63). purpose: such as "initialisation"; moment: an epoch or a step; rank: of a data-parallel process."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{moment}/{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
