from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, parse
from cyclr._policies import POLICIES
from cyclr.study._design import TUNING_SEED, Design, arms, finished, grid, run_design
from cyclr.study._records import Study
from cyclr.study._summary import summarize
from tests.study.learners import LOG

FOUND = Bounds(0.01, 0.1, tuning_cost=250)
LEARN = "tests.study.learners:learn"


def design(policies=("auto", "fixed", "triangular2"), **changes) -> Design:
    return Design(
        **{
            "task": "t",
            "arms": arms({name: name for name in policies}, FOUND),
            "seeds": 2,
            "steps": 120,
            "steps_per_epoch": 10,
            "metric": "accuracy",
            "maximize": True,
        }
        | changes
    )


def made(folder: Path, design: Design, **options) -> Study:
    folder.mkdir(exist_ok=True)
    study = run_design(design, folder, LEARN, **options)
    return msgspec.structs.replace(study, baseline=design.arms[0].name)


def log(folder: Path) -> list[str]:
    return (folder / LOG).read_text().split()


@given(
    st.lists(st.sampled_from(sorted(POLICIES)), min_size=2, max_size=6, unique=True),
    st.integers(20, 3000),
    st.integers(5, 400),
    st.integers(1, 4),
)
def test_budgets_are_equal_seeds_are_paired_and_all_are_evaluated_where_any_cycle_ends(
    policies: list[str], steps: int, per_epoch: int, seeds: int
) -> None:
    made = design(policies, steps=steps, steps_per_epoch=per_epoch, seeds=seeds)
    setups = made.compared({arm.name: arm.candidates[0] for arm in made.arms})
    assert len(setups) == len(policies) * seeds
    assert len({(setup.steps, setup.eval_every, setup.eval_at, tuple(setup.options)) for setup in setups.values()}) == 1
    for policy in policies:
        own = [setup for setup in setups.values() if setup.policy == policy]
        assert [setup.seed for setup in own] == list(range(seeds))
        schedule = parse(own[0].schedule)
        assert schedule.duration == steps, "stretched to the budget"
        evaluated = {step for step in range(1, steps + 1) if step % own[0].eval_every == 0 or step in own[0].eval_at}
        assert {*schedule.cycle_ends(until=steps), steps // 2} <= {*evaluated, steps}


def test_every_peak_is_found_by_the_same_trainings_on_data_and_seed_of_their_own(tmp_path: Path) -> None:
    tried = design().tuning()
    assert {setup.seed for setup in tried.values()} == {TUNING_SEED}
    assert all(setup.options == {"tuning": True} for setup in tried.values())
    peaks = {name: [parse(j.schedule).highest for j in tried.values() if name in j.policy] for name in ("fixed", "tri")}
    assert peaks["fixed"] == peaks["tri"] == [bounds.max_lr for bounds in grid(FOUND)]
    assert not any("auto" in name for name in tried)
    study = made(tmp_path, design())
    assert study.rates == {"auto": 0.1, "fixed": 0.01, "triangular2": 0.01}, "the best on val data, not on test data"
    assert study.tuning_cost == {"auto": 250, "fixed": 250 + 5 * 120, "triangular2": 250 + 5 * 120}
    assert all(run.seed < 2 and not run.options for run in study.runs)
    assert sum(run.steps for run in study.runs) == 3 * 2 * 120
    assert study.metric == "test_accuracy"


def test_the_cost_of_given_rates_is_what_trying_them_takes_and_a_single_one_costs_nothing(tmp_path: Path) -> None:
    several = design(arms=arms({"auto": "auto", "fixed": "fixed"}, FOUND, [0.01, 0.02]))
    assert made(tmp_path / "several", several).tuning_cost == {"auto": 250, "fixed": 240}
    single = made(tmp_path / "single", design(arms=arms({"fixed": "fixed", "step": "step"}, None, [0.02])))
    assert single.tuning_cost == {"fixed": 0, "step": 0}
    assert single.rates == {"fixed": 0.02, "step": 0.02}
    found = design(arms=arms({"auto": "auto", "fixed": "fixed"}, FOUND, tuned=False))
    assert made(tmp_path / "found", found).tuning_cost == {"auto": 250, "fixed": 250}
    assert found.tuning() == {}


def test_what_diverged_is_not_chosen_and_an_end_of_the_grid_is_told(tmp_path: Path) -> None:
    high = made(tmp_path / "high", design(arms=arms({"fixed": "fixed", "step": "step"}, None, [0.5, 2, 5])))
    assert high.rates == {"fixed": 0.5, "step": 0.5}
    assert "fixed: its peak 0.5 is the lowest that was tried; a lower one may be better." in high.notes
    lost = made(tmp_path / "lost", design(arms=arms({"fixed": "fixed", "step": "step"}, None, [2, 5])))
    assert "fixed: diverged at every peak that was tried; lower ones may work." in lost.notes
    assert [row.diverged for row in summarize(lost)] == [2, 2]
    inside = made(tmp_path / "inside", design(arms=arms({"fixed": "fixed", "step": "step"}, None, [0.003, 0.01, 0.03])))
    assert not any("tried;" in note for note in inside.notes)


def test_a_metric_of_which_less_is_better_is_chosen_and_judged_by_less(tmp_path: Path) -> None:
    study = made(tmp_path, design(metric="loss", maximize=False))
    assert (study.maximize, study.metric) == (False, "test_loss")
    assert study.rates["fixed"] == 0.01


def test_the_order_of_the_policies_changes_nothing(tmp_path: Path) -> None:
    names = ("auto", "fixed", "triangular2")
    first = made(tmp_path / "first", design(names))
    other = made(tmp_path / "other", design(names[::-1]))
    assert first.rates == other.rates
    assert {(r.policy, r.seed): r.points for r in first.runs} == {(r.policy, r.seed): r.points for r in other.runs}
    rows = {row.policy: row for row in summarize(other, baseline="auto")}
    assert {row.policy: row for row in summarize(first)} == rows


@pytest.mark.parametrize("lost", ["tuning-fixed-0.1", "auto-1", "fixed-0"])
def test_what_is_finished_is_not_done_again(tmp_path: Path, lost: str) -> None:
    expected = made(tmp_path, design())
    assert finished(design(), tmp_path) == design().total == len(log(tmp_path)) == 16
    shutil.rmtree(tmp_path / lost)
    before = finished(design(), tmp_path)
    (tmp_path / LOG).unlink()
    assert made(tmp_path, design()) == expected
    assert log(tmp_path) == [lost]
    assert before == 15 - 2 * lost.startswith("tuning"), "without its peak fixed has no runs that are known"


def test_who_need_not_wait_for_a_peak_does_not(tmp_path: Path) -> None:
    made(tmp_path, design())
    order = log(tmp_path)
    assert max(map(order.index, ("auto-0", "auto-1"))) < min(map(order.index, ("fixed-0", "triangular2-0")))


def test_what_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(ValueError, match="auto needs a range test"):
        arms({"auto": "auto"}, None, [0.1])
    with pytest.raises(ValueError, match="rates must be given"):
        arms({"fixed": "fixed"}, None)
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        arms({"cosin": "cosin"}, FOUND)
    with pytest.raises(ValueError, match="at most 10000"):
        design(seeds=10_001)
    with pytest.raises(ValueError, match="at least 20"):
        design(steps=10).tuning()
