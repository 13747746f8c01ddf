"""Imports matplotlib whatever $MPLBACKEND says: no backend is needed here, and one that matplotlib does not know ends its import."""

import contextlib
import os

_backend = os.environ.pop("MPLBACKEND", None)
import matplotlib  # noqa: E402

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
