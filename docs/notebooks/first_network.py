# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # From nothing to a trained network
#
# A range test (LR finder), bounds, a plan, and a training by it, on real data: Fashion-MNIST in 14x14 pixels, which comes with the package.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import cyclr
from cyclr.plot import plot_curve, plot_plan
from cyclr.tasks import fashion

task = fashion.small(seed=0)
task.model

# %% [markdown]
# A task is a model, an optimizer, a loss function and loaders; your own are as good. Some of the pictures:

# %%
images, labels = next(iter(task.train_loader))
fig, axes = plt.subplots(1, 8, figsize=(9, 1.4), layout="constrained")
for ax, image in zip(axes, images, strict=False):
    ax.imshow(np.asarray(image).reshape(14, 14), cmap="gray_r")
    ax.axis("off")

# %% [markdown]
# ## 1. The range test
#
# The network is trained while the learning rate rises from 1e-6 to 10; then everything is restored.

# %%
before = [parameter.clone() for parameter in task.model.parameters()]
curve = cyclr.torch.range_test(task.model, task.optimizer, task.train_loader, task.loss_fn)
assert all(torch.equal(old, new) for old, new in zip(before, task.model.parameters(), strict=True))

# %% [markdown]
# ## 2. The bounds
#
# The dashed lines are the bounds, and the bands their intervals: where one more test would put them.

# %%
bounds = curve.bounds()
fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
plot_curve(curve, bounds, ax)
print(*bounds.evidence, sep="\n")

# %% [markdown]
# ## 3. The plan
#
# Six epochs are the budget. The plan is one cycle that ends at zero, and it gives its reasons.

# %%
epochs = 6
plan = cyclr.plan(bounds, epochs=epochs, steps_per_epoch=len(task.train_loader))
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
plot_plan(plan, ax)
print(*plan.reasons, sep="\n")

# %% [markdown]
# ## 4. The training
#
# `scheduler.step()` comes after each step of the optimizer, not once an epoch.

# %%
scheduler = cyclr.torch.Scheduler(task.optimizer, plan)
accuracies = []
for epoch in range(epochs):
    for inputs, targets in task.train_loader:
        task.optimizer.zero_grad()
        task.loss_fn(task.model(inputs), targets).backward()
        task.optimizer.step()
        scheduler.step()
    with torch.no_grad():
        right = [(task.model(inputs).argmax(1) == targets).float() for inputs, targets in task.test_loader]
    accuracies.append(torch.cat(right).mean().item())
    print(f"epoch {epoch + 1}: test accuracy {accuracies[-1]:.3f} at a rate of {scheduler.get_last_lr()[0]:.4f}")
assert accuracies[-1] > 0.8

# %% [markdown]
# Most of the gain comes while the rate falls; that is why a training should not be stopped before its plan ends.
#
# `cyclr.torch.auto` is all four steps in one line. Next: [which schedule for you](../choosing.md), and
# [a fair comparison](fair_comparison.py) of this one with others.
