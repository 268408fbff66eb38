"""How fast this machine multiplies matrices: the yardstick of dry runs and benchmarks."""

from __future__ import annotations

import time

import torch


def matrix_rate(size: int = 1024, times: int = 12) -> tuple[float, str]:
    """Floating-point operations a second of a dense product, and the device it ran on.

    Args:
        size: rows and columns of the square matrices, float32 on a CPU and bfloat16 on a GPU.
        times: products timed, after two that are not.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    for _ in range(2):
        a = (a @ a).clamp(-1, 1)
    a.sum().item()
    start = time.perf_counter()
    for _ in range(times):
        a = (a @ a).clamp(-1, 1)
    a.sum().item()
    return times * 2 * size**3 / (time.perf_counter() - start), device
