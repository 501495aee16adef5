"""One bad batch is passed over and told with its step; a refusal says where a sweep broke off, and keeps the curve."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import Curve, Inconclusive

RATES = np.geomspace(1e-5, 1, 150)


def losses(seed=0):
    return 2 - 1.5 / (1 + (1e-3 / RATES) ** 2) + RATES**2 + 0.02 * np.random.default_rng(seed).normal(size=150)


def with_bad(bad, seed=0):
    row = losses(seed)
    for step, value in bad.items():
        row[step] = value
    return Curve(RATES, row)


@settings(max_examples=settings.default.max_examples // 2)  # each is read twice
@given(st.integers(4, 110), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 20))
def test_a_single_loss_that_is_no_number_is_told_and_hardly_matters(step, value, seed):
    curve, whole = with_bad({step: value}, seed), Curve(RATES, losses(seed))
    bounds = curve.bounds()
    assert curve.passed_over == ((step,),)
    assert f"The loss is not finite at step {step} (rate {RATES[step]:.2g}): taken as missing" in bounds.evidence[-1]
    assert abs(np.log(bounds.max_lr / whole.bounds().max_lr)) < 0.2
    assert curve.tuning_cost == whole.tuning_cost == 150


@settings(max_examples=settings.default.max_examples // 2)  # each is read twice
@given(st.integers(4, 70), st.sampled_from([1e4, -1e4, 1e30]), st.integers(0, 20))
def test_a_single_absurd_loss_is_told_and_hardly_matters(step, value, seed):
    bounds = with_bad({step: value}, seed).bounds()
    assert f"is far from its neighbours at step {step} (rate" in bounds.evidence[-1]
    assert abs(np.log(bounds.max_lr / Curve(RATES, losses(seed)).bounds().max_lr)) < 0.2


def test_several_bad_batches_are_told_in_one_sentence_for_each_repeat():
    rows = np.stack([losses(1), losses(2)])
    rows[1, [3, 10, 12, 14, 16, 18, 20]] = np.nan
    curve = Curve(RATES, rows)
    assert curve.passed_over == ((), (3, 10, 12, 14, 16, 18, 20))
    told = [sentence for sentence in curve.bounds().evidence if "not finite" in sentence]
    assert len(told) == 1
    assert "step 3 (rate " in told[0]
    assert "and 2 more of repeat 1: taken as missing" in told[0]


@given(st.integers(0, 50))
def test_good_curves_tell_of_no_bad_batch(seed):
    assert not [sentence for sentence in Curve(RATES, losses(seed)).bounds().evidence if "batch" in sentence]


def test_a_curve_with_gaps_is_saved_and_loaded(tmp_path):
    curve = with_bad({30: np.nan})
    curve.save(tmp_path / "curve.json")
    assert Curve.load(tmp_path / "curve.json").passed_over == ((30,),)
    assert json.loads((tmp_path / "curve.json").read_text())["losses"][0][30] is None


def test_published_rules_do_not_see_the_gap():
    assert with_bad({30: np.nan}).suggest("minimum") == Curve(RATES, losses()).suggest("minimum")


@pytest.mark.parametrize("end", [5, 20])
def test_a_sweep_that_broke_off_says_where(end):
    row = losses()
    row[end:] = np.nan
    with pytest.raises(Inconclusive, match=rf"ended at step {end}, a rate of .*non-finite loss: check the data there"):
        Curve(RATES, row, stops=("non-finite",)).bounds()


def test_a_sweep_that_broke_off_while_it_fell_is_not_said_to_rise():
    row = losses()
    row[90:] = np.nan
    evidence = Curve(RATES, row, stops=("non-finite",)).bounds().evidence[0]
    assert "does not rise before the sweep ends at" in evidence
    assert "check the data" in evidence


@pytest.mark.parametrize("ask", [lambda curve: curve.bounds(), lambda curve: curve.bounds("f1"),
                                 lambda curve: curve.suggest("valley", "f1")])  # fmt: skip
def test_a_refusal_carries_the_curve(ask):
    noise = np.random.default_rng(0).normal(size=150)
    curve = Curve(RATES, noise, {"f1": np.full(150, np.nan)})
    with pytest.raises(Inconclusive) as caught:
        ask(curve)
    assert caught.value.curve is curve
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("maximize", [{"f1"}, frozenset()])
def test_a_metric_that_was_never_a_number_is_inconclusive(maximize):
    curve = Curve(RATES, losses(), {"f1": np.full(150, np.nan)}, maximize=maximize)
    with pytest.raises(Inconclusive, match="f1 was not a number at any evaluation"):
        curve.bounds("f1")
    with pytest.raises(Inconclusive, match="f1 was not a number at any evaluation"):
        curve.suggest("valley", "f1")
    assert curve.bounds().max_lr
