from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, parse
from cyclr._policies import POLICIES
from cyclr.study._design import TUNING_SEED, Contest, compare, entrants, finished, grid
from cyclr.study._records import Study
from cyclr.study._summary import summarize
from tests.study.contestants import LOG

FOUND = Bounds(0.01, 0.1, steps=250)
LEARN = "tests.study.contestants:learn"


def contest(policies=("auto", "fixed", "triangular2"), **changes) -> Contest:
    return Contest(
        **{
            "task": "t",
            "entrants": entrants(policies, FOUND),
            "seeds": 2,
            "steps": 120,
            "steps_per_epoch": 10,
            "metric": "accuracy",
        }
        | changes
    )


def made(folder: Path, contest: Contest, **options) -> Study:
    folder.mkdir(exist_ok=True)
    study = compare(contest, folder, LEARN, **options)
    return msgspec.structs.replace(study, baseline=contest.entrants[0].name)


def log(folder: Path) -> list[str]:
    return (folder / LOG).read_text().split()


@given(
    st.lists(st.sampled_from(sorted(POLICIES)), min_size=2, max_size=6, unique=True),
    st.integers(20, 3000),
    st.integers(5, 400),
    st.integers(1, 4),
)
def test_budgets_are_equal_seeds_are_paired_and_all_are_looked_at_where_any_cycle_ends(
    policies: list[str], steps: int, per_epoch: int, seeds: int
) -> None:
    made = contest(policies, steps=steps, steps_per_epoch=per_epoch, seeds=seeds)
    jobs = made.compared({entrant.name: entrant.candidates[0] for entrant in made.entrants})
    assert len(jobs) == len(policies) * seeds
    assert len({(job.steps, job.eval_every, job.eval_at, tuple(job.options)) for job in jobs.values()}) == 1
    for policy in policies:
        own = [job for job in jobs.values() if job.policy == policy]
        assert [job.seed for job in own] == list(range(seeds))
        schedule = parse(own[0].schedule)
        assert schedule.duration == steps, "stretched to the budget"
        looks = {step for step in range(1, steps + 1) if step % own[0].eval_every == 0 or step in own[0].eval_at}
        assert {*schedule.cycle_ends(until=steps), steps // 2} <= {*looks, steps}


def test_every_peak_is_found_by_the_same_trainings_on_data_and_seed_of_their_own(tmp_path: Path) -> None:
    tried = contest().tuning()
    assert {job.seed for job in tried.values()} == {TUNING_SEED}
    assert all(job.options == {"tuning": True} for job in tried.values())
    peaks = {name: [parse(j.schedule).highest for j in tried.values() if name in j.policy] for name in ("fixed", "tri")}
    assert peaks["fixed"] == peaks["tri"] == [bounds.max_lr for bounds in grid(FOUND)]
    assert not any("auto" in name for name in tried)
    study = made(tmp_path, contest())
    assert study.rates == {"auto": 0.1, "fixed": 0.01, "triangular2": 0.01}, "the best on val data, not on test data"
    assert study.cost == {"auto": 250, "fixed": 250 + 5 * 120, "triangular2": 250 + 5 * 120}
    assert all(run.seed < 2 and not run.options for run in study.runs)
    assert sum(run.steps for run in study.runs) == 3 * 2 * 120
    assert study.metric == "test_accuracy"


def test_the_cost_of_given_rates_is_what_trying_them_takes_and_a_single_one_costs_nothing(tmp_path: Path) -> None:
    several = contest(entrants=entrants(["auto", "fixed"], FOUND, [0.01, 0.02]))
    assert made(tmp_path / "several", several).cost == {"auto": 250, "fixed": 240}
    single = made(tmp_path / "single", contest(entrants=entrants(["fixed", "step"], None, [0.02])))
    assert single.cost == {"fixed": 0, "step": 0}
    assert single.rates == {"fixed": 0.02, "step": 0.02}
    found = contest(entrants=entrants(["auto", "fixed"], FOUND, tuned=False))
    assert made(tmp_path / "found", found).cost == {"auto": 250, "fixed": 250}
    assert found.tuning() == {}


def test_what_diverged_is_not_chosen_and_an_end_of_the_grid_is_told(tmp_path: Path) -> None:
    high = made(tmp_path / "high", contest(entrants=entrants(["fixed", "step"], None, [0.5, 2, 5])))
    assert high.rates == {"fixed": 0.5, "step": 0.5}
    assert "fixed: its peak 0.5 is the lowest that was tried; a lower one may be better." in high.notes
    lost = made(tmp_path / "lost", contest(entrants=entrants(["fixed", "step"], None, [2, 5])))
    assert "fixed: diverged at every peak that was tried; lower ones may suit it." in lost.notes
    assert [row.diverged for row in summarize(lost)] == [2, 2]
    inside = made(tmp_path / "inside", contest(entrants=entrants(["fixed", "step"], None, [0.003, 0.01, 0.03])))
    assert not any("tried;" in note for note in inside.notes)


def test_a_metric_of_which_less_is_better_is_chosen_and_judged_by_less(tmp_path: Path) -> None:
    study = made(tmp_path, contest(metric="loss"))
    assert (study.maximize, study.metric) == (False, "test_loss")
    assert study.rates["fixed"] == 0.01


def test_the_order_of_the_policies_changes_nothing(tmp_path: Path) -> None:
    names = ("auto", "fixed", "triangular2")
    first = made(tmp_path / "first", contest(names))
    other = made(tmp_path / "other", contest(names[::-1]))
    assert first.rates == other.rates
    assert {(r.policy, r.seed): r.points for r in first.runs} == {(r.policy, r.seed): r.points for r in other.runs}
    rows = {row.policy: row for row in summarize(other, baseline="auto")}
    assert {row.policy: row for row in summarize(first)} == rows


@pytest.mark.parametrize("lost", ["tuning-fixed-0.1", "auto-1", "fixed-0"])
def test_what_is_finished_is_not_done_again(tmp_path: Path, lost: str) -> None:
    expected = made(tmp_path, contest())
    assert finished(contest(), tmp_path) == contest().total == len(log(tmp_path)) == 16
    shutil.rmtree(tmp_path / lost)
    before = finished(contest(), tmp_path)
    (tmp_path / LOG).unlink()
    assert made(tmp_path, contest()) == expected
    assert log(tmp_path) == [lost]
    assert before == 15 - 2 * lost.startswith("tuning"), "without its peak fixed has no runs that are known"


def test_who_need_not_wait_for_a_peak_does_not(tmp_path: Path) -> None:
    made(tmp_path, contest())
    order = log(tmp_path)
    assert max(map(order.index, ("auto-0", "auto-1"))) < min(map(order.index, ("fixed-0", "triangular2-0")))


def test_what_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(ValueError, match="auto needs a range test"):
        entrants(["auto"], None, [0.1])
    with pytest.raises(ValueError, match="rates must be given"):
        entrants(["fixed"], None)
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        entrants(["cosin"], FOUND)
    with pytest.raises(ValueError, match="at most 10000"):
        contest(seeds=10_001)
    with pytest.raises(ValueError, match="at least 20"):
        contest(steps=10).tuning()
