"""A schedule that Lightning's Trainer is given, finds by itself, or goes on with from a checkpoint."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
L = pytest.importorskip("lightning", reason="Lightning is not installed")
from lightning.pytorch.callbacks import GradientAccumulationScheduler  # noqa: E402

import cyclr  # noqa: E402 - needs the two above
from cyclr import Linear, Ramp, Search, Triangular, one_cycle  # noqa: E402
from cyclr.lightning import auto, use_schedule  # noqa: E402
from cyclr.torch import Scheduler  # noqa: E402
from tests.adapters.lightning_net import BATCHES, MOMENTUM, NOISE, WAVE, Net, loader, trainer  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in NOISE]
SEARCH = Search(Ramp(1e-4, 3.0, steps=80))


class Bare(Net):
    """The network, whose `configure_optimizers` returns the optimizer alone."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)


class Cosine(Bare):
    """With a scheduler of torch's, as many a module has it."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * BATCHES)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Cyclic(Bare):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 1e-2, step_size_up=5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.fixture(autouse=True)
def _same_start():
    L.seed_everything(0, verbose=False)


def rates(net):
    return [rate for rate, _ in net.rates]


def along(schedule, steps):
    return pytest.approx([schedule(step) for step in steps])


# ---------------------------------------------------------------- given


@pytest.mark.parametrize(
    "form",
    [
        lambda optimizer: optimizer,
        lambda optimizer: [optimizer],
        lambda optimizer: {"optimizer": optimizer},
        lambda optimizer: [{"optimizer": optimizer}],
        lambda optimizer: ([optimizer], []),
    ],
)
def test_whatever_configure_optimizers_returns_gets_the_schedule(form):
    class Formed(Bare):
        def configure_optimizers(self):
            return form(super().configure_optimizers())

    net = Formed()
    use_schedule(net, WAVE, MOMENTUM)
    trainer(max_epochs=2).fit(net, loader())
    assert net.rates == [(pytest.approx(WAVE(step)), pytest.approx(MOMENTUM(step))) for step in range(2 * BATCHES)]


def test_a_plan_is_taken_and_a_second_call_replaces_the_first():
    plan = cyclr.plan(cyclr.Bounds(1e-3, 1e-2), epochs=2, steps_per_epoch=BATCHES)
    net = Bare()
    use_schedule(net, WAVE)
    use_schedule(net, plan)
    fit = trainer(max_epochs=2)
    fit.fit(net, loader())
    assert rates(net) == along(plan.schedule, range(2 * BATCHES))
    assert fit.lr_scheduler_configs[0].scheduler.plan is plan


class Two(Bare):
    """Two optimizers, each on a part of its own, stepped by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.seen = []

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net.parameters(), lr=0.1), torch.optim.SGD(self.head.parameters(), lr=0.02)]

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        self.seen.append(tuple(one.param_groups[0]["lr"] for one in optimizers))
        loss = self.loss(batch)
        self.manual_backward(loss)
        for one in optimizers:
            one.step()
            one.zero_grad()
        schedulers = self.lr_schedulers()
        for one in schedulers if isinstance(schedulers, list) else [schedulers]:
            one.step()
        return loss


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (None, lambda rate: (rate, pytest.approx(0.2 * rate))),
        (0, lambda rate: (rate, 0.02)),
        (1, lambda rate: (0.1, rate)),
    ],
)
def test_several_optimizers_keep_their_ratios_or_one_is_driven(which, expected):
    net = Two()
    use_schedule(net, WAVE, optimizer=which)
    trainer(max_epochs=1).fit(net, loader())
    assert net.seen == [expected(WAVE(step)) for step in range(BATCHES)]


def test_several_optimizers_have_the_plan_in_their_ratios():
    net, plan = Two(), cyclr.plan(cyclr.Bounds(1e-3, 1e-2), steps=100, goal="average", anneal=False)
    use_schedule(net, plan)
    plans = [made["lr_scheduler"]["scheduler"].plan for made in net.configure_optimizers()]
    assert [one.snapshots for one in plans] == [plan.snapshots] * 2
    assert [one.schedule(50) for one in plans] == [plan.schedule(50), pytest.approx(0.2 * plan.schedule(50))]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_the_module_has_an_optimizer_for_its_own_parameters(duplicate):
    net = Bare()
    use_schedule(net, WAVE)
    again = duplicate(net)
    optimizer = again.configure_optimizers()[0]["optimizer"]
    assert {id(one) for group in optimizer.param_groups for one in group["params"]} == {
        id(one) for one in again.parameters()
    }


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "words"),
    [
        ((3, WAVE), {}, TypeError, "module must be a LightningModule, got 3"),
        ((Bare(), 0.1), {}, TypeError, r"schedule must be a schedule, got 0.1; .*Constant\(0.1\)"),
        ((Bare(), None), {}, TypeError, "schedule must be a schedule, got None"),
        ((Bare(), Linear), {}, TypeError, "schedule must be a schedule"),
        ((Bare(), WAVE, Linear(0.5, 1.5, steps=3)), {}, ValueError, "momentum must stay below 1"),
        ((Bare(), WAVE), {"on_mismatch": "ask"}, ValueError, "on_mismatch must be one of"),
    ],
)
def test_what_cannot_drive_a_training_is_refused_when_it_is_given(arguments, options, kind, words):
    with pytest.raises(kind, match=words):
        use_schedule(*arguments, **options)


def test_a_module_with_a_scheduler_of_its_own_and_a_wrong_index_are_refused():
    net = Cosine()
    use_schedule(net, WAVE)
    with pytest.raises(ValueError, match="configure_optimizers must not return a scheduler of its own"):
        trainer(max_epochs=1).fit(net, loader())
    net = Bare()
    use_schedule(net, WAVE, optimizer=1)
    with pytest.raises(ValueError, match="optimizer must be None or an index below 1, got 1"):
        trainer(max_epochs=1).fit(net, loader())


# ---------------------------------------------------------------- found


def trained(prepare, **options):
    """All that a training does, after `prepare` has had its parts."""
    L.seed_everything(0, verbose=False)
    net, fit, batches = Bare(), trainer(**options), loader()
    prepare(fit, net, batches)
    fit.fit(net, batches)
    return net.losses, net.rates, [value.tolist() for value in net.state_dict().values()]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": 4}, 4 * BATCHES),
        ({"max_epochs": 4, "accumulate_grad_batches": 3}, 16),
        ({"max_steps": 25}, 25),
        ({"max_epochs": 4, "limit_train_batches": 5}, 20),
        ({"max_epochs": -1, "max_steps": 12}, 12),
    ],
)
def test_auto_plans_the_trainers_own_length_and_changes_nothing_but_the_schedule(options, steps):
    found = []
    itself = trained(lambda *parts: found.append(auto(*parts, momentum=(0.85, 0.95), search=SEARCH)), **options)
    (tuned,) = found
    assert tuned.plan.steps == steps
    assert itself[1] == [
        (pytest.approx(tuned.plan.schedule(step)), pytest.approx(tuned.momentum(step))) for step in range(steps)
    ]
    assert itself == trained(lambda _, net, __: use_schedule(net, tuned.plan, tuned.momentum), **options)
    assert tuned.curve.bounds(budget=steps).max_lr == tuned.bounds.max_lr


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_short_test_evaluates_batches_without_a_step_and_leaves_no_trace(accumulate):
    found, options = [], {"max_epochs": 4, "accumulate_grad_batches": accumulate}
    itself = trained(lambda *parts: found.append(auto(*parts, search=Search(progress=False))), **options)
    (tuned,) = found
    assert np.ptp(tuned.curve.reference[0, :4]) < 1e-3  # the same batches and the same dropout
    assert itself == trained(lambda fit, net, _: use_schedule(net, tuned.plan), **options)


def noisy(manual=False):
    """A module and data whose losses differ more from batch to batch than they fall."""

    class Linear(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.automatic_optimization = torch.nn.Linear(8, 1), not manual

        def training_step(self, batch, batch_idx):
            loss = torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])
            if manual:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    x = torch.randn(2000, 8)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 30 * torch.randn(2000, 1))
    return Linear(), torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)


def test_reference_batches_answer_where_training_losses_show_nothing():
    torch.manual_seed(0)
    tuned = auto(trainer(max_steps=2000), *noisy(), search=Search(progress=False))
    assert tuned.curve.reference.size
    assert tuned.curve.tuning_cost <= 300
    assert 1e-5 < tuned.bounds.max_lr < 0.1
    by_hand = auto(trainer(max_steps=2000), *noisy(manual=True), search=Search(progress=False))
    assert by_hand.curve.in_turn == 3  # a step's loss is all that manual optimization has
    assert by_hand.curve.tuning_cost <= 300 + 60
    assert 1e-5 < by_hand.bounds.max_lr < 0.1
    assert tuned.curve.examples == by_hand.curve.examples == 2
    assert tuned.curve.plain_sgd
    assert by_hand.curve.plain_sgd


@pytest.mark.parametrize("steps", [400, 2000, 4000])
def test_repeats_share_what_the_training_pays_for(steps):
    tuned = auto(trainer(max_epochs=-1, max_steps=steps), Bare(), loader(), search=Search(repeats=3, progress=False))
    assert tuned.curve.tuning_cost <= 0.15 * steps
    assert len(tuned.curve.losses) == (2 if steps == 400 else 3)


def test_manual_optimization_has_no_loss_without_a_step_and_takes_the_same_batches_in_turn():
    net = Two()
    use_schedule(net, WAVE)
    curve = cyclr.lightning.range_test(trainer(max_epochs=4), net, loader(), budget=40)
    assert not curve.reference.size
    assert curve.in_turn == 3


@pytest.mark.filterwarnings("ignore:When using .Trainer.accumulate_grad_batches")
def test_auto_counts_an_accumulation_that_changes_between_epochs():
    net, fit = Bare(), trainer(max_epochs=4, callbacks=[GradientAccumulationScheduler({0: 5, 2: 2})])
    tuned = auto(fit, net, loader(), search=SEARCH)
    fit.fit(net, loader())
    assert tuned.plan.steps == fit.global_step == 14
    assert net.optimizers().param_groups[0]["lr"] == 0.0


def test_auto_takes_a_datamodule_tells_what_it_found_and_may_be_called_again(capsys):
    class Data(L.LightningDataModule):
        def train_dataloader(self):
            return loader()

    fit, net = trainer(max_epochs=2), Bare()
    one = auto(fit, net, datamodule=Data(), search=SEARCH)
    assert f"auto: max_lr {one.bounds.max_lr:.3g} by " in capsys.readouterr().err
    two = auto(fit, net, datamodule=Data(), search=replace(SEARCH, progress=False))
    assert "auto" not in capsys.readouterr().err
    assert one.plan.steps == two.plan.steps == 2 * BATCHES
    assert one.bounds.max_lr == pytest.approx(two.bounds.max_lr, rel=0.5)
    fit.fit(net, datamodule=Data())
    assert rates(net) == along(two.plan.schedule, range(2 * BATCHES))


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([(torch.ones(4), torch.ones(1))] * 64)


@pytest.mark.parametrize(
    ("kind", "data", "options", "words"),
    [
        (Bare, loader(), {"max_epochs": -1}, "the training must have an end, got inf; set Trainer"),
        (Bare, torch.utils.data.DataLoader(Stream(), batch_size=8), {"max_epochs": 2}, "must have an end, got -1"),
        (Bare, loader(), {"max_steps": 1}, "steps must be"),
        (Cosine, loader(), {"max_epochs": 2}, "must not return a scheduler of its own"),
    ],
)
def test_auto_says_what_is_wrong_before_any_step(kind, data, options, words):
    class Counted(kind):
        steps = 0

        def training_step(self, batch, batch_idx):
            type(self).steps += 1
            return super().training_step(batch, batch_idx)

    with pytest.raises(ValueError, match=words):
        auto(trainer(**options), Counted(), data, search=SEARCH)
    assert Counted.steps == 0


def test_auto_with_wrong_kinds_and_without_an_answer_changes_nothing():
    net = Bare()
    with pytest.raises(TypeError, match=r"search must be a cyclr\.Search, got 3"):
        auto(trainer(max_epochs=2), net, loader(), search=3)
    with pytest.raises(TypeError, match=r"momentum must be a pair \(from, to\), got 0.9"):
        auto(trainer(max_epochs=2), net, loader(), momentum=0.9)
    with pytest.raises(cyclr.Inconclusive):
        auto(trainer(max_epochs=2), net, loader(), search=Search(Ramp(1e-9, 1e-8, steps=80), effort="quick"))
    assert "configure_optimizers" not in vars(net)


@pytest.mark.parametrize("ending", [ZeroDivisionError, KeyboardInterrupt])
def test_auto_that_is_broken_off_changes_nothing(ending):
    class Ends(Bare):
        left = 7

        def training_step(self, batch, batch_idx):
            self.left -= 1
            if self.left == 0:
                raise ending
            return super().training_step(batch, batch_idx)

    net, fit = Ends(), trainer(max_epochs=2)
    weights = [value.clone() for value in net.state_dict().values()]
    before = dict(vars(fit))
    with pytest.raises(ending):
        auto(fit, net, loader(), search=SEARCH)
    assert all(map(torch.equal, weights, net.state_dict().values()))
    assert "configure_optimizers" not in vars(net)
    assert {name for name, value in vars(fit).items() if value is not before[name]} == set()


# ---------------------------------------------------------------- another schedule on a checkpoint


def first_run(net, folder, epochs=2):
    """A training of two epochs; its checkpoint."""
    fit = trainer(max_epochs=epochs)
    fit.fit(net, loader())
    fit.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def go_on(net, path, epochs=4):
    trainer(max_epochs=epochs).fit(net, loader(), ckpt_path=path, weights_only=True)
    return rates(net)


class OneCycle(Bare):
    """A schedule as long as the training, as the page has it."""

    on_mismatch = "error"

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        schedule = one_cycle(0.01, steps=self.trainer.estimated_stepping_batches)
        scheduler = Scheduler(optimizer, schedule, on_mismatch=self.on_mismatch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.mark.filterwarnings("ignore:the training has made")
@pytest.mark.parametrize(("keep", "steps"), [("keep_new", 4 * BATCHES), ("keep_saved", 2 * BATCHES)])
def test_a_longer_training_goes_on_from_a_checkpoint_with_the_schedule_that_is_asked_for(tmp_path, keep, steps):
    path, longer = first_run(OneCycle(), tmp_path), OneCycle()
    with pytest.raises(ValueError, match="to continue at the saved step, 20, pass"):
        go_on(OneCycle(), path)
    longer.on_mismatch = keep
    assert go_on(longer, path) == along(one_cycle(0.01, steps=steps), range(2 * BATCHES, 4 * BATCHES))


OTHER = Triangular(1e-4, 5e-3, step_size=9)


@pytest.mark.parametrize("kind", [Net, Cosine, Cyclic])
def test_another_schedule_takes_over_a_checkpoint_whoever_drove_it_before(tmp_path, kind):
    path, net = first_run(kind(), tmp_path), Bare()
    use_schedule(net, OTHER, on_mismatch="keep_new")
    assert go_on(net, path) == along(OTHER, range(2 * BATCHES, 4 * BATCHES))
    refused = Bare()
    use_schedule(refused, OTHER)
    with pytest.raises(ValueError, match=r"on_mismatch='keep_new'|'keep_new' for the present one"):
        go_on(refused, path)


def test_the_saved_schedule_may_go_on_in_place_of_the_present_one(tmp_path):
    path, net = first_run(Net(), tmp_path), Bare()
    use_schedule(net, OTHER, on_mismatch="keep_saved")
    assert go_on(net, path) == along(WAVE, range(2 * BATCHES, 4 * BATCHES))


def test_auto_again_on_a_longer_training_goes_on_with_the_new_plan(tmp_path):
    short = Bare()
    auto(trainer(max_epochs=2), short, loader(), search=SEARCH)
    path, net = first_run(short, tmp_path), Bare()
    tuned = auto(trainer(max_epochs=4), net, loader(), search=SEARCH, on_mismatch="keep_new")
    assert go_on(net, path) == along(tuned.plan.schedule, range(2 * BATCHES, 4 * BATCHES))
