"""Averages of snapshots: the mean, statistics made anew, integers, and soups."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from cyclr import one_cycle
from cyclr.torch import Snapshots, average, averaged_model, evaluate, soup

cycle = one_cycle(0.1, steps=2, base_lr=0.01)


def line(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[value]])}


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.5),
                               torch.nn.Linear(6, 2))  # fmt: skip


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8))
def test_weights_are_the_mean_of_all(values):
    model = torch.nn.Linear(1, 1, bias=False)
    found = average(model, [line(value) for value in values])
    assert found.weight.item() == pytest.approx(sum(values) / len(values), abs=1e-4)


class Mixed(torch.nn.Module):
    """Tied weights, complex ones, half precision, buffers of floats and integers."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
        self.other.weight = self.one.weight
        self.wave = torch.nn.Parameter(torch.tensor([value + 2j * value]))
        self.short = torch.nn.Parameter(torch.tensor([value], dtype=torch.bfloat16))
        self.register_buffer("mean", torch.tensor([value]))
        self.register_buffer("count", torch.tensor(int(value)))
        torch.nn.init.constant_(self.one.weight, value)


def test_each_kind_of_tensor_is_averaged_as_makes_sense():
    found = average(Mixed(), [Mixed(value).state_dict() for value in (1, 2, 6)])
    assert found.one.weight.item() == pytest.approx(3)
    assert found.one.weight is found.other.weight
    assert found.wave.item() == pytest.approx(3 + 6j)
    assert found.short.item() == pytest.approx(3, rel=2**-7)
    assert found.mean.item() == pytest.approx(3)
    assert found.count.item() == 6  # of the last one


def data(batches: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(8, 3) * 2 + 1, torch.randn(8, 2)) for _ in range(batches)]


def trained() -> list[dict[str, torch.Tensor]]:
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = network()
        for x, _ in data():
            model(x)
        found.append(copy.deepcopy(model.state_dict()))
    return found


@given(st.sampled_from([torch.bfloat16, torch.float16]), st.integers(2, 30), st.integers(0, 999))
def test_weights_in_half_precision_are_summed_in_float32(dtype, count, seed):
    generator = torch.Generator().manual_seed(seed)
    given_weights = [(1 + torch.rand(7, 3, generator=generator) / 50).to(dtype) for _ in range(count)]
    found = average(torch.nn.Linear(3, 7, bias=False).to(dtype), [{"weight": weight} for weight in given_weights])
    exact = torch.stack(given_weights).double().mean(0)
    assert (found.weight.double() - exact).abs().max() <= torch.finfo(dtype).eps / 2 * 1.02 * 1.001
    assert found.weight.dtype == dtype


def test_steps_of_one_last_digit_are_not_lost():
    weights = [{"weight": torch.tensor([[value]], dtype=torch.bfloat16)} for value in (256.0, 258, 258, 258, 258)]
    assert average(torch.nn.Linear(1, 1, bias=False).bfloat16(), weights).weight.item() == 258


def test_a_moving_average_in_half_precision_is_warned_of():
    with pytest.warns(UserWarning, match="averages in bfloat16 lose small changes"):
        averaged_model(torch.nn.Linear(1, 1).bfloat16())


def test_the_statistics_of_batch_norm_are_those_of_the_averaged_weights():
    model, loader = network(), data()
    found = average(model, trained(), loader)
    x = torch.cat([inputs for inputs, _ in loader])
    with torch.no_grad():
        expected = found[0](x).mean(0)
    torch.testing.assert_close(found[1].running_mean, expected)
    assert found[1].num_batches_tracked == len(loader)
    naive = torch.stack([state["1.running_var"] for state in trained()]).mean(0)
    assert (found[1].running_var / naive - 1).abs().max() > 0.2  # an average of statistics would be something else


def test_without_a_loader_batch_norm_is_refused_and_an_empty_one_too():
    with pytest.raises(ValueError, match="loader must be given for a model with BatchNorm"):
        average(network(), trained())
    with pytest.raises(ValueError, match="at least one batch"):
        average(network(), trained(), [])

    class Empty:
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match="loader must give at least one batch"):
        average(network(), trained(), Empty())


def test_the_model_its_flags_and_the_random_state_stay_and_the_average_has_the_flags():
    model = network()
    model[1].eval()
    states, loader = trained(), data()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = average(model, states, loader)
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    for one in (model, found):
        assert [module.training for module in one.modules()] == [True, True, False, True, True]
    assert found[1].momentum == 0.1


def test_batches_may_be_inputs_or_dicts_of_arguments():
    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = network()

        def forward(self, x, y=None):
            return self.inside(x)

    states = trained()
    expected = average(network(), states, data())
    inputs = average(network(), states, [x for x, _ in data()])
    named = [{f"inside.{name}": value for name, value in state.items()} for state in states]
    dicts = average(Named(), named, [{"x": x, "y": y} for x, y in data()])
    for found in (inputs, dicts.inside):
        torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_it_works_with_evaluate_and_with_a_folder(tmp_path):
    model = network()
    snapshots = Snapshots(tmp_path, model, plan=cycle.repeat(3))
    states = trained()
    for step in range(1, 7):
        model.load_state_dict(states[(step - 1) // 2])
        snapshots.step(step)
    found, expected = average(model, tmp_path, data()), average(model, states, data())
    assert evaluate(found, data(), mse_loss) == evaluate(expected, data(), mse_loss)


# ---------------------------------------------------------------- soups


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=6), st.sampled_from(["min", "max"]))
def test_a_soup_is_never_worse_than_its_best_member(values, better):
    sign = 1 if better == "max" else -1
    judge = lambda model: -sign * (model.weight.item() - 1) ** 2
    found = soup(torch.nn.Linear(1, 1, bias=False), [line(value) for value in values], (judge, better))
    best = max(sign * value for value in found.values)
    assert sign * found.value >= best
    assert judge(found.model) == pytest.approx(found.value, abs=1e-9)
    assert found.values == tuple(-sign * (value - 1) ** 2 for value in values)
    assert 1 <= len(found.members) <= len(values)
    mean = sum(member["weight"].item() for member in found.members) / len(found.members)
    assert found.model.weight.item() == pytest.approx(mean, abs=1e-5)


def test_a_member_without_a_finite_value_is_left_out():
    judge = (lambda model: model.weight.item(), "max")
    model = torch.nn.Linear(1, 1, bias=False)
    found = soup(model, [line(math.nan), line(1.0), line(math.inf)], judge)
    assert found.value == 1
    assert len(found.members) == 1
    with pytest.raises(ValueError, match="metric must be finite for at least one snapshot"):
        soup(model, [line(math.nan)], judge)


def test_a_metric_whose_direction_is_unknown_is_refused():
    with pytest.raises(ValueError, match="must say which way is better"):
        soup(torch.nn.Linear(1, 1, bias=False), [line(1)], lambda model: 0.0)
