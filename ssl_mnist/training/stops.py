"""Ctrl-C, SIGTERM and SIGUSR1 during training: the step ends, and the caller saves what there is. A second one ends at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A run was ended by a signal. signum: which; saved: whether a checkpoint was written, from which the run goes on."""

    def __init__(self, signum: int, saved: bool = False) -> None:
        super().__init__(signum)
        self.signum, self.saved = signum, saved


def stop_now(signum: int, frame: FrameType | None) -> None:
    """A signal handler: ends whatever runs."""
    raise Stopped(signum)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """While the context lasts, the first signal is noted alone; yields a function that returns it, or None.

    In the main thread; in another one, where Python takes no signals, nothing is noted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    seen: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if seen:
            stop_now(signum, frame)
        seen.append(signum)

    before = {signum: signal.signal(signum, note) for signum in SIGNALS}
    try:
        yield lambda: seen[0] if seen else None
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
