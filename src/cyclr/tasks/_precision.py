"""Computing in half precision; weights and outputs stay in float32."""

from __future__ import annotations

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """A context manager in which convolutions and matrix products are computed in `precision`."""
    half = precision != torch.float32
    return torch.autocast(device.type, dtype=precision if half else torch.bfloat16, enabled=half)
