"""A small U-Net that finds squares in noise, with the sum of two losses; its plateau scheduler is replaced."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from cyclr.torch import Update, auto  # added

torch.manual_seed(0)
epochs, clip = 5, 1.0
masks = torch.zeros(160, 1, 16, 16)
for mask, (row, column) in zip(masks, torch.randint(0, 10, (160, 2)).tolist(), strict=True):
    mask[:, row : row + 6, column : column + 6] = 1
loader = DataLoader(TensorDataset(masks + 0.5 * torch.randn_like(masks), masks), batch_size=16, shuffle=True)


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.middle, self.up = block(1, 8), block(8, 16), block(24, 8)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        skip = self.down(x)
        x = functional.interpolate(self.middle(functional.max_pool2d(skip, 2)), scale_factor=2)
        return self.head(self.up(torch.cat([skip, x], 1)))


def criterion(logits, target):
    shown = torch.sigmoid(logits)
    dice = 1 - (2 * (shown * target).sum() + 1) / (shown.sum() + target.sum() + 1)
    return functional.binary_cross_entropy_with_logits(logits, target) + dice


model = UNet()
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.9)
scheduler = auto(model, optimizer, loader, criterion, epochs=epochs, update=Update(clip_norm=clip))  # added
for _ in range(epochs):
    total = 0.0
    for images, targets in loader:
        loss = criterion(model(images), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        scheduler.step()  # added
        total += loss.item()

models, optimizers = [model], [optimizer]
