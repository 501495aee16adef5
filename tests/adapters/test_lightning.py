"""A schedule in Lightning's Trainer, and the range test by the Trainer's own steps."""

import json
import os
import signal
from pathlib import Path
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
L = pytest.importorskip("lightning", reason="Lightning is not installed")
import cyclr.torch  # noqa: E402 - needs the two above
from cyclr import Ramp  # noqa: E402
from cyclr.lightning import RangeTest, range_test  # noqa: E402
from cyclr.torch import Update  # noqa: E402
from tests import forked  # noqa: E402
from tests.adapters.lightning_net import BATCHES, MOMENTUM, NOISE, WAVE, Net, loader, trainer  # noqa: E402

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in NOISE]
RAMP = Ramp(1e-4, 3.0, steps=25)


@pytest.fixture(autouse=True)
def _same_start():
    L.seed_everything(0, verbose=False)


def expected(steps):
    return [(pytest.approx(WAVE(step)), pytest.approx(MOMENTUM(step))) for step in range(steps)]


# ---------------------------------------------------------------- a schedule needs no adapter


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 2 * BATCHES), (3, 8)])
def test_configure_optimizers_takes_the_scheduler_as_it_is(accumulate, steps):
    net = Net()
    trainer(max_epochs=2, accumulate_grad_batches=accumulate).fit(net, loader())
    assert net.rates == expected(steps)


# ---------------------------------------------------------------- the range test


def fitted(test, **options):
    """All that a training of two epochs does, after `test` has been made on its trainer."""
    L.seed_everything(0, verbose=False)
    net, fit, batches = Net(), trainer(max_epochs=2, **options), loader()
    test(fit, net, batches)
    fit.fit(net, batches)
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    return net.losses, net.rates, [value.tolist() for value in net.state_dict().values()], metrics, fit.global_step


def test_a_training_after_the_test_is_the_training_without_it():
    def test(fit, net, batches):
        before, callbacks = dict(vars(fit)), list(fit.callbacks)
        curve = range_test(fit, net, batches, ramp=RAMP, repeats=2)
        assert curve.losses.shape == (2, 25)
        assert {name for name, value in vars(fit).items() if value is not before[name]} == set()
        assert fit.callbacks == callbacks
        assert fit.global_step == 0
        assert fit.state.status == "initializing"

    assert fitted(test) == fitted(lambda *_: None)


@pytest.mark.parametrize("ending", [ZeroDivisionError, KeyboardInterrupt])
def test_a_training_after_an_error_or_ctrl_c_in_the_test_is_the_training_without_it(ending):
    class Ends(Net):
        left = 7

        def training_step(self, batch, batch_idx):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT) if ending is KeyboardInterrupt else 1 / 0
            return super().training_step(batch, batch_idx)

    def test(fit, net, batches):
        ends = Ends()
        ends.load_state_dict(net.state_dict())
        state = torch.get_rng_state()
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(ending):
            range_test(fit, ends, batches, ramp=RAMP)
        assert torch.equal(torch.get_rng_state(), state)
        assert signal.getsignal(signal.SIGINT) is handler
        assert ends.left == Ends.left
        for name, value in ends.state_dict().items():
            assert torch.equal(value, net.state_dict()[name]), name

    def only_made(fit, net, batches):
        Ends()  # takes random numbers, too

    assert fitted(test) == fitted(only_made)


@pytest.mark.parametrize("hook", ["setup", "teardown"])
def test_ctrl_c_outside_the_ramp_does_not_leave_the_process(hook):
    class Interrupted(Net):
        pass

    def interrupt(self, stage):
        os.kill(os.getpid(), signal.SIGINT)

    setattr(Interrupted, hook, interrupt)
    handler = signal.getsignal(signal.SIGINT)
    fit = trainer(max_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        range_test(fit, Interrupted(), loader(), ramp=RAMP, repeats=1)
    assert signal.getsignal(signal.SIGINT) is handler
    fit.fit(Net(), loader())
    assert fit.global_step == BATCHES


def test_the_callback_makes_the_test_and_the_training_is_the_one_without_it():
    callback = RangeTest(ramp=RAMP, repeats=2)
    with_it = fitted(lambda *_: None, callbacks=[callback])
    assert with_it == fitted(lambda *_: None)
    assert callback.curve.losses.shape == (2, 25)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_losses_are_those_of_a_plain_loop(accumulate):
    net, batches = Net(), loader(shuffle=False)
    net.net[2].p = 0.0
    fit = trainer(max_epochs=1, accumulate_grad_batches=accumulate, gradient_clip_val=1.0)
    curve = range_test(fit, net, batches, ramp=RAMP)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=MOMENTUM(0))

    same = cyclr.torch.range_test(
        net,
        optimizer,
        [(batch,) for batch in batches],
        lambda model, batch: model.loss(batch[0]),
        ramp=RAMP,
        update=Update(clip_norm=1.0, accumulate=accumulate),
    )
    assert curve.losses[0] == pytest.approx(same.losses[0], rel=1e-5, nan_ok=True)
    assert curve.stops == same.stops


def test_nothing_is_logged_or_written(tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    options = {"enable_checkpointing": True, "callbacks": [ModelCheckpoint(tmp_path / "points")]}
    fit = trainer(max_epochs=1, logger=CSVLogger(tmp_path), default_root_dir=tmp_path, **options)
    range_test(fit, Net(), loader(), ramp=RAMP, repeats=1)
    assert list(tmp_path.iterdir()) == []
    fit.fit(Net(), loader())
    assert {path.name for path in tmp_path.iterdir()} == {"points", "lightning_logs"}


class Manual(Net):
    """Two optimizers, each on a part of its own, stepped by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.seen = []

    def training_step(self, batch, batch_idx):
        body, head = self.optimizers()
        loss = self.loss(batch)
        self.seen.append((body.param_groups[0]["lr"], head.param_groups[0]["lr"]))
        body.zero_grad()
        head.zero_grad()
        self.manual_backward(loss)
        body.step()
        head.step()
        return {"loss": loss, "twice": 2 * loss}

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net.parameters(), lr=0.1), torch.optim.Adam(self.head.parameters(), lr=0.01)]

    @classmethod
    def never(cls):
        """One that never makes a step."""
        net = cls()
        net.training_step = lambda batch, batch_idx: None
        return net


class Noting(Manual):
    """Notes on a list that the test does not put back."""

    notes: ClassVar = []

    def training_step(self, batch, batch_idx):
        output = super().training_step(batch, batch_idx)
        type(self).notes = [*type(self).notes, self.seen[-1]]
        return output


@pytest.mark.parametrize(
    ("which", "body", "head"),
    [(None, lambda rate: rate, lambda rate: rate / 10), (1, lambda _: 0.1, lambda rate: rate)],
)
def test_manual_optimisation_moves_the_rates_of_all_optimizers_or_of_one(which, body, head):
    Noting.notes = []
    fit, net = trainer(max_epochs=1), Noting()
    curve = range_test(fit, net, loader(), repeats=1, optimizer=which, ramp=Ramp(low=1e-4, high=1e-2, steps=12))
    assert Noting.notes == [(pytest.approx(body(rate)), pytest.approx(head(rate))) for rate in curve.rates]
    assert len(set(curve.losses[0])) == 12
    assert net.seen == []
    fit.fit(net, loader())
    assert net.seen == [(0.1, 0.01)] * BATCHES
    assert fit.global_step == 2 * BATCHES


def test_the_loss_may_have_a_name_of_its_own():
    L.seed_everything(0, verbose=False)
    one = range_test(trainer(), Manual(), loader(shuffle=False), ramp=RAMP, repeats=1)
    L.seed_everything(0, verbose=False)
    two = range_test(trainer(), Manual(), loader(shuffle=False), ramp=RAMP, repeats=1, loss="twice")
    assert two.losses == pytest.approx(2 * one.losses, nan_ok=True)


def test_a_datamodule_is_taken_and_put_back():
    class Data(L.LightningDataModule):
        def setup(self, stage):
            self.batches = loader()

        def train_dataloader(self):
            return self.batches

    module, fit = Data(), trainer(max_epochs=1)
    assert range_test(fit, Net(), datamodule=module, ramp=RAMP, repeats=1).losses.shape == (1, 25)
    assert not hasattr(module, "batches")
    assert module.trainer is None
    fit.fit(Net(), datamodule=module)
    assert fit.global_step == BATCHES


def test_after_a_finished_training_the_test_still_runs():
    fit, net = trainer(max_epochs=1), Net()
    fit.fit(net, loader())
    assert range_test(fit, net, loader(), ramp=RAMP, repeats=1).losses.shape == (1, 25)
    assert (fit.global_step, fit.current_epoch) == (BATCHES, 1)
    assert fit.state.status == "finished"


def test_two_processes_get_one_curve_and_train_on_alike(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OUT": str(tmp_path), "PYTHONPATH": path}
    script = ROOT / "tests/adapters/lightning_ddp.py"
    forked.run(script, needs=forked.LIGHTNING, env=environment, check=True)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one["losses"] == two["losses"]
    assert one["weights"] == two["weights"]  # after a fit by the same trainers
    assert one["steps"] == two["steps"] == 2 * BATCHES
    # The halves of each batch together are the batch, so the mean loss is that of one process.
    assert one["losses"] == pytest.approx(one["alone"], rel=1e-4)


# ---------------------------------------------------------------- what the module sees of the trainer

SEEN = (
    "max_epochs", "min_epochs", "max_steps", "min_steps", "estimated_stepping_batches", "limit_train_batches",
    "limit_val_batches", "num_sanity_val_steps", "val_check_interval", "check_val_every_n_epoch", "max_time",
    "accumulate_grad_batches", "enable_validation", "fast_dev_run",
)  # fmt: skip


class Asking(Net):
    """Asks the trainer for its limits where modules do."""

    seen: ClassVar = {}
    validated: ClassVar = []

    def ask(self, where):
        self.seen.setdefault(where, {name: getattr(self.trainer, name, None) for name in SEEN})

    def configure_optimizers(self):
        self.ask("configure_optimizers")
        return super().configure_optimizers()

    def on_train_batch_start(self, batch, batch_idx):
        self.ask("on_train_batch_start")

    def training_step(self, batch, batch_idx):
        self.ask("training_step")
        return super().training_step(batch, batch_idx)

    def val_dataloader(self):
        return loader(shuffle=False)

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch_idx)


@pytest.mark.filterwarnings("ignore:`max_epochs` was not set")
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 2},
        {"max_steps": 7},
        {"max_epochs": -1, "max_steps": 12},
        {"max_epochs": 2, "accumulate_grad_batches": 3, "limit_train_batches": 7},
        {"max_epochs": 2, "limit_val_batches": 0.5, "num_sanity_val_steps": 1, "val_check_interval": 5},
        {"max_epochs": 3, "min_epochs": 2, "min_steps": 12, "check_val_every_n_epoch": 2},
        {"max_steps": 5, "fast_dev_run": True},
        {"limit_train_batches": 1, "limit_val_batches": 0, "max_time": "00:00:01:00", "max_epochs": 1},
    ],
    ids=repr,
)
def test_the_limits_are_those_of_the_training_as_the_module_sees_them(options, finished):
    told, trained = {}, {}
    Asking.seen, Asking.validated = told, []
    fit = trainer(**options)
    if finished:
        fit.fit(Asking(), loader())
        told.clear()
        Asking.validated.clear()
    range_test(fit, Asking(), loader(), ramp=RAMP)
    assert Asking.validated == []
    Asking.seen = trained
    trainer(**options).fit(Asking(), loader())
    assert told == trained
    assert set(told) == {"configure_optimizers", "on_train_batch_start", "training_step"}


# ---------------------------------------------------------------- batches that are skipped


class Skips(Net):
    """Returns None for some batches, as for those that hold nothing of use; without chance otherwise."""

    def __init__(self, indices):
        super().__init__()
        self.net[2].p = 0.0
        self.indices = indices

    def training_step(self, batch, batch_idx):
        return None if batch_idx in self.indices else super().training_step(batch, batch_idx)


def by_hand(net, batches, rates, accumulate, skipped):
    """The losses of a sweep, written out: a skipped batch adds nothing, a step of skipped ones is none."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=MOMENTUM(0))
    groups = [list(enumerate(batches))[at : at + accumulate] for at in range(0, len(batches), accumulate)]
    found = []
    while len(found) < len(rates):
        for group in groups:
            losses = [net.loss(batch) for index, batch in group if index not in skipped]
            if losses and len(found) < len(rates):
                optimizer.param_groups[0]["lr"] = rates[len(found)]
                optimizer.zero_grad()
                (sum(losses) / accumulate).backward()
                optimizer.step()
                found.append(sum(losses).item() / len(losses))
    return found


NONE = pytest.mark.filterwarnings("ignore:`training_step` returned `None`")  # Lightning says it once


@NONE
@pytest.mark.parametrize(
    ("accumulate", "skipped"),
    [(1, {3}), (1, {0}), (1, {0, 1, 9}), (2, {3}), (2, {2}), (2, {4, 5}), (3, {9}), (3, {0, 1, 2, 7})],
)
def test_a_training_step_that_returns_none_skips_its_batch(accumulate, skipped):
    net, batches = Skips(skipped), loader(shuffle=False)
    fit = trainer(max_epochs=1, accumulate_grad_batches=accumulate)
    curve = range_test(fit, net, batches, ramp=Ramp(1e-4, 0.1, steps=25))
    expected = by_hand(net.train(), list(batches), curve.rates.tolist(), accumulate, skipped)
    assert curve.losses[0] == pytest.approx(expected, rel=1e-4)


@NONE
def test_the_callback_skips_such_batches_too_and_the_training_goes_on():
    def losses(**options):
        L.seed_everything(0, verbose=False)
        net = Skips({2, 7})
        trainer(max_epochs=2, **options).fit(net, loader())
        return net.losses

    callback = RangeTest(ramp=RAMP)
    assert losses(callbacks=[callback]) == losses()
    assert callback.curve.losses.shape == (1, 25)


@NONE
def test_with_mixed_precision_a_batch_is_skipped():
    curve = range_test(trainer(max_epochs=1, precision="bf16-mixed"), Skips({1}), loader(), ramp=RAMP)
    assert curve.losses.shape == (1, 25)


def test_with_manual_optimisation_a_batch_without_a_step_is_skipped():
    class Sometimes(Manual):
        def training_step(self, batch, batch_idx):
            return None if batch_idx % 3 == 0 else super().training_step(batch, batch_idx)

    assert range_test(trainer(max_epochs=1), Sometimes(), loader(), ramp=RAMP).losses.shape == (1, 25)


@NONE
@pytest.mark.parametrize("kind", [lambda: Skips(range(BATCHES)), lambda: Manual.never()])
def test_a_training_step_that_skips_every_batch_is_an_error(kind):
    with pytest.raises(ValueError, match=r"must return 'loss', got \['None for every batch of an epoch'\]; return"):
        range_test(trainer(max_epochs=1), kind(), loader(), ramp=RAMP)


# ---------------------------------------------------------------- refusals


def test_what_the_trainer_settles_cannot_be_passed():
    with pytest.raises(TypeError, match="unexpected keyword argument 'update'"):
        range_test(trainer(), Net(), loader(), update=Update(accumulate=2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        RangeTest(step=10)
    with pytest.raises(TypeError, match=r"ramp must be a cyclr\.Ramp, got 10"):
        RangeTest(ramp=10)


def test_wrong_kinds_and_strategies_are_refused():
    with pytest.raises(TypeError, match=r"trainer must be a lightning.pytorch.Trainer, got 3"):
        range_test(3, Net(), loader())
    with pytest.raises(TypeError, match="module must be a LightningModule"):
        range_test(trainer(), torch.nn.Linear(1, 1), loader())
    with pytest.raises(ValueError, match="optimizer must be None or an index below 1, got 1"):
        range_test(trainer(), Net(), loader(), optimizer=1)
    with pytest.raises(ValueError, match="processes that end with it, got 'DDPStrategy'; use strategy='ddp'"):
        range_test(trainer(devices=2, strategy="ddp_spawn"), Net(), loader())


def test_a_training_step_without_loss_is_refused():
    class Silent(Manual):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)

    with pytest.raises(ValueError, match=r"training_step must return 'loss', got \[\]; return the loss"):
        range_test(trainer(), Silent(), loader())


def test_without_training_batches_there_is_no_curve():
    with pytest.raises(ValueError, match="there must be training batches"):
        range_test(trainer(limit_train_batches=0), Net(), loader())


def test_the_cycles_of_a_thorough_test_have_one_start_and_the_same_batches():
    curve = range_test(
        trainer(max_epochs=2), Net(), loader(), effort="thorough", budget=2000, ramp=Ramp(1e-4, 3.0, steps=80)
    )
    assert len(curve.peaks) >= 3
    assert len(set(curve.probes[:, 0])) == 1  # of the first batch, before anything was learnt
