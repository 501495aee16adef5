"""Computing in half precision, where asked: weights and scores stay in float32."""

from __future__ import annotations

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """A context in which convolutions and products are computed in `precision`."""
    half = precision != torch.float32
    return torch.autocast(device.type, dtype=precision if half else torch.bfloat16, enabled=half)
