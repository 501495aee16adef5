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
# # Range tests that go wrong
#
# A range test (LR range test, LR finder) answers with bounds, or it is `Inconclusive` and says why.
# Here is each kind with its picture and what to do. The pictures are made by the runs on this page.

# %%
import textwrap

import matplotlib.pyplot as plt
import torch

import cyclr
from cyclr.plot import plot_curve
from cyclr.torch import range_test

x = torch.randn(2000, 20, generator=torch.Generator().manual_seed(0))
y = (x.sum(1) + torch.randn(2000, generator=torch.Generator().manual_seed(1)) > 0).long()
loss_fn = torch.nn.functional.cross_entropy


def made(labels=y, batch_size=50, shuffle=True):
    """A new network with its optimizer and a loader."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = torch.utils.data.TensorDataset(x, labels)
    return model, optimizer, torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=shuffle)


def show(curve):
    """The picture of a curve, with its bounds or with the reason why there are none."""
    fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
    try:
        bounds = curve.bounds()
    except cyclr.Inconclusive as reason:
        plot_curve(curve, ax=ax)
        print(textwrap.fill(f"Inconclusive: {reason}", 88))
    else:
        plot_curve(curve, bounds, ax)
        print(f"base_lr {bounds.base_lr:.2g}, max_lr {bounds.max_lr:.2g} (interval {bounds.max_interval})")


# %% [markdown]
# ## How it should look
#
# The loss is flat, falls, and rises steeply. The bounds are between the fall and the rise.

# %%
show(range_test(*made(), loss_fn))

# %% [markdown]
# ## Flat: the rates were too low
#
# **Seen**: noise around the first loss. **Do**: go higher. The default ramp ends at 10; a ramp of your own should end where the loss breaks down.

# %%
show(range_test(*made(), loss_fn, ramp=cyclr.Ramp(1e-7, 1e-4)))

# %% [markdown]
# ## Flat: there is nothing to learn
#
# **Seen**: the loss never falls, and rises in the end. Here the labels are random.
# **Do**: check labels, loss function and whether the optimizer has the parameters of this model; overfit one batch.

# %%
nonsense = torch.randint(2, (2000,), generator=torch.Generator().manual_seed(2))
show(range_test(*made(nonsense), loss_fn))

# %% [markdown]
# ## Still falling at the end
#
# **Seen**: the lowest loss is at the highest rate, so the upper bound is beyond it. **Do**: a ramp that goes higher.

# %%
show(range_test(*made(), loss_fn, ramp=cyclr.Ramp(1e-5, 0.02)))

# %% [markdown]
# ## Started too high
#
# **Seen**: the loss breaks down at once; nothing is left to read. **Do**: start lower.

# %%
show(range_test(*made(), loss_fn, ramp=cyclr.Ramp(2.0, 100.0)))

# %% [markdown]
# ## Too few steps
#
# **Seen**: a handful of points. **Do**: more steps; 300 are the default, and below 100 the noise decides.

# %%
show(range_test(*made(), loss_fn, ramp=cyclr.Ramp(1e-5, 10, steps=11)))

# %% [markdown]
# ## Noise
#
# **Seen**: the losses of single batches differ by more than the whole fall. Here a batch is one example.
# **Do**: larger batches; more steps; `repeats=3`, which averages several sweeps. With more steps the same network gives an answer:

# %%
noisy = made(batch_size=1)
show(range_test(*noisy, loss_fn, ramp=cyclr.Ramp(1e-6, 10, steps=60)))

# %%
show(range_test(*noisy, loss_fn, ramp=cyclr.Ramp(1e-6, 10, steps=900)))

# %% [markdown]
# ## Data in a fixed order
#
# **Seen**: the loss falls at rates that can change nothing, because later data are easier. Here the first half of the labels is wrong more often.
# The test repeats its batches at a rate of zero; if the rates explain too little of the fall, it says so. **Do**: shuffle.

# %%
order = torch.where(torch.arange(2000) < 1000, 1 - (x.sum(1) > 0).long(), (x.sum(1) > 0).long())
trained, optimizer, _ = made()
with torch.no_grad():
    trained[0].weight.copy_(torch.ones(32, 20) / 20)
    trained[2].weight.copy_(torch.stack([-torch.ones(32), torch.ones(32)]) / 32)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, order), batch_size=20)
show(range_test(trained, optimizer, loader, loss_fn, ramp=cyclr.Ramp(1e-9, 1e-7, steps=100)))

# %% [markdown]
# ## A bad batch
#
# **Seen**: hardly anything, a gap of one step in the grey line. A batch without a valid target gives a loss that is not finite.
# A single one is passed over, and the bounds name its step (here the batch comes once in each pass); two in a row are taken for the end of the sweep.
# **Do**: nothing for the test; look for that batch.

# %%
spoilt = y.clone()
spoilt[:50] = -100  # what cross_entropy ignores: the mean of none is nan
model, optimizer, _ = made()
data = torch.utils.data.TensorDataset(x, spoilt)
batches = [range(first, first + 50) for first in (*range(50, 1000, 50), 0, *range(1000, 2000, 50))]
loader = torch.utils.data.DataLoader(data, batch_sampler=batches)
curve = range_test(model, optimizer, loader, loss_fn, ramp=cyclr.Ramp(1e-5, 10, steps=300))
show(curve)
print("passed over:", curve.passed_over)

# %% [markdown]
# ## The network is trained already
#
# **Seen**: the loss starts low and only rises. **Do**: [fine-tuning](../howto/fine-tuning.md) has what is left; a range test is for the start of a training.

# %%
model, optimizer, loader = made()
for _ in range(8):
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss_fn(model(inputs), targets).backward()
        optimizer.step()
show(range_test(model, optimizer, loader, loss_fn))

# %% [markdown]
# ## In a program
#
# `Inconclusive` is a `ValueError` that carries the curve: save it, look at it, or go on with a rate that you know.

# %%
try:
    bounds = range_test(*made(nonsense), loss_fn).bounds()
except cyclr.Inconclusive as reason:
    reason.curve.save("curve.json")  # `cyclr report curve.json` shows it
    bounds = cyclr.Bounds(0.001, 0.01)

# %% [markdown]
# A thorough test (`effort="thorough"`) repeats an inconclusive sweep three times slower by itself, before it gives up.
# [How bounds are estimated](../bounds.md) has the thresholds behind these answers.
