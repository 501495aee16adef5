"""A GAN on a ring of eight blobs: two networks, two optimizers, one function that trains both on a batch."""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr.torch import auto  # added

torch.manual_seed(0)
nz, epochs, lr, beta1 = 4, 4, 2e-4, 0.5
angle = 2 * math.pi / 8 * torch.randint(8, (2048,))
points = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(2048, 2)
loader = DataLoader(TensorDataset(points), batch_size=64, shuffle=True)

generator = nn.Sequential(nn.Linear(nz, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2))
critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
g_optimizer = torch.optim.Adam(generator.parameters(), lr=lr, betas=(beta1, 0.999))
d_optimizer = torch.optim.Adam(critic.parameters(), lr=2 * lr, betas=(beta1, 0.999))
criterion = nn.BCEWithLogitsLoss()


def train_batch(batch):
    (real,) = batch
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

    # discriminator: tell real points from generated ones
    d_optimizer.zero_grad()
    fake = generator(torch.randn(len(real), nz))
    loss_d = criterion(critic(real), ones) + criterion(critic(fake.detach()), zeros)
    loss_d.backward()
    d_optimizer.step()

    # generator: make the discriminator take generated points for real ones
    g_optimizer.zero_grad()
    loss_g = criterion(critic(fake), ones)
    loss_g.backward()
    g_optimizer.step()
    return loss_d  # was: return loss_d.item(), loss_g.item()


scheduler = auto([generator, critic], [g_optimizer, d_optimizer], loader, update=train_batch, epochs=epochs)  # added
for _ in range(epochs):
    for batch in loader:
        train_batch(batch)
        scheduler.step()  # added

models, optimizers = [generator, critic], [g_optimizer, d_optimizer]
