from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytest.importorskip("jinja2")
from tests.report.made import LOSSES, NOISE, curve, soup


def begins_with(path: Path) -> dict[str, object]:
    """What the page begins with."""
    page = soup(path.read_text())
    (data,) = page("script", {"type": "application/json"})
    fields = {tag["name"]: tag.get("value") for tag in page("input")}
    return {**fields, **json.loads(data.text), "said": page.find("div", "designer").p.text}


def test_a_curve_is_designed_beside_its_file(cyclr: Shell, tmp_path: Path) -> None:
    curve().save(tmp_path / "curve.json")
    called = cyclr("design", tmp_path / "curve.json", "--steps", 11_700, "--steps-per-epoch", 390)
    assert (called.code, called.out.split()[-4:]) == (0, ["open", "it", "in", "a", "browser"][-4:])
    found, bounds = begins_with(tmp_path / "design.html"), curve().bounds()
    assert (found["base_lr"], found["max_lr"]) == tuple(float(f"{r:.3g}") for r in (bounds.base_lr, bounds.max_lr))
    assert (found["steps"], found["epoch"]) == ("11700", "390")
    assert found["curve"]["intervals"] == [[*bounds.base_interval], [*bounds.max_interval]]
    again = soup((tmp_path / "design.html").read_text()).footer.code.text
    assert again == f"cyclr design {tmp_path / 'curve.json'} --steps 11700 --steps-per-epoch 390"


def test_a_metric_of_the_curve_can_be_shown(cyclr: Shell, tmp_path: Path) -> None:
    made = curve(metrics={"accuracy": -(LOSSES + NOISE)}, maximize=("accuracy",))
    made.save(tmp_path / "curve.json")
    assert cyclr("design", tmp_path / "curve.json", "--signal", "accuracy").code == 0
    assert begins_with(tmp_path / "design.html")["curve"]["name"] == "accuracy"
    assert "--signal must be" in cyclr("design", tmp_path / "curve.json", "--signal", "mae").complaint


def test_a_plan_and_plain_bounds_are_designed(cyclr: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        cyclr("plan", "--bounds", 1e-3, 1e-2, "--epochs", 5, "--steps-per-epoch", 100, "--out", "plan.json").code == 0
    )
    assert cyclr("design", "plan.json", "--out", "a.html").code == 0
    found = begins_with(tmp_path / "a.html")
    assert (found["steps"], found["epoch"], found["cycles"]) == ("500", "100", "1")
    assert found["plan"]["y"][0] == 0.001
    assert cyclr("design", "--bounds", 1e-4, 1e-1).code == 0
    found = begins_with(tmp_path / "design.html")
    assert (found["base_lr"], found["max_lr"], found["steps"]) == (1e-4, 1e-1, "10000")
    assert soup(Path("design.html").read_text()).footer.code.text == "cyclr design --bounds 0.0001 0.1"
    assert cyclr("design").code == 0, "our own page is made anew"


def test_an_inconclusive_curve_is_no_result(cyclr: Shell, tmp_path: Path) -> None:
    curve(losses=[[2.0] * 80]).save(tmp_path / "curve.json")
    assert cyclr("design", tmp_path / "curve.json").code == 0
    said = begins_with(tmp_path / "design.html")["said"]
    assert said.startswith("The range test is inconclusive, so the bounds shown first are no result.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["curve.json", "--bounds", "0.1", "1"], "--bounds and a file must not both be given; leave one out"),
        (["--steps", "10"], "steps must be an integer of at least 20, got 10"),
        (["--bounds", "1", "0.1"], "base_lr must not exceed max_lr"),
        (["nothing.json"], "nothing.json"),
        (["run.json"], "run.json: not a study, run, curve or plan"),
        (["curve.json", "--out", "curve.json"], "--out must not be the input file, got curve.json"),
        (["--out", "nowhere/page.html"], "folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_designed_is_one_line(
    cyclr: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    curve().save("curve.json")
    Path("run.json").write_text("{}")
    before = Path("curve.json").read_bytes()
    assert says in cyclr("design", *arguments).complaint
    assert Path("curve.json").read_bytes() == before
    assert not Path("design.html").exists()


def test_a_page_of_another_hand_is_kept(cyclr: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("design.html").write_text("<p>by hand</p>")
    assert cyclr("design").complaint.startswith("design.html exists and was not made by cyclr")
    assert Path("design.html").read_text() == "<p>by hand</p>"
