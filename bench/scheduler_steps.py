"""Schedules: one step of a scheduler, beside that of each peer. Measured by speed.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from timing import by_turns, cpu

BASE, MAX, SIZE = 0.001, 0.006, 2000


def sgd(groups: int = 1, ratios: list[float] | None = None) -> Any:
    import torch

    given = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.1 * ratio} for ratio in ratios or [1.0] * groups]
    optimizer = torch.optim.SGD(given, lr=0.1, momentum=0.9)
    optimizer.step()
    optimizer._opt_called = True
    return optimizer


def steps_of_torch() -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """Each of torch's schedulers and the loop by hand; rate and momentum where the other drives both."""
    from schedules import paper
    from torch.optim import lr_scheduler as theirs

    import cyclr
    from cyclr.torch import Scheduler

    wave = cyclr.Triangular(BASE, MAX, step_size=SIZE)
    opposed = cyclr.Opposed(wave, 0.85, 0.95)
    for layerwise in (False, True):
        for groups in (1, 10, 100):
            ratios = [0.9**group if layerwise else 1.0 for group in range(groups)]
            words = f"{groups} group{'s' * (groups > 1)}, " + ("layer-wise rates" if layerwise else "one rate")
            ours = Scheduler(sgd(ratios=ratios), wave, momentum=opposed)
            hand, other = sgd(ratios=ratios), sgd(ratios=ratios)
            count = iter(range(10**12))

            def one_rate(hand: Any = hand, count: Any = count) -> None:
                rate = paper(next(count))
                momentum = 0.95 - 0.1 * (rate - BASE) / (MAX - BASE)
                for group in hand.param_groups:
                    group["lr"] = rate
                    group["momentum"] = momentum

            def rates(hand: Any = hand, count: Any = count, ratios: Any = ratios) -> None:
                rate = paper(next(count))
                momentum = 0.95 - 0.1 * (rate - BASE) / (MAX - BASE)
                for group, ratio in zip(hand.param_groups, ratios):  # noqa: B905 (as a user writes it)
                    group["lr"] = ratio * rate
                    group["momentum"] = momentum

            yield f"rate and momentum, {words}", "a loop by hand", ours.step, rates if layerwise else one_rate
            low, high = ([bound * ratio for ratio in ratios] for bound in (BASE, MAX))
            cyclic = theirs.CyclicLR(other, low, high, SIZE, base_momentum=0.85, max_momentum=0.95)
            yield f"rate and momentum, {words}", "torch CyclicLR", ours.step, cyclic.step
    one = cyclr.one_cycle(MAX, steps=10**7)
    pairs = [
        ("one_cycle", one, theirs.OneCycleLR(sgd(), MAX, total_steps=10**7, cycle_momentum=False), "torch OneCycleLR"),
        ("WarmRestarts", cyclr.WarmRestarts(0, MAX, period=SIZE),
         theirs.CosineAnnealingWarmRestarts(sgd(), SIZE), "torch CosineAnnealingWarmRestarts"),
        ("Triangular", wave, theirs.LambdaLR(sgd(), paper), "torch LambdaLR of the formula by hand"),
    ]  # fmt: skip
    for name, schedule, scheduler, peer in pairs:
        yield f"{name}, 1 group", peer, Scheduler(sgd(), schedule).step, scheduler.step


def steps_of_others() -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """timm, Ignite, transformers, Optax and Keras."""
    import cyclr
    from cyclr.torch import Scheduler

    decay = cyclr.warm_up(cyclr.Cosine(MAX, 0, steps=10**7), steps=100)
    if find_spec("timm"):
        # timm's models need torchvision, which its schedulers do not: the package is opened without its __init__
        found = find_spec("timm")
        package = ModuleType("timm")
        package.__path__ = list((found and found.submodule_search_locations) or ())
        sys.modules["timm"] = package
        from timm.scheduler.cosine_lr import CosineLRScheduler

        peer, count = CosineLRScheduler(sgd(), t_initial=10**7, t_in_epochs=False), iter(range(10**12))
        ours = Scheduler(sgd(), cyclr.Cosine(0.1, 0, steps=10**7))
        yield "Cosine, 1 group", "timm CosineLRScheduler", ours.step, lambda: peer.step_update(next(count))
    if find_spec("ignite"):
        from ignite.handlers import LinearCyclicalScheduler

        event = LinearCyclicalScheduler(sgd(), "lr", BASE, MAX, 2 * SIZE)
        ours = Scheduler(sgd(), cyclr.Triangular(BASE, MAX, step_size=SIZE))
        yield "Triangular, 1 group", "Ignite LinearCyclicalScheduler", ours.step, lambda: event(None)
    if find_spec("transformers"):
        from transformers import get_cosine_schedule_with_warmup

        peer = get_cosine_schedule_with_warmup(sgd(), 100, 10**7)
        yield "warm-up and cosine, 1 group", "transformers get_cosine_…", Scheduler(sgd(), decay).step, peer.step


def values_of_jax() -> Iterator[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """A schedule's value in a compiled step: Optax's and Keras's own beside ours."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import jax.numpy as jnp
    import optax

    import cyclr

    steps = jnp.arange(4096)
    ours = jax.jit(jax.vmap(cyclr.Cosine(MAX, 0, steps=10_000)))
    theirs = jax.jit(jax.vmap(optax.cosine_decay_schedule(MAX, 10_000)))
    yield "4,096 steps under jit", "optax.cosine_decay_schedule", *(_ready(f, steps) for f in (ours, theirs))

    def update(rate: Any) -> Callable[[], object]:
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
        weights = jnp.zeros(1000)
        state = optimizer.init(weights)
        step = jax.jit(lambda state: optimizer.update(weights, state))
        return lambda: jax.block_until_ready(step(state))

    pair = cyclr.Cosine(MAX, 0, steps=10_000), optax.cosine_decay_schedule(MAX, 10_000)
    yield "update of inject_hyperparams(sgd) under jit", "optax.cosine_decay_schedule", *map(update, pair)
    import keras

    from cyclr.keras import LearningRate

    own = jax.jit(lambda step: LearningRate(pair[0])(step))
    peer = jax.jit(lambda step: keras.optimizers.schedules.CosineDecay(MAX, 10_000)(step))
    step = jnp.asarray(7)
    yield "one step under jit", "Keras CosineDecay", *(_ready(f, step) for f in (own, peer))


def _ready(function: Callable[[Any], Any], argument: Any) -> Callable[[], object]:
    return lambda: function(argument).block_until_ready()


def compile_times() -> Iterator[tuple[str, dict[str, Any]]]:
    """Trace and compile time of many cycles beside few."""
    import jax
    import jax.numpy as jnp

    import cyclr

    def fresh(cycles: int) -> Callable[[], object]:
        def build() -> object:
            wave = cyclr.Triangular2(BASE, MAX, step_size=50).take(100 * cycles)
            return jax.jit(lambda step: wave(step)).lower(jnp.asarray(0)).compile()

        return build

    yield "JAX: trace and compile 3,000 cycles", {"beside": "3 cycles", **by_turns(cpu(fresh(3000)), cpu(fresh(3)), 9)}
    wave = cyclr.Triangular2(BASE, MAX, step_size=50)
    far, near = cpu(lambda: wave(2**53 - 1), 2000), cpu(lambda: wave(0), 2000)
    yield "Triangular2 at step 2**53 - 1", {"beside": "step 0", **by_turns(far, near, 41)}
