"""A schedule in Hugging Face's Trainer, and the range test by the Trainer's own steps."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")
import cyclr.torch  # noqa: E402 - needs the three above
from cyclr import Opposed, Ramp, Triangular, parse  # noqa: E402
from cyclr.torch import Update  # noqa: E402
from cyclr.transformers import range_test, use_schedule  # noqa: E402
from tests.adapters.language import model, rates, trainer  # noqa: E402

ROOT = Path(__file__).parents[2]
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


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path):
    fit = trainer(tmp_path, save_strategy="epoch")
    use_schedule(fit, WAVE)
    fit.train()
    other = trainer(tmp_path)
    use_schedule(other, 2 * WAVE)
    with pytest.raises(ValueError, match="the saved schedule must be the one that is driven now"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


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
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "tests.adapters.language", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
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
    curve = range_test(trainer(tmp_path), effort="thorough", ramp=Ramp(low=1e-4, high=3.0, steps=80))
    assert len(curve.peaks) >= 3
    assert len(set(curve.probes[:, 0])) == 1  # of the first batch, before anything was learnt
