"""A schedule in Hugging Face's Trainer, and the range test by the Trainer's own steps."""

import json
import os
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")
import cyclr.torch  # noqa: E402 - needs the three above
from cyclr import Goal, Opposed, Ramp, Search, Triangular, parse  # noqa: E402
from cyclr.torch import Update  # noqa: E402
from cyclr.transformers import auto, range_test, use_schedule  # noqa: E402
from tests import forked  # noqa: E402
from tests.adapters.language import model, rates, trainer  # noqa: E402

RAMP = Ramp(1e-4, 3.0, steps=25)
WAVE = Triangular(1e-3, 1e-2, step_size=3)


# ---------------------------------------------------------------- schedules


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 16), (3, 6)])
def test_a_schedule_by_text_from_the_training_arguments_drives_the_training(tmp_path, accumulate, steps):
    text = "Linear(0, 0.01, steps=epoch) >> Triangular(0.001, 0.01, step_size=steps // 4)"
    arguments = {"lr_scheduler_kwargs": {"schedule": text}, "gradient_accumulation_steps": accumulate}
    fit = trainer(tmp_path, **arguments)
    use_schedule(fit)
    fit.train()
    schedule = parse(text, epoch=steps // 2, steps=steps)
    assert rates(fit) == pytest.approx([schedule(step) for step in range(steps)])
    assert repr(schedule) == fit.lr_scheduler.state_dict()["schedule"]


def test_a_schedule_as_an_object_and_a_momentum_drive_the_training(tmp_path):
    fit = trainer(tmp_path)
    use_schedule(fit, WAVE, momentum=Opposed(WAVE, 0.85, 0.95))
    fit.train()
    assert rates(fit) == pytest.approx([WAVE(step) for step in range(16)])
    assert fit.optimizer.param_groups[0]["betas"] == (pytest.approx(Opposed(WAVE, 0.85, 0.95)(16)), 0.999)
    fit.train()  # a second training begins at step 0
    assert rates(fit)[16:] == pytest.approx([WAVE(step) for step in range(16)])


def test_a_scheduler_goes_straight_into_the_trainer(tmp_path):
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    fit = trainer(tmp_path, optimizers=(optimizer, cyclr.torch.Scheduler(optimizer, WAVE)))
    fit.model = fit.model_wrapped = network
    fit.train()
    assert rates(fit) == pytest.approx([WAVE(step) for step in range(16)])
    with pytest.raises(ValueError, match="the trainer must not have a scheduler already"):
        use_schedule(fit, WAVE)


def test_a_plan_drives_the_training(tmp_path):
    plan = cyclr.plan(cyclr.Bounds(1e-3, 1e-2), epochs=2, steps_per_epoch=8)
    fit = trainer(tmp_path)
    use_schedule(fit, plan)
    fit.train()
    assert rates(fit) == pytest.approx([plan.schedule(step) for step in range(16)])
    assert fit.lr_scheduler.plan is plan


@pytest.mark.parametrize(
    ("schedule", "momentum", "kind", "words"),
    [
        (0.1, None, TypeError, r"schedule must be a schedule, got 0.1; .*Constant\(0.1\)"),
        (Triangular, None, TypeError, "schedule must be a schedule"),
        ([WAVE, 0.1], None, TypeError, "schedule must be a schedule, got 0.1"),
        (WAVE, 2 * parse("Constant(0.9)"), ValueError, "momentum must stay below 1"),
        (WAVE, "Constant(1.5)", ValueError, "momentum must stay below 1"),
    ],
)
def test_what_cannot_drive_a_training_is_refused_when_it_is_given(tmp_path, schedule, momentum, kind, words):
    with pytest.raises(kind, match=words):
        use_schedule(trainer(tmp_path), schedule, momentum)


def test_an_unknown_name_in_the_training_arguments_is_refused(tmp_path):
    fit = trainer(tmp_path, lr_scheduler_kwargs={"schedule": repr(WAVE), "momentun": repr(WAVE)})
    with pytest.raises(ValueError, match="'momentun'; did you mean 'momentum'"):
        use_schedule(fit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a schedule must be given, got None; pass one, or set TrainingArguments"),
        ("Triangle(1, 2)", "Triangular"),
        ("Triangular(1e-3, 1e-2, step_size=0)", "step_size must be"),
    ],
)
def test_a_schedule_that_is_none_is_an_error_before_the_training(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        use_schedule(trainer(tmp_path), text)


# ---------------------------------------------------------------- another schedule on a checkpoint

OTHER = Triangular(1e-4, 5e-3, step_size=5)


def go_on(fit, folder):
    fit.train(resume_from_checkpoint=str(folder / "checkpoint-16"))
    return rates(fit)


def test_a_checkpoint_of_another_schedule_is_refused_unless_one_of_the_two_is_asked_for(tmp_path):
    fit = trainer(tmp_path, save_strategy="epoch")
    use_schedule(fit, WAVE)
    fit.train()
    for keep, schedule in (("keep_new", OTHER), ("keep_saved", WAVE)):
        other = trainer(tmp_path, num_train_epochs=4)
        use_schedule(other, OTHER, on_mismatch=keep)
        assert go_on(other, tmp_path) == pytest.approx([schedule(step) for step in range(16, 32)])
    other = trainer(tmp_path, num_train_epochs=4)
    use_schedule(other, OTHER)
    with pytest.raises(ValueError, match=r"the saved schedule must be the current one.*the saved step, 16, pass"):
        go_on(other, tmp_path)


@pytest.mark.filterwarnings("ignore:the training has made")
@pytest.mark.parametrize(("keep", "steps"), [("keep_new", 32), ("keep_saved", 16)])
def test_a_longer_training_goes_on_by_a_text_in_the_training_arguments(tmp_path, keep, steps):
    text = "Linear(0.01, 0, steps=steps)"
    fit = trainer(tmp_path, save_strategy="epoch", lr_scheduler_kwargs={"schedule": text})
    use_schedule(fit)
    fit.train()
    longer = {"num_train_epochs": 4, "lr_scheduler_kwargs": {"schedule": text, "on_mismatch": keep}}
    fit = trainer(tmp_path, **longer)
    use_schedule(fit)
    assert go_on(fit, tmp_path) == pytest.approx([parse(text, steps=steps)(step) for step in range(16, 32)])


def cosine(folder):
    return trainer(folder, save_strategy="epoch", lr_scheduler_type="cosine")


def of_the_user(folder):
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    cyclic = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 1e-2, step_size_up=3)
    fit = trainer(folder, save_strategy="epoch", optimizers=(optimizer, cyclic))
    fit.model = fit.model_wrapped = network
    return fit


@pytest.mark.parametrize("before", [cosine, of_the_user, lambda folder: trainer(folder, save_strategy="epoch")])
def test_a_schedule_takes_over_the_checkpoint_of_another_kind_of_scheduler(tmp_path, before):
    before(tmp_path).train()
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9) if before is of_the_user else None
    fit = trainer(tmp_path, num_train_epochs=4, optimizers=(optimizer, None))
    fit.model = fit.model_wrapped = network
    use_schedule(fit, OTHER, on_mismatch="keep_new")
    assert go_on(fit, tmp_path) == pytest.approx([OTHER(step) for step in range(16, 32)])


# ---------------------------------------------------------------- auto

SEARCH = Search(Ramp(1e-4, 3.0, steps=80))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 16),
        ({"num_train_epochs": 3.0}, 24),
        ({"num_train_epochs": 1.5}, 12),
        ({"max_steps": 11}, 11),
        ({"gradient_accumulation_steps": 3}, 6),
    ],
)
def test_auto_plans_the_trainings_own_length_and_changes_nothing_but_the_schedule(tmp_path, capsys, options, steps):
    found = []
    itself = trained(tmp_path, lambda fit: found.append(auto(fit, momentum=(0.85, 0.95), search=SEARCH)), **options)
    (tuned,) = found
    assert f"auto: max_lr {tuned.bounds.max_lr:.3g} by " in capsys.readouterr().err
    assert tuned.plan.steps == steps
    assert itself[2] == pytest.approx([tuned.plan.schedule(step) for step in range(steps)])
    assert itself == trained(tmp_path, lambda fit: use_schedule(fit, tuned.plan, tuned.momentum), **options)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_short_test_evaluates_batches_without_an_update_and_leaves_no_trace(tmp_path, accumulate):
    found, options = [], {"gradient_accumulation_steps": accumulate}
    itself = trained(tmp_path, lambda fit: found.append(auto(fit, search=Search(progress=False))), **options)
    (tuned,) = found
    assert np.ptp(tuned.curve.reference[0, :4]) < 1e-3
    assert itself == trained(tmp_path, lambda fit: use_schedule(fit, tuned.plan), **options)


class Noisy(torch.utils.data.Dataset):
    """Numbers whose noise is so large that losses differ more from batch to batch than they fall."""

    def __len__(self):
        return 2000

    def __getitem__(self, index):
        draw = torch.Generator().manual_seed(index)
        x = torch.randn(8, generator=draw)
        return {"x": x, "labels": x.sum(0, keepdim=True) + 30 * torch.randn(1, generator=draw)}


class Slope(torch.nn.Linear):
    def forward(self, x, labels):
        return {"loss": (super().forward(x) - labels).square().mean()}


def test_reference_batches_answer_where_training_losses_show_nothing(tmp_path):
    torch.manual_seed(0)
    given = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False}
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=2000, per_device_train_batch_size=2, optim="sgd", **given
    )
    fit = transformers.Trainer(Slope(8, 1), arguments, train_dataset=Noisy())
    tuned = auto(fit, search=Search(progress=False))
    assert tuned.curve.reference.size
    assert tuned.curve.tuning_cost <= 300
    assert 1e-4 < tuned.bounds.max_lr < 1  # gradients are clipped
    assert tuned.curve.examples == 2
    assert tuned.curve.plain_sgd


@pytest.mark.parametrize("steps", [400, 2000, 4000])
def test_repeats_share_what_the_training_pays_for(tmp_path, steps):
    tuned = auto(trainer(tmp_path, max_steps=steps), search=Search(repeats=3, progress=False))
    assert tuned.curve.tuning_cost <= 0.15 * steps
    assert len(tuned.curve.losses) == (2 if steps == 400 else 3)


def test_auto_says_what_is_wrong_before_any_step_and_changes_nothing(tmp_path):
    fit = trainer(tmp_path)
    fit.compute_loss = None  # the first step would fail
    before = dict(vars(fit))
    with pytest.raises(TypeError, match=r"search must be a cyclr\.Search, got 3"):
        auto(fit, search=3)
    with pytest.raises(ValueError, match="need at least 40 steps, got 16"):
        auto(fit, goal=Goal(cycles=20))
    with pytest.raises(ValueError, match="on_mismatch must be one of"):
        auto(fit, on_mismatch="ask")
    with pytest.raises(ValueError, match="momentum must stay below 1"):
        auto(fit, momentum=(0.9, 1.0))
    assert vars(fit) == before
    fit = of_the_user(tmp_path)
    with pytest.raises(ValueError, match="the trainer must not have a scheduler already"):
        auto(fit)


def test_auto_without_an_answer_changes_nothing(tmp_path):
    fit = trainer(tmp_path)
    before = dict(vars(fit))
    with pytest.raises(cyclr.Inconclusive):
        auto(fit, search=Search(Ramp(1e-9, 1e-8, steps=80), effort="quick"))
    assert vars(fit) == before


# ---------------------------------------------------------------- the range test


def trained(folder, test, **options):
    """All that a training does, after `test` has been made on its trainer."""
    fit = trainer(folder, **options)
    use_schedule(fit, WAVE)
    test(fit)
    fit.train()
    logs = [
        {key: log[key] for key in ("loss", "learning_rate", "grad_norm") if key in log} for log in fit.state.log_history
    ]
    return logs, [value.tolist() for value in fit.model.state_dict().values()], rates(fit)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_training_after_the_test_is_the_training_without_it(tmp_path, accumulate):
    def test(fit):
        before, files = dict(vars(fit)), list(tmp_path.iterdir())
        accelerator = {name: list(value) for name, value in vars(fit.accelerator).items() if isinstance(value, list)}
        curve = range_test(fit, ramp=RAMP, repeats=2)
        assert curve.losses.shape == (2, 25)
        assert {name for name, value in vars(fit).items() if value is not before[name]} == set()
        assert {name: getattr(fit.accelerator, name) for name in accelerator} == accelerator
        assert list(tmp_path.iterdir()) == files
        assert fit.state.log_history == []

    options = {"gradient_accumulation_steps": accumulate}
    assert trained(tmp_path, test, **options) == trained(tmp_path, lambda _: None, **options)


@pytest.mark.parametrize("ending", [ZeroDivisionError, KeyboardInterrupt])
def test_a_training_after_an_error_or_ctrl_c_in_the_test_is_the_training_without_it(tmp_path, ending):
    def test(fit):
        plain, left = fit.compute_loss, iter(range(7))

        def ends(*arguments, **options):
            if next(left) == 6:
                os.kill(os.getpid(), signal.SIGINT) if ending is KeyboardInterrupt else 1 / 0
            return plain(*arguments, **options)

        fit.compute_loss = ends
        with pytest.raises(ending):
            range_test(fit, ramp=RAMP)
        del fit.compute_loss

    assert trained(tmp_path, test) == trained(tmp_path, lambda _: None)


def test_the_losses_are_those_of_a_plain_loop(tmp_path):
    fit = trainer(tmp_path, train_sampling_strategy="sequential", max_grad_norm=0.5)
    fit.model.eval()  # the Trainer puts it into training mode; without dropout both see the same
    for module in fit.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    curve = range_test(fit, ramp=RAMP)
    assert not fit.model.training
    data = fit.train_dataset
    batches = [fit.data_collator([data[index] for index in range(start, start + 4)]) for start in range(0, 32, 4)]
    optimizer = torch.optim.AdamW(fit.model.parameters(), lr=1.0, weight_decay=0.0)

    def loss(network, batch):  # the Trainer tells the model by how many targets to divide
        return network(**batch, num_items_in_batch=(batch["labels"] != -100).sum()).loss

    same = cyclr.torch.range_test(fit.model, optimizer, batches, loss, ramp=RAMP, update=Update(clip_norm=0.5))
    assert curve.stops == same.stops
    assert curve.losses == pytest.approx(same.losses, rel=1e-3, nan_ok=True)


def test_a_subclass_computes_the_loss_its_own_way(tmp_path):
    class Doubled(transformers.Trainer):
        def compute_loss(self, *arguments, **options):
            return 2 * super().compute_loss(*arguments, **options)

    one, two = (range_test(trainer(tmp_path, kind), ramp=RAMP) for kind in (transformers.Trainer, Doubled))
    assert two.losses[0, 0] == pytest.approx(2 * one.losses[0, 0])


def test_two_processes_get_one_curve_and_step_the_schedule_once_an_update(tmp_path):
    forked.ranks("-m", "tests.adapters.language", tmp_path, needs=forked.TRAINER)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one["losses"] == two["losses"]
    assert one["weights"] == two["weights"]
    assert one["rates"] == two["rates"] == pytest.approx(np.linspace(0.001, 0.01, 17)[:16])


def test_what_the_trainer_settles_and_wrong_kinds_are_refused(tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'update'"):
        range_test(trainer(tmp_path), update=Update(clip_norm=1.0))
    with pytest.raises(TypeError, match=r"trainer must be a transformers.Trainer, got 3"):
        range_test(3)


def test_the_cycles_of_a_thorough_test_have_one_start_and_the_same_batches(tmp_path):
    curve = range_test(trainer(tmp_path), effort="thorough", budget=2000, ramp=Ramp(1e-4, 3.0, steps=80))
    assert len(curve.peaks) >= 3
    assert len(set(curve.probes[:, 0])) == 1  # of the first batch, before anything was learnt
