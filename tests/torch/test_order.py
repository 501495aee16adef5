"""Data that are not shuffled: a loss that follows their order is not taken for a curve; what is learned still is."""

import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler, SubsetRandomSampler, TensorDataset

import cyclr.torch
from cyclr import Inconclusive, Ramp
from cyclr.torch._batches import in_order

LOW = Ramp(1e-9, 1e-7, steps=300)


def season(examples=3000):
    generator = torch.Generator().manual_seed(0)
    when = torch.linspace(0, 1, examples)
    x = torch.randn(examples, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) * (2 + torch.cos(2 * torch.pi * when)))[:, None])


def curve_of(loader, ramp):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return cyclr.torch.range_test(model, optimizer, loader, torch.nn.functional.mse_loss, ramp=ramp)


@pytest.mark.parametrize("form", ["loader", "list"])
def test_a_season_is_not_taken_for_a_curve(form):
    loader = DataLoader(season(), batch_size=10)
    with pytest.raises(Inconclusive, match="the loss follows the order of the data"):
        curve_of(loader if form == "loader" else list(loader), LOW).bounds()


def test_what_is_learned_in_a_season_has_bounds_for_ten_steps_more():
    ordered = curve_of(DataLoader(season(), batch_size=10), Ramp())
    shuffled = curve_of(DataLoader(season(), batch_size=10, shuffle=True), Ramp())
    assert ordered.bounds().max_lr == pytest.approx(shuffled.bounds().max_lr, rel=0.3)
    assert ordered.earlier_steps == 10
    assert shuffled.earlier_steps == 0


def test_it_is_known_which_loaders_shuffle():
    data = season(100)
    batches = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), 5, drop_last=False)
    shuffled = [
        DataLoader(data, batch_size=1, shuffle=True),
        DataLoader(data, batch_size=1, sampler=SubsetRandomSampler(range(100))),
        DataLoader(data, batch_sampler=batches),
        DataLoader(data, batch_size=1, sampler=torch.utils.data.DistributedSampler(data, 1, 0)),
        DataLoader(data, batch_size=100),
        list(DataLoader(data, batch_size=10)),
    ]
    assert [in_order(loader, 100) for loader in shuffled] == [False] * 6
    ordered = [
        DataLoader(data, batch_size=1),
        DataLoader(data, batch_size=1, sampler=SequentialSampler(data)),
        DataLoader(data, batch_size=1, sampler=torch.utils.data.DistributedSampler(data, 1, 0, shuffle=False)),
        list(DataLoader(data, batch_size=5)),
    ]
    assert [in_order(loader, 100) for loader in ordered] == [True] * 4
