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
# # A fair comparison
#
# Is one cycle better than a constant rate, or than plain decay? One run each would not say: another seed changes the result by as much.
# A study trains every policy with the same seeds and the same budget, and answers with intervals.

# %%
import logging

import matplotlib.pyplot as plt

import cyclr
from cyclr.plot import plot_differences, plot_runs

logging.getLogger("cyclr").setLevel(logging.ERROR)

# %% [markdown]
# The task is a built-in one (Fashion-MNIST, 14x14, a network of one hidden layer); `"my_task.py:task"` names your own.
# `rates="found"` gives every policy the peak that the range test found; the default tunes the peak of each rival, which is fairer to them and takes five more trainings for each.

# %%
study = cyclr.study.compare(
    "fashion",
    policies="auto,fixed,linear,triangular",
    seeds=4,
    epochs=4,
    rates="found",
    out="study",
    engine=cyclr.study.Engine(workers=2),
)

# %% [markdown]
# ## What came out
#
# Differences are paired by seed, and their intervals are widened for the number of comparisons: an interval that contains zero is no finding.

# %%
for row in cyclr.study.summarize(study, baseline="linear"):
    final, gap = row.final, row.difference
    against = (
        "the baseline" if gap is None else f"{gap.mean:+.2%} [{gap.low:+.2%}, {gap.high:+.2%}], p {row.corrected:.2f}"
    )
    print(f"{row.policy:11} {final.mean:.1%} [{final.low:.1%}, {final.high:.1%}]  {against}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for plot, ax in ((plot_runs, left), (plot_differences, right)):
    plot(study, ax)

# %% [markdown]
# ## How to read it
#
# - **Against `fixed`** (the right picture): what annealing gives. A constant rate ends somewhere in its own noise, so its runs differ more from one another, and its interval is wide.
# - **Against `linear`** (the list above): what the cycle itself gives, because both have the same peak and end at zero.
# - **During the training** the order is another one than at the end: look where your budget ends before you choose.
# - **"No significant difference" is not "the same"**: four seeds and four epochs are for a page that builds in seconds. [The demo](../demo.md) has ten seeds.
#
# Interrupted? The same call goes on where it stopped. `cyclr report study` makes [a page](../report.md) of it that can be mailed;
# [comparing policies](../compare.md) describes what is held equal, and [how differences are tested](../statistics.md) the test.
