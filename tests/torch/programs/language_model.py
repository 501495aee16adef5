"""A character model with a loop of its own, a sampler without end, and a model that returns (logits, loss)."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler

from cyclr.torch import Update, auto, own_loss  # added

torch.manual_seed(0)
block, max_iters, grad_norm_clip = 8, 150, 1.0
text = "the quick brown fox jumps over the lazy dog. " * 40
letters = sorted(set(text))


class CharDataset(Dataset):
    def __init__(self):
        self.codes = torch.tensor([letters.index(letter) for letter in text])

    def __len__(self):
        return len(self.codes) - block

    def __getitem__(self, i):
        return self.codes[i : i + block], self.codes[i + 1 : i + block + 1]


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(len(letters), 32), nn.Embedding(block, 32)
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(32, len(letters))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(block))

    def forward(self, idx, targets=None):
        x = self.tokens(idx) + self.places.weight
        logits = self.head(self.layer(x, src_mask=self.mask))
        loss = None
        if targets is not None:
            loss = functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        return logits, loss


dataset = CharDataset()
sampler = RandomSampler(dataset, replacement=True, num_samples=int(1e10))
train_loader = DataLoader(dataset, sampler=sampler, batch_size=32)
model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95))

clipped = Update(clip_norm=grad_norm_clip)  # added
scheduler = auto(model, optimizer, train_loader, own_loss, steps=max_iters, update=clipped)  # added
data_iter = iter(train_loader)
for _ in range(max_iters):
    x, y = next(data_iter)
    logits, loss = model(x, y)
    model.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_norm_clip)
    optimizer.step()
    scheduler.step()  # added

models, optimizers = [model], [optimizer]
