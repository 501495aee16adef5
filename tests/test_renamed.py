"""Arguments of version 0.1 still work, and say what to write instead."""

from __future__ import annotations

import numpy as np
import pytest

from cyclr import HeldOut, Ramp

torch = pytest.importorskip("torch")
from cyclr.torch import Update, auto, range_test  # noqa: E402


def task():
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    model = torch.nn.Linear(3, 1)
    batches = list(zip(x.split(8), x.sum(1, keepdim=True).split(8), strict=True))
    return model, torch.optim.SGD(model.parameters(), lr=0.1), batches, torch.nn.functional.mse_loss


def test_settings_of_the_ramp_go_into_it():
    with pytest.warns(DeprecationWarning, match=r"low, high, steps, ramp: pass ramp=Ramp\(low=0.001, high=0.1"):
        old = range_test(*task(), low=1e-3, high=0.1, steps=20, ramp="linear")
    assert np.array_equal(old.losses, range_test(*task(), ramp=Ramp(1e-3, 0.1, 20, "linear")).losses)


def test_settings_of_a_step_and_step_functions_go_into_update():
    how = {"ramp": Ramp(1e-3, 0.1, 10)}
    with pytest.warns(DeprecationWarning, match="pass update=Update"):
        old = range_test(*task(), clip_norm=0.1, accumulate=2, **how)
    assert np.array_equal(old.losses, range_test(*task(), update=Update(clip_norm=0.1, accumulate=2), **how).losses)

    def own():
        model, optimizer, batches, loss_fn = task()

        def step(batch):
            optimizer.zero_grad()
            loss = loss_fn(model(batch[0]), batch[1])
            loss.backward()
            optimizer.step()
            return loss

        return model, optimizer, batches, step

    model, optimizer, batches, step = own()
    with pytest.warns(DeprecationWarning, match="step_fn: pass update="):
        old = range_test(model, optimizer, batches, step_fn=step, **how)
    assert np.array_equal(old.losses, range_test(*task(), **how).losses)


def test_held_out_data_and_its_metrics_go_together():
    metrics = {"mae": lambda outputs, targets: (outputs - targets).abs().mean()}
    model, optimizer, batches, loss_fn = task()
    with pytest.warns(DeprecationWarning, match="pass held_out=HeldOut"):
        old = range_test(model, optimizer, batches, loss_fn, val_loader=batches, metrics=metrics, val_every=5)
    new = range_test(*task(), held_out=HeldOut(batches, metrics, 5))
    assert np.array_equal(old.metrics["mae"], new.metrics["mae"], equal_nan=True)


def test_both_at_once_are_an_error_and_auto_takes_them_too():
    with pytest.raises(TypeError, match="steps must be left out if ramp is given"):
        range_test(*task(), steps=20, ramp=Ramp())
    model, optimizer, batches, loss_fn = task()
    with pytest.warns(DeprecationWarning, match="accumulate: pass update="):
        assert auto(model, optimizer, batches, loss_fn, epochs=10, accumulate=2).plan.steps == 40


def test_a_word_that_is_neither_old_nor_new_is_an_error_before_any_work():
    with pytest.raises(TypeError, match=r"range_test\(\) got an unexpected .* 'step'; did you mean ramp="):
        range_test(*task(), step=20)
    with pytest.raises(TypeError, match=r"it takes model, optimizer, loader"):
        auto(*task(), epochs=2, zzz=1)


@pytest.mark.parametrize("name", ["jax", "keras"])
def test_settings_of_the_ramp_are_taken_everywhere(name):
    module = pytest.importorskip(f"cyclr.{name}")
    job = module.range_test if name == "jax" else module.RangeTest
    with pytest.warns(DeprecationWarning, match="steps: pass ramp=Ramp"), pytest.raises((TypeError, ValueError)):
        job(3, steps=20) if name == "keras" else job(3, 3, 3, steps=20)


def test_a_curve_still_tells_its_cost():
    curve = range_test(*task(), ramp=Ramp(1e-3, 0.1, 10))
    with pytest.warns(DeprecationWarning, match=r"now Curve.tuning_cost"):
        assert curve.cost == curve.tuning_cost
