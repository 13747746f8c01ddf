"""Where a run computes and in which precision."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Engine:
    device: torch.device
    precision: str  # "32" or "bf16-mixed"

    @classmethod
    def choose(cls, device: str, precision: str) -> "Engine":
        """device: auto, cpu, cuda or mps; precision: auto, 32 or bf16-mixed. Raises ValueError where the device is not there."""
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if device == "auto":
            device = next(name for name in ("cuda", "mps", "cpu") if there[name])
        if not there[device]:
            raise ValueError(f"device={device} is not there; this machine has: {', '.join(name for name, here in there.items() if here)}")
        if precision == "auto":
            precision = "bf16-mixed" if _computes_in_bf16(device) else "32"
        return cls(torch.device(device), precision)

    def autocast(self) -> torch.autocast:
        """The context in which a model's forward runs; the weights stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device}, precision {self.precision}{threads}"


def _computes_in_bf16(device: str) -> bool:
    """Whether the hardware itself multiplies bfloat16; emulation is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
