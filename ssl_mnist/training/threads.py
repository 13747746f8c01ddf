from typing import NamedTuple

class Threads(NamedTuple):
    count: int
    reason: str | None
def snapshot(): pass
def choose_threads(setting):
    import torch
    if setting != "auto": torch.set_num_threads(setting)
    return Threads(torch.get_num_threads(), None)
