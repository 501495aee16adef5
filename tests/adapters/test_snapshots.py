"""Snapshots where cycles end, in the trainers that stand on torch."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from safetensors.torch import load_file  # noqa: E402 - needs the one above

import cyclr.torch  # noqa: E402
from cyclr import Bounds, Constant, Goal, Ramp, Search, Triangular, one_cycle, plan, warm_up  # noqa: E402

CYCLE = one_cycle(0.01, steps=4, base_lr=0.001)
SCHEDULE = CYCLE.repeat(4)  # 16 steps
STABLE = warm_up(Constant(0.01), steps=3)
BOUNDS, WAVE = Bounds(0.001, 0.01), Triangular(0.001, 0.01, step_size=8).take(64)
QUIET = Search(Ramp(1e-4, 3.0, steps=80), progress=False)


def values(*given):
    """A metric that takes on these values."""
    coming = iter(given)
    return lambda model: next(coming), "max"


# ---------------------------------------------------------------- Lightning


def lightning():
    pytest.importorskip("lightning", reason="Lightning is not installed")
    import cyclr.lightning
    from tests.adapters import lightning_net

    class Net(lightning_net.Net):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)

    return cyclr.lightning, lightning_net, Net


def fit(folder, schedule=SCHEDULE, *, accumulate=1, epochs=1, checkpoint=None, until=None, **options):
    """One training of Lightning of 16 batches an epoch; the callback, the net and the trainer."""
    adapter, net, Net = lightning()
    torch.manual_seed(0)
    module, saving = Net(), adapter.Snapshots(folder, **options)
    if schedule is not None:
        adapter.use_schedule(module, schedule)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)
    trainer = net.trainer(
        max_epochs=epochs, max_steps=until or -1, callbacks=[saving], accumulate_grad_batches=accumulate
    )
    trainer.fit(module, data, ckpt_path=checkpoint)
    return saving, module, trainer


def test_lightning_saves_where_cycles_end(tmp_path):
    saving, module, _ = fit(tmp_path)
    assert [one.step for one in saving.snapshots] == [4, 8, 12, 16]
    last = load_file(saving.snapshots.paths[-1])
    torch.testing.assert_close(last, dict(module.state_dict()), rtol=0, atol=0)
    assert not torch.equal(load_file(saving.snapshots.paths[0])["head.weight"], last["head.weight"])


def test_lightning_saves_an_endless_training_every_so_often(tmp_path):
    saving, _, _ = fit(tmp_path, STABLE, every=5)
    assert [one.step for one in saving.snapshots] == [5, 10, 15]
    with pytest.raises(ValueError, match=r"the schedule must end, .* pass every=steps"):
        fit(tmp_path / "other", STABLE)


def test_lightning_counts_steps_not_batches(tmp_path):
    saving, _, trainer = fit(tmp_path, accumulate=2, epochs=2)
    assert trainer.global_step == 16
    assert [one.step for one in saving.snapshots] == [4, 8, 12, 16]


def test_lightning_without_a_schedule_of_ours_goes_by_the_given_plan(tmp_path):
    made = plan(Bounds(0.001, 0.01), steps=16, goal="average")
    saving, _, _ = fit(tmp_path, schedule=None, plan=made)
    assert tuple(one.step for one in saving.snapshots) == made.snapshots
    with pytest.raises(ValueError, match=r"plan must be given without a cyclr\.torch.Scheduler"):
        fit(tmp_path, schedule=None)


def test_lightning_stops_when_the_metric_no_longer_improves_and_keeps_the_best(tmp_path):
    saving, _, trainer = fit(tmp_path, keep=1, metric=values(0.5, 0.7, 0.6, 0.9), patience=1)
    assert trainer.global_step == 12
    assert [(one.step, one.value) for one in saving.snapshots] == [(8, 0.7)]
    assert saving.snapshots.values == {4: 0.5, 8: 0.7, 12: 0.6}


def test_lightning_says_what_a_stop_in_the_middle_of_a_cycle_costs(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "cyclr"):
        fit(tmp_path, until=6)
    assert "middle of a cycle. At step 6 the rate is 0.01, 100% of its peak; the cycle ends in 2 steps" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "cyclr"):
        fit(tmp_path / "other", until=8)
    assert "middle" not in caplog.text


@pytest.mark.parametrize("goal", ["ensemble", Goal("average", anneal=False)])
def test_lightning_saves_for_the_goal_of_auto(tmp_path, goal):
    adapter, net, Net = lightning()
    torch.manual_seed(0)
    module, saving = Net(), adapter.Snapshots(tmp_path)
    trainer = net.trainer(max_epochs=5, callbacks=[saving])
    tuned = adapter.auto(trainer, module, net.loader(), goal=goal, search=QUIET)
    trainer.fit(module, net.loader())
    assert tuple(one.step for one in saving.snapshots) == tuned.plan.snapshots
    assert len(tuned.plan.snapshots) == (2 if goal == "ensemble" else 5)
    torch.testing.assert_close(load_file(saving.snapshots.paths[-1]), dict(module.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("own", [False, True])
def test_lightning_stops_when_the_time_is_up_and_saves_where_cycles_end(tmp_path, own):
    adapter, net, Net = lightning()
    made = plan(BOUNDS, steps=1000, goal="ensemble")

    class Timed(Net):
        def configure_optimizers(self):
            scheduler = cyclr.torch.TimedScheduler(optimizer := super().configure_optimizers(), made, minutes=0.01)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    module, saving = (Timed if own else Net)(), adapter.Snapshots(tmp_path)
    if not own:
        adapter.use_schedule(module, WAVE, minutes=1)
        adapter.use_schedule(module, made, minutes=0.01)
    given = [saving, adapter.StopWhenFinished()] if own else [saving]
    trainer = net.trainer(max_epochs=-1, callbacks=given)
    trainer.fit(module, net.loader())
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    assert scheduler.finished
    assert scheduler.made == trainer.global_step == len(module.rates)
    assert module.rates[-1][0] > 0, "no step is made at a rate of zero"
    assert tuple(one.step for one in saving.snapshots) == made.snapshots
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    trainer.should_stop = False
    again = net.trainer(max_epochs=-1, callbacks=given[1:])
    again.fit(module, net.loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert again.global_step == trainer.global_step, "the time was up"


def test_lightning_refuses_minutes_that_cannot_be(tmp_path):
    adapter, _, Net = lightning()
    with pytest.raises(ValueError, match="minutes must be positive"):
        adapter.use_schedule(Net(), SCHEDULE, minutes=0)
    with pytest.raises(ValueError, match="the schedule must have an end"):
        adapter.use_schedule(Net(), cyclr.Constant(0.1), minutes=1)


def test_lightning_resumes_from_a_checkpoint_with_the_snapshots_that_are_there(tmp_path):
    first, _, trainer = fit(tmp_path / "snapshots", accumulate=2)
    assert [one.step for one in first.snapshots] == [4, 8]
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again, _, _ = fit(tmp_path / "snapshots", accumulate=2, epochs=2, checkpoint=tmp_path / "last.ckpt")
    assert [one.step for one in again.snapshots] == [4, 8, 12, 16]
    with pytest.raises(ValueError, match="must be empty for a training that starts at its first step"):
        fit(tmp_path / "snapshots")


# ---------------------------------------------------------------- Transformers


def train(folder, schedule=SCHEDULE, *, resume=None, arguments=None, goal=None, **options):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    import cyclr.transformers
    from tests.adapters import language

    saving = cyclr.transformers.Snapshots(folder / "snapshots", **options)
    made = language.trainer(folder / "trainer", **(arguments or {}))  # 2 epochs of 8 batches
    made.add_callback(saving)
    if goal is not None:
        cyclr.transformers.auto(made, goal=goal, search=QUIET)
    elif schedule is not None:
        cyclr.transformers.use_schedule(made, schedule)
    made.train(resume_from_checkpoint=resume)
    return saving, made


def test_transformers_saves_where_cycles_end(tmp_path):
    saving, trainer = train(tmp_path)
    assert [one.step for one in saving.snapshots] == [4, 8, 12, 16]
    from tests.adapters import language

    other = language.model()
    members = cyclr.torch.average(other, saving.snapshots.paths[-1:])
    torch.testing.assert_close(members.state_dict(), trainer.model.state_dict(), rtol=0, atol=0)


def test_transformers_saves_for_the_goal_of_auto(tmp_path):
    saving, trainer = train(tmp_path, goal="ensemble", arguments={"num_train_epochs": 5})
    assert trainer.lr_scheduler.plan.goal == "ensemble"
    assert tuple(one.step for one in saving.snapshots) == trainer.lr_scheduler.plan.snapshots == (20, 40)


def test_transformers_saves_an_endless_training_every_so_often(tmp_path):
    saving, _ = train(tmp_path, STABLE, every=5, keep=2)
    assert [one.step for one in saving.snapshots] == [10, 15]


def test_transformers_counts_steps_not_batches_and_takes_a_plan(tmp_path):
    made = plan(Bounds(0.001, 0.01), steps=8, goal="average", cycles=2)
    saving, trainer = train(tmp_path, None, plan=made, arguments={"gradient_accumulation_steps": 2})
    assert trainer.state.global_step == 8
    assert tuple(one.step for one in saving.snapshots) == made.snapshots


def test_transformers_stops_at_a_cycle_end_and_resumes(tmp_path):
    saving, trainer = train(
        tmp_path, metric=values(0.5, 0.4, 0.3), patience=2, arguments={"save_strategy": "steps", "save_steps": 5}
    )
    assert trainer.state.global_step == 12
    assert [one.value for one in saving.snapshots] == [0.5, 0.4, 0.3]
    again, trainer = train(
        tmp_path, resume=str(tmp_path / "trainer" / "checkpoint-10"), metric=values(0.6, 0.2), patience=9
    )
    assert trainer.state.global_step == 16
    assert [(one.step, one.value) for one in again.snapshots] == [(4, 0.5), (8, 0.4), (12, 0.6), (16, 0.2)]


def test_an_ensemble_of_language_models_has_logits_and_no_loss(tmp_path):
    saving, trainer = train(tmp_path)
    together = cyclr.torch.ensemble(trainer.model, saving.snapshots, "logits")
    batch = {"input_ids": torch.arange(8)[None], "labels": torch.arange(8)[None]}
    found = together(**batch)
    assert found.loss is None
    chances = []
    with torch.no_grad():
        for path in saving.snapshots.paths:
            trainer.model.load_state_dict(load_file(path), strict=False)
            chances.append(trainer.model.eval()(**batch).logits.softmax(-1))
    torch.testing.assert_close(found.logits.exp(), torch.stack(chances).mean(0))


@pytest.mark.parametrize("given", [False, True])
def test_transformers_stops_when_the_time_is_up_and_saves_where_cycles_end(tmp_path, given):
    pytest.importorskip("transformers", reason="transformers is not installed")
    import cyclr.transformers
    from tests.adapters import language

    saving, made = cyclr.transformers.Snapshots(tmp_path / "snapshots"), plan(BOUNDS, steps=1000, goal="ensemble")
    optimizers = (None, None)
    model = language.model()
    if given:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizers = (optimizer, cyclr.torch.TimedScheduler(optimizer, made, minutes=0.01))
    trainer = language.trainer(tmp_path / "trainer", num_train_epochs=10**6, optimizers=optimizers, logging_steps=10**9)
    if given:
        trainer.model = trainer.model_wrapped = model
        trainer.add_callback(cyclr.transformers.StopWhenFinished())
    else:
        cyclr.transformers.use_schedule(trainer, made, minutes=0.01)
        cyclr.transformers.use_schedule(trainer, made, minutes=0.01)
    trainer.add_callback(saving)
    trainer.train()
    assert trainer.lr_scheduler.finished
    assert trainer.lr_scheduler.get_last_lr() == [0.0] * len(trainer.optimizer.param_groups)
    assert language.rates(trainer)[-1] > 0, "no step is made at a rate of zero"
    assert tuple(one.step for one in saving.snapshots) == made.snapshots
    if not given:
        with pytest.raises(ValueError, match="minutes must be positive"):
            cyclr.transformers.use_schedule(trainer, made, minutes=0)


# ---------------------------------------------------------------- Accelerate


@pytest.mark.parametrize("prepared", [False, True])
def test_accelerate_needs_no_callback(tmp_path, prepared):
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = cyclr.torch.Scheduler(optimizer, SCHEDULE)
    x = torch.randn(128, 4)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if prepared:
        scheduler = accelerator.prepare(scheduler)
    snapshots = cyclr.torch.Snapshots(tmp_path, model, scheduler)
    for inputs, targets in loader:
        with accelerator.accumulate(model):
            accelerator.backward(torch.nn.functional.mse_loss(model(inputs), targets))
            optimizer.step()
            if prepared or accelerator.sync_gradients:
                scheduler.step()
            snapshots.step()
            optimizer.zero_grad()
    assert [one.step for one in snapshots] == [4, 8, 12, 16]
    torch.testing.assert_close(load_file(snapshots.paths[-1]), dict(model.state_dict()), rtol=0, atol=0)
