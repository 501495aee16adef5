"""Probe cycles after the ramp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cyclr import Curve, Inconclusive, Ramp
from cyclr.torch import range_test


def task(seed=0, **how):
    torch.manual_seed(seed)
    x = torch.randn(512, 10)
    y = (x @ torch.randn(10, 3)).argmax(1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), loader, nn.functional.cross_entropy


def test_a_thorough_test_adds_cycles_around_the_upper_bound():
    quick = range_test(*task())
    thorough = range_test(*task(), effort="thorough")
    assert np.array_equal(quick.losses, thorough.losses, equal_nan=True)
    assert np.isclose(thorough.peaks, quick.bounds().max_lr).any()
    assert 3 <= len(thorough.peaks) <= 5
    assert thorough.probes.shape == (len(thorough.peaks), 180)
    assert np.isfinite(thorough.probes[0]).all()
    assert thorough.tuning_cost > quick.tuning_cost
    assert "probe" in thorough.bounds().evidence[1]


def test_everything_is_back_after_the_probes():
    model, optimizer, loader, loss_fn = task()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    range_test(model, optimizer, loader, loss_fn, effort="thorough")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not optimizer.state


def test_the_cycles_differ_by_their_peaks_alone():
    model, optimizer, loader, loss_fn = task()
    seen = []

    def noted(out, y):
        seen.append((float(torch.rand(())), *y.tolist()))
        return loss_fn(out, y)

    curve = range_test(model, optimizer, loader, noted, effort="thorough", ramp=Ramp(steps=60))
    cycles = [seen[-180 * (place + 1) :][:180] for place in range(len(curve.peaks))]
    assert len(curve.peaks) >= 3
    assert all(one == cycles[0] for one in cycles)
    assert len({one[0] for one in cycles[0]}) == 180  # the randomness goes on within a cycle


def test_each_probe_starts_from_the_same_weights_and_ends_with_the_first_loss_that_is_no_number():
    model, optimizer, _, _ = task()
    x, y = torch.randn(8, 10), torch.zeros(8, dtype=torch.long)

    towards_one = lambda out, _: nn.functional.mse_loss(out, torch.ones(8, 3))
    curve = range_test(model, optimizer, [(x, y)], towards_one, effort="thorough")
    assert len(set(curve.probes[:, 0].tolist())) == 1
    bad = np.isnan(curve.probes).any(axis=1)
    for row in curve.probes[bad]:
        first = int(np.argmax(np.isnan(row)))
        assert np.isnan(row[first:]).all()


def test_without_an_answer_of_the_ramps_nothing_is_probed():
    model, optimizer, loader, _ = task()
    noise = lambda out, y: 0 * out.sum() + torch.rand(())
    curve = range_test(model, optimizer, loader, noise, effort="thorough", ramp=Ramp(steps=40))
    assert len(curve.peaks) == 0
    assert len(curve.rates) == 120
    assert curve.earlier_steps == 40
    assert curve.tuning_cost == 160


def test_a_ramp_that_is_too_fast_to_say_is_made_again_slower_from_the_same_start(tmp_path):
    def product(**how):  # small factors grow slowly at first, and for long nothing falls
        torch.manual_seed(0)
        factors = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False))
        for part in factors:
            nn.init.normal_(part.weight, std=0.05)
        x = torch.randn(64, 4)
        loader = [(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(64, 1))]
        optimizer = torch.optim.SGD(factors.parameters(), lr=0.1)
        return range_test(factors, optimizer, loader, nn.functional.mse_loss, **how)

    steps = next(steps for steps in range(20, 300, 4) if not refused(product(ramp=Ramp(1e-4, steps=steps))))
    steps = next(one for one in range(steps - 4, 12, -4) if refused(product(ramp=Ramp(1e-4, steps=one))))
    assert 3 * steps > 40
    thorough, slow = product(ramp=Ramp(1e-4, steps=steps), effort="thorough"), product(ramp=Ramp(1e-4, steps=3 * steps))
    assert np.array_equal(thorough.losses, slow.losses, equal_nan=True)
    assert thorough.earlier_steps == product(ramp=Ramp(1e-4, steps=steps)).tuning_cost
    assert thorough.tuning_cost > thorough.earlier_steps + slow.tuning_cost + 180
    thorough.save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").earlier_steps == thorough.earlier_steps


def refused(curve):
    try:
        curve.bounds()
    except Inconclusive:
        return True
    return False


def test_an_unknown_effort_is_refused():
    with pytest.raises(ValueError, match="did you mean 'thorough'"):
        range_test(*task(), effort="thorogh")
