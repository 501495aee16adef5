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
# # Gallery of schedules
#
# A picture of every schedule and of every policy. They are drawn while this page is built, by the code that you see.

# %%
import textwrap

import matplotlib.pyplot as plt

import cyclr
from cyclr.plot import plot_schedule


def show(texts, steps=1200, **names):
    """One picture for each text of a schedule, three in a row."""
    rows = -(-len(texts) // 3)
    fig, axes = plt.subplots(rows, 3, figsize=(10, 2.5 * rows), layout="constrained", squeeze=False)
    for ax, text in zip(axes.flat, texts, strict=False):
        schedule = cyclr.parse(text, **names)
        plot_schedule(schedule, ax, steps=steps)
        ax.set_title(textwrap.fill(text, 38), fontsize=9)
        ax.set(xlabel="", ylabel="")
    for ax in list(axes.flat)[len(texts) :]:
        ax.axis("off")


# %% [markdown]
# ## Cycles

# %%
show(
    [
        "Triangular(0.001, 0.006, step_size=200)",
        "Triangular(0.001, 0.006, step_size=100, step_size_down=300)",
        "Triangular(0.0001, 0.006, step_size=200, scale='log')",
        "Triangular2(0.001, 0.006, step_size=200)",
        "ExpRange(0.001, 0.006, step_size=200, gamma=0.9985)",
        "ExpRange(0.001, 0.006, step_size=200, gamma=0.9985, decay='bounds')",
        "Hann(0.001, 0.006, step_size=200)",
        "Welch(0.001, 0.006, step_size=200)",
        "WarmRestarts(0, 0.006, period=400)",
        "WarmRestarts(0, 0.006, period=172, growth=2)",
    ]
)

# %% [markdown]
# ## One cycle, warm-up, decay

# %%
show(
    [
        "one_cycle(0.1, steps=1200)",
        "one_cycle(0.1, steps=1200, shape='linear', rise=0.45, tail=0.1)",
        "slanted_triangular(0.1, steps=1200)",
        "wsd(0.1, steps=1200)",
        "step_decay(0.1, milestones=(600, 900))",
        "warm_up(Cosine(0.1, 0, steps=1100), steps=100)",
        "Linear(0.1, 0, steps=1200)",
        "Cosine(0.1, 0, steps=1200)",
        "Exponential(0.1, 0.001, steps=1200)",
        "Power(0.1, 0, steps=1200, power=2)",
        "Rex(0.1, 0, steps=1200)",
        "Sqrt(0.1, 0, steps=1200)",
        "InverseSqrt(0.1, timescale=100)",
        "Constant(0.1)",
    ]
)

# %% [markdown]
# ## Combinations

# %%
show(
    [
        "Linear(0, 0.01, steps=100) >> Triangular2(0.001, 0.01, step_size=150)",
        "Triangular(0.001, 0.006, step_size=150).take(600) >> Linear(0.001, 0, steps=600)",
        "0.1 * one_cycle(0.1, steps=1200)",
        "Cosine(0.1, 0, steps=300).repeat(4)",
        "Opposed(Triangular(0.001, 0.006, step_size=200), 0.85, 0.95)",
    ]
)

# %% [markdown]
# ## Policies
#
# What `cyclr compare` trains with: the same bounds, the same peak, the same 1,200 steps (12 epochs of 100).

# %%
bounds = cyclr.Bounds(0.001, 0.004)
names = ["auto", "fixed", "step", "exp", "linear", "cosine", "rex", "wsd", "one_cycle", "triangular", "triangular2"]
names += ["exp_range", "warm_restarts"]
fig, axes = plt.subplots(5, 3, figsize=(10, 11), layout="constrained")
for ax, name in zip(axes.flat, names, strict=False):
    plot_schedule(cyclr.policy(name, bounds, steps=1200, steps_per_epoch=100), ax, epoch=100)
    ax.set(title=name, xlabel="", ylabel="", ylim=(0, 0.0042))
for ax in axes.flat[len(names) :]:
    ax.axis("off")
