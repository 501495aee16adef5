"""The contents of tensors, remembered and put back in place: every byte once, however many tensors share it."""

from __future__ import annotations

from typing import Any

import torch

from cyclr._interrupt import Undo
from cyclr.torch._restore.place import Kept, Place

_BYTEWISE = ("cpu", "cuda", "xpu")  #: devices whose storages can be read as bytes
_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Memory:
    """Remembers tensors: their contents, the memory that they stand in, gradients, `requires_grad` and hooks.

    Args:
        place: Where the contents are kept.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._places: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}
        self._spans: dict[tuple[torch.device, int], list[tuple[int, int]]] = {}
        self._others: list[torch.Tensor] = []
        self._restore_bytes: list[Undo] = []
        self._restore_rest: list[Undo] = []

    def keep(self, tensor: torch.Tensor) -> list[Any]:
        """Note a tensor; `copy` then copies. What hangs on it is returned: gradient, hooks, attributes."""
        local = getattr(tensor, "_local_tensor", None)
        if isinstance(local, torch.Tensor) and not self._place.beside and local.device.type in _BYTEWISE:
            self._note_span(local)  # of a DTensor, this process's part
        elif tensor.layout != torch.strided or type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
            self._others.append(tensor)  # sparse, or a wrapper such as a DTensor: it must copy itself
        elif tensor.device.type in _BYTEWISE:
            self._places.append((tensor, tensor.detach()))
            self._note_span(tensor)
        elif tensor.device.type != "meta":
            self._others.append(tensor)
        if not tensor.is_leaf:
            return []
        hooks = {name: getattr(tensor, name, None) for name in _HOOKS}
        self._restore_rest.append(_leaf(tensor, tensor.requires_grad, tensor.grad, hooks))
        return [tensor.grad, *hooks.values(), vars(tensor)]

    def copy(self) -> None:
        """Copy the contents of what was noted. Only this takes a significant amount of memory."""
        spans = {key: _union(spans) for key, spans in self._spans.items()}
        self._place.reserve(sum(end - start for several in spans.values() for start, end in several))
        with torch.no_grad():
            for key, storage in self._storages.items():
                for start, end in spans[key]:
                    kept = self._place.keep(_bytes(storage)[start:end])
                    self._restore_bytes.append(_span(storage, storage.nbytes(), start, end, kept))
            for tensor in self._others:
                self._restore_bytes.append(_other(tensor, tensor.detach().clone()))

    def undo(self) -> list[Undo]:
        """What puts all back, in order: first where tensors stand, then what is there."""
        places = [_place(tensor, place) for tensor, place in self._places]
        return [*places, *self._restore_bytes, *self._restore_rest]

    def _note_span(self, tensor: torch.Tensor) -> None:
        """The bytes from a tensor's first element to its last: also right for repeated (expanded) elements."""
        if tensor.numel():
            storage, width = tensor.untyped_storage(), tensor.element_size()
            key = (tensor.device, storage.data_ptr())
            self._storages.setdefault(key, storage)
            start = int(tensor.storage_offset()) * width
            steps = int(sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)))
            self._spans.setdefault(key, []).append((start, start + (steps + 1) * width))


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, with those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)  # type: ignore[arg-type]


def _place(tensor: torch.Tensor, place: torch.Tensor) -> Undo:
    def undo() -> None:
        if not _same_place(tensor, place):
            tensor.data = place

    return undo


def _same_place(tensor: torch.Tensor, place: torch.Tensor) -> bool:
    return (
        tensor.device == place.device
        and tensor.dtype == place.dtype
        and tensor.data_ptr() == place.data_ptr()
        and tensor.shape == place.shape
        and tensor.stride() == place.stride()
    )


def _span(storage: torch.UntypedStorage, size: int, start: int, end: int, kept: Kept) -> Undo:
    @torch.no_grad()
    def undo() -> None:
        if storage.nbytes() != size:  # sharded training frees and refills storages
            storage.resize_(size)
        kept(_bytes(storage)[start:end])

    return undo


def _other(tensor: torch.Tensor, saved: torch.Tensor) -> Undo:
    @torch.no_grad()
    def undo() -> None:
        tensor.copy_(saved)

    return undo


def _leaf(tensor: torch.Tensor, flag: bool, grad: torch.Tensor | None, hooks: dict[str, Any]) -> Undo:
    def undo() -> None:
        if tensor.requires_grad != flag:
            tensor.requires_grad_(flag)
        if tensor.grad is not grad:
            tensor.grad = grad
        for name, before in hooks.items():
            if before is None and getattr(tensor, name, None):
                setattr(tensor, name, None)

    return undo
