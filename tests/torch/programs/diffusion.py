"""A denoising diffusion model of points on two half moons; the batch is a list of one, the loss draws its own noise."""

import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from cyclr.torch import auto  # added

torch.manual_seed(0)
timesteps, epochs = 50, 6
angle, upper = math.pi * torch.rand(1024), torch.arange(1024) % 2
x = torch.stack([angle.cos() + upper, (1 - 2 * upper) * angle.sin()], 1) + 0.05 * torch.randn(1024, 2)
dataloader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)
kept = torch.cumprod(1 - torch.linspace(1e-4, 0.1, timesteps), 0)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Embedding(timesteps, 32)
        self.body = nn.Sequential(nn.Linear(34, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 2))

    def forward(self, x, t):
        return self.body(torch.cat([x, self.time(t)], 1))


def p_losses(denoise_model, x_start):
    t = torch.randint(0, timesteps, (len(x_start),))
    noise = torch.randn_like(x_start)
    share = kept[t, None]
    return functional.mse_loss(denoise_model(share.sqrt() * x_start + (1 - share).sqrt() * noise, t), noise)


model = MLP()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
scheduler = auto(model, optimizer, dataloader, lambda model, batch: p_losses(model, batch[0]), epochs=epochs)  # added
for _ in range(epochs):
    model.train()
    for batch in dataloader:
        optimizer.zero_grad()
        loss = p_losses(model, batch[0])
        loss.backward()
        optimizer.step()
        scheduler.step()  # added

models, optimizers = [model], [optimizer]
