"""A small LightningModule that notes what happens to it."""

import lightning as L
import torch

from cyclr import Opposed, Triangular
from cyclr.torch import Scheduler

WAVE = Triangular(1e-3, 1e-2, step_size=7)
MOMENTUM = Opposed(WAVE, 0.85, 0.95)
BATCHES = 10
NOISE = [
    r".*does not have many workers.*",
    r".*is smaller than the logging interval.*",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated.*",
]
"""What Lightning says about trainings as small as these, and a deprecation of torch's that it has not met yet."""


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(0.1))
        self.norm, self.head = torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
        self.rates, self.losses = [], []

    def loss(self, batch):
        return torch.nn.functional.mse_loss(self.head(self.norm(self.net(batch[0]))), batch[1])

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train", loss, on_step=True, on_epoch=True)
        self.losses.append(loss.item())
        return loss

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        group = optimizer.param_groups[0]
        self.rates.append((group["lr"], group["momentum"]))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)
        scheduler = Scheduler(optimizer, WAVE, momentum=MOMENTUM)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def data():
    x = torch.randn(8 * BATCHES, 4, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))


def loader(**options):
    return torch.utils.data.DataLoader(data(), batch_size=8, **{"shuffle": True} | options)


def trainer(**options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**quiet | {"accelerator": "cpu", "devices": 1, "enable_model_summary": False} | options)
