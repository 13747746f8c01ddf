"""Where a run computes and in which precision; Fabric does the placing."""

import logging
from typing import Any

import torch
from lightning_fabric import Fabric

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision, and so does the run


def build(device: str, precision: str) -> Fabric:
    """device: auto, cpu, cuda or mps; precision: auto, 32 or bf16-mixed. Raises ValueError where the device is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        raise ValueError(f"device={device} is not there; this machine has: {', '.join(name for name, here in there.items() if here)}")
    if precision == "auto":
        precision = "bf16-mixed" if _computes_in_bf16(device) else "32"
    chosen: Any = "32-true" if precision == "32" else precision
    return Fabric(accelerator=device, devices=1, precision=chosen)


def _computes_in_bf16(device: str) -> bool:
    """Whether the hardware itself multiplies bfloat16; emulation is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def describe(fabric: Fabric) -> str:
    threads = f", {torch.get_num_threads()} threads" if fabric.device.type == "cpu" else ""
    return f"{fabric.device}, precision {fabric.strategy.precision.precision}{threads}"
