"""The smallest language model, some text, and a Trainer for it. Run as a program: two processes of a DDP training."""

import json
import sys
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from cyclr import Ramp

QUIET = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "use_cpu": True, "dataloader_pin_memory": False}


class Text(torch.utils.data.Dataset):
    """Sequences of which the next sign can be told, the last of them half as long."""

    def __len__(self):
        return 32

    def __getitem__(self, index):
        signs = (torch.arange(8) * (index % 3 + 1) + index) % 16
        return {"input_ids": signs, "labels": signs.masked_fill(torch.arange(8) >= 4 + index % 5, -100)}


class Rates(TrainerCallback):
    """Notes the rates that the optimizer uses."""

    def __init__(self):
        self.rates = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
        self.rates.append(optimizer.param_groups[0]["lr"])


def model():
    set_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def trainer(folder, kind=Trainer, **options):
    optimizers = options.pop("optimizers", (None, None))
    given = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 1e-2, "logging_steps": 1}
    arguments = TrainingArguments(str(folder), **QUIET | given | options)
    return kind(model(), arguments, train_dataset=Text(), optimizers=optimizers, callbacks=[Rates()])


def rates(fit):
    return next(one for one in fit.callback_handler.callbacks if isinstance(one, Rates)).rates


def main(folder):
    """In each of two processes: a range test, then a training under a schedule by text."""
    from cyclr.transformers import range_test, use_schedule

    torch.set_num_threads(1)
    # Two sequences in each process are the four of one process; every sequence counts alike.
    fit = trainer(folder, per_device_train_batch_size=2, train_sampling_strategy="sequential")
    use_schedule(fit, "Linear(0.001, 0.01, steps=steps)")
    curve = range_test(fit, repeats=2, ramp=Ramp(low=1e-4, high=0.1, steps=10))
    fit.train()
    weights = torch.cat([value.flatten() for value in fit.model.state_dict().values()]).tolist()
    result = {"losses": curve.losses.tolist(), "rates": rates(fit), "weights": weights}
    Path(folder, f"{fit.args.process_index}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
