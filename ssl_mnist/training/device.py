"""Where a run computes and in which precision."""

import os
from dataclasses import dataclass

import torch

from ssl_mnist.errors import UserError


@dataclass(frozen=True)
class Device:
    device: torch.device
    precision: str  # "32" or "bf16-mixed"

    @classmethod
    def choose(cls, device: str, precision: str) -> "Device":
        """device: auto, cpu, cuda or mps; precision: auto, 32 or bf16-mixed. Raises UserError where the device is not available.

        Precision 32 is float32 everywhere, also in CUDA's convolutions, which by default use TF32.
        """
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if device == "auto":
            device = next(name for name in ("cuda", "mps", "cpu") if available[name])
        if not available.get(device):
            raise UserError(f"device={device} is not available; this machine has: {', '.join(n for n, here in available.items() if here)}")
        if precision == "auto":
            precision = "bf16-mixed" if _computes_in_bf16(device) else "32"
        if device == "cuda":
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "32"
            torch.backends.cudnn.deterministic = True
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # several processes: a device each
        return cls(torch.device(device), precision)

    def autocast(self) -> torch.autocast:
        """The context in which a model's forward runs; the weights stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def place(self, module: torch.nn.Module) -> None:
        """Move a module there, in place, its 4-dimensional weights channels last where that is faster."""
        module.to(self.device)
        if self.device.type in ("cpu", "cuda"):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __str__(self) -> str:
        num = torch.get_num_threads()
        threads = f", {num} thread{'s' * (num > 1)}" if self.device.type == "cpu" else ""
        return f"{self.device}, precision {self.precision}{threads}"


def _computes_in_bf16(device: str) -> bool:
    """Whether the hardware itself multiplies bfloat16; emulation is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
