"""A graph network that sees the whole graph at each step; its training function is given the number of the epoch."""

import torch
from torch import nn
from torch.nn import functional

from cyclr.torch import auto  # added

torch.manual_seed(0)
nodes, classes, epochs = 120, 3, 200
labels = torch.arange(nodes) % classes
linked = torch.rand(nodes, nodes) < torch.where(labels[:, None] == labels, 0.15, 0.03)
adj = (linked | linked.T | torch.eye(nodes, dtype=torch.bool)).float()
adj = adj / adj.sum(1, keepdim=True)
features = functional.one_hot(labels, classes) + 1.5 * torch.randn(nodes, classes)
idx_train, idx_val = torch.arange(0, 40), torch.arange(40, nodes)


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(classes, 16), nn.Linear(16, classes)

    def forward(self, x, adj):
        x = functional.dropout(functional.relu(self.first(adj @ x)), 0.5, training=self.training)
        return functional.log_softmax(self.second(adj @ x), dim=1)


model = GCN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
seen = {}


def train(epoch):
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = functional.nll_loss(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()

    model.eval()
    accuracy = (model(features, adj)[idx_val].argmax(1) == labels[idx_val]).float().mean()
    if epoch % 20 == 0:
        seen[epoch] = accuracy.item()
    return loss_train  # added


scheduler = auto(model, optimizer, update=train, steps=epochs)  # added
for epoch in range(epochs):
    train(epoch)
    scheduler.step()  # added

models, optimizers = [model], [optimizer]
