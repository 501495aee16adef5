"""Run in each of two processes: the rates that Accelerate's ways to share batches make of a scheduler, as JSON."""

import json
import sys
import warnings
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration

import cyclr.torch
from cyclr import Bounds, Linear, plan

SCHEDULE = Linear(0.0, 1.0, steps=100)  # the rate in hundredths is the step


def used(*, prepared, accumulate=1, schedule=SCHEDULE, epochs=1, **sharing):
    """The step of the schedule at each update of epochs of 16 examples."""
    AcceleratorState._reset_state()
    GradientState._reset_state()
    config = DataLoaderConfiguration(**sharing)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate, dataloader_config=config)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(16, 1)), batch_size=2)
    scheduler = cyclr.torch.Scheduler(optimizer, schedule)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if prepared:
        scheduler = accelerator.prepare(scheduler)
    steps = []
    for (x,) in (batch for _ in range(epochs) for batch in loader):
        with accelerator.accumulate(model):
            accelerator.backward(model(x).mean())
            if accelerator.sync_gradients:
                steps.append(round(100 * optimizer.param_groups[0]["lr"]))
            optimizer.step()
            if prepared or accelerator.sync_gradients:
                scheduler.step()
            optimizer.zero_grad()
    return steps


def main(folder):
    torch.set_num_threads(1)
    found = {
        f"{'prepared' if prepared else 'own'} {sharing} {accumulate}": used(
            prepared=prepared,
            accumulate=accumulate,
            split_batches="split" in sharing,
            dispatch_batches="dispatch" in sharing,
        )
        for prepared in (True, False)
        for sharing in ("shard", "split", "dispatch", "split dispatch")
        for accumulate in (1, 2)
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        used(prepared=True, schedule=plan(Bounds(0.1, 1.0), steps=100), epochs=6)
    found["told"] = [str(one.message) for one in caught if "scheduler.step()" in str(one.message)]
    Path(folder, f"{Accelerator().process_index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
