"""Arguments of version 0.1 still work, and say what to write instead."""

from __future__ import annotations

import numpy as np
import pytest

from cyclr import Constant, Goal, HeldOut, Ramp

torch = pytest.importorskip("torch")
from cyclr.torch import Checkpoint, Task, Update, auto, range_test, train  # noqa: E402


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


def test_what_else_is_restored_goes_into_restore(tmp_path):
    model, optimizer, batches, loss_fn = task()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    with pytest.warns(DeprecationWarning, match=r"scheduler, where: pass restore=Restore\(scheduler=.*, where='cpu'"):
        old = range_test(model, optimizer, batches, loss_fn, ramp=Ramp(1e-3, 0.1, 10), scheduler=scheduler, where="cpu")
    assert np.array_equal(old.losses, range_test(*task(), ramp=Ramp(1e-3, 0.1, 10)).losses)
    with pytest.raises(TypeError, match=r"restore must be a cyclr.torch.Restore, got 'cpu'; write Restore\("):
        range_test(*task(), restore="cpu")


def test_how_often_a_checkpoint_is_written_goes_into_it(tmp_path):
    made = Task(*(lambda model, optimizer, batches, loss_fn: (model, optimizer, loss_fn, batches))(*task()))
    says = (
        r"checkpoint_every, checkpoint_seconds: pass checkpoint=Checkpoint\(folder=.*, every=3, seconds=1000\) instead"
    )
    with pytest.warns(DeprecationWarning, match=says):
        train(made, Constant(0.01), steps=4, checkpoint=tmp_path / "a", checkpoint_every=3, checkpoint_seconds=1000)
    assert not list((tmp_path / "a").iterdir()), "within 1,000 seconds"
    with pytest.raises(TypeError, match="checkpoint_every must be left out if checkpoint is given"):
        train(made, Constant(0.01), steps=4, checkpoint=Checkpoint(tmp_path), checkpoint_every=3)


def test_both_at_once_are_an_error_and_auto_takes_them_too():
    with pytest.raises(TypeError, match="steps must be left out if ramp is given"):
        range_test(*task(), steps=20, ramp=Ramp())
    model, optimizer, batches, loss_fn = task()
    with pytest.warns(DeprecationWarning, match="accumulate: pass update="):
        assert auto(model, optimizer, batches, loss_fn, epochs=10, accumulate=2).plan.steps == 40


def test_cycles_and_annealing_go_into_the_goal():
    with pytest.warns(DeprecationWarning, match=r"cycles, anneal: pass goal=Goal\(cycles=3, anneal=False\) instead"):
        old = auto(*task(), epochs=10, cycles=3, anneal=False)
    assert old.plan == auto(*task(), epochs=10, goal=Goal(cycles=3, anneal=False)).plan
    assert len(old.plan.snapshots) == 3
    with pytest.warns(DeprecationWarning, match=r"pass goal=Goal\(name='ensemble', cycles=2\) instead"):
        assert auto(*task(), epochs=10, goal="ensemble", cycles=2).plan.goal == "ensemble"
    with pytest.raises(TypeError, match="cycles must be left out if goal is given; set them in goal"):
        auto(*task(), epochs=10, goal=Goal(), cycles=2)


@pytest.mark.parametrize("name", ["torch", "lightning", "transformers", "keras"])
def test_every_auto_takes_the_goal_and_what_went_into_it(name):
    module = pytest.importorskip(f"cyclr.{name}")
    jobs = [module.auto, *([module.AutoLoop] if name == "torch" else [])]
    for job in jobs:
        with pytest.warns(DeprecationWarning, match="cycles: pass goal=Goal"), pytest.raises((TypeError, ValueError)):
            job(3, 3, 3, cycles=2) if name != "transformers" else job(3, cycles=2)


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
