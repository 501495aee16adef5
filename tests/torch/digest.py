"""One number for all the state of a training, computed without the code under test."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch


def digest(model: Any, optimizer: Any = None, *, scheduler: Any = None, scaler: Any = None, loader: Any = None) -> str:
    """SHA-256 over contents, identities and flags: equal digests mean that nothing was lost or replaced."""
    sha = hashlib.sha256()
    for name, module in model.named_modules():
        _add(sha, name, id(module), type(module).__qualname__, module.training)
        _add(sha, sorted(module._non_persistent_buffers_set), list(module._modules), len(module._forward_hooks))
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            _add(sha, key, tensor)
        _add(sha, {key: value for key, value in vars(module).items() if isinstance(value, (int, float, str, list))})
    if optimizer is not None:
        _add(sha, [list(group.items()) for group in optimizer.param_groups], dict(optimizer.state))
        _add(sha, sorted(vars(optimizer)), "step" in vars(optimizer), id(vars(optimizer).get("step")))
        _add(sha, len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks))
    for thing in (scheduler, scaler):
        _add(sha, thing.state_dict() if thing is not None else None)
    _add(sha, random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state().numpy())
    if torch.cuda.is_initialized():
        _add(sha, [state.numpy() for state in torch.cuda.get_rng_state_all()])
    if loader is not None:
        sampler = getattr(loader, "sampler", None)
        for owner in (loader, sampler, getattr(loader, "dataset", None)):
            generator = getattr(owner, "generator", None)
            _add(sha, None if generator is None else generator.get_state().numpy())
            _add(sha, id(getattr(owner, "_iterator", None)))
            attributes = getattr(owner, "__dict__", {})
            _add(sha, {key: value for key, value in attributes.items() if isinstance(value, (int, float))})
    return sha.hexdigest()


def _add(sha: Any, *values: Any) -> None:
    for value in values:
        if isinstance(value, torch.Tensor):
            _add(sha, id(value), str(value.dtype), str(value.device), tuple(value.shape), value.stride())
            _add(sha, value.data_ptr(), value.requires_grad)
            sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            if value.is_leaf:
                _add(sha, value.grad, sorted(value.__dict__), len(value._backward_hooks or ()))
        elif isinstance(value, np.ndarray):
            sha.update(value.tobytes())
        elif isinstance(value, dict):
            for key, item in value.items():
                _add(sha, id(key) if isinstance(key, torch.Tensor) else key, item)
        elif isinstance(value, (list, tuple)):
            _add(sha, len(value), *value)
        else:
            sha.update(f"{type(value).__name__}:{value!r};".encode())
