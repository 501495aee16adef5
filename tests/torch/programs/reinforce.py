"""A policy gradient on a corridor: no loader, an episode is a step; the model keeps what it did in lists of its own."""

import torch
from torch import nn
from torch.distributions import Categorical

from cyclr.torch import auto  # added

torch.manual_seed(0)
length, episodes, gamma = 6, 100, 0.95


class Corridor:
    """Many corridors at once: 1 goes right, 0 left; being at the right end is worth 1 a step."""

    def reset(self):
        self.place = torch.zeros(64, dtype=torch.long)
        return self.place

    def step(self, action):
        self.place = (self.place + 2 * action - 1).clamp(0, length - 1)
        return self.place, (self.place == length - 1).float()


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Embedding(length, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
        self.saved_log_probs, self.rewards = [], []

    def forward(self, state):
        return Categorical(logits=self.body(state))


env, policy = Corridor(), Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)


def run_episode():
    state = env.reset()
    for _ in range(2 * length):
        chances = policy(state)
        action = chances.sample()
        policy.saved_log_probs.append(chances.log_prob(action))
        state, reward = env.step(action)
        policy.rewards.append(reward)
    returns, value = [], torch.zeros(64)
    for reward in reversed(policy.rewards):
        value = reward + gamma * value
        returns.insert(0, value)
    advantage = torch.stack(returns)
    advantage = advantage - advantage.mean(1, keepdim=True)
    optimizer.zero_grad()
    loss = -(torch.stack(policy.saved_log_probs) * advantage).mean()
    loss.backward()
    optimizer.step()
    del policy.rewards[:], policy.saved_log_probs[:]
    return loss  # was: return loss.item()


scheduler = auto(policy, optimizer, update=run_episode, steps=episodes)  # added
for _ in range(episodes):
    run_episode()
    scheduler.step()  # added

models, optimizers = [policy], [optimizer]
