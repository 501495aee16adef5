"""Started by a test: a range test and a training by DDP in two processes. Lightning starts the second one itself."""

import json
import os
import warnings
from pathlib import Path

import torch
from torch.utils.data import DistributedSampler

from cyclr import Ramp
from cyclr.lightning import range_test
from tests.adapters.lightning_net import NOISE, Net, data, trainer

for message in NOISE:
    warnings.filterwarnings("ignore", message=message)


class Plain(Net):
    """Without what a batch's other half could change."""

    def loss(self, batch):
        return torch.nn.functional.mse_loss(self.head(self.net[:2](batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD([*self.net.parameters(), *self.head.parameters()], lr=1e-3, momentum=0.9)

    def train_dataloader(self):
        """Each process takes a part of each batch; together they take the batch of the one process."""
        number = self.trainer.world_size
        sampler = DistributedSampler(data(), number, self.trainer.global_rank, shuffle=False)
        return torch.utils.data.DataLoader(data(), batch_size=8 // number, sampler=sampler)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ramp = {"ramp": Ramp(1e-4, 0.1, steps=15), "repeats": 2}
    net = Plain()
    net.norm = torch.nn.Identity()
    alone = range_test(trainer(), net, **ramp)
    fit = trainer(devices=2, strategy="ddp", use_distributed_sampler=False, max_epochs=2)
    curve = range_test(fit, net, **ramp)
    fit.fit(net)
    weights = torch.cat([value.flatten() for value in net.state_dict().values()]).tolist()
    result = {"losses": curve.losses[0].tolist(), "alone": alone.losses[0].tolist(), "weights": weights}
    result["steps"] = fit.global_step
    Path(os.environ["OUT"], f"{fit.global_rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
