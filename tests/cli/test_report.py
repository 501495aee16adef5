from __future__ import annotations

from pathlib import Path

import pytest

from cyclr.study._files import write_json
from tests.cli.conftest import Shell

pytest.importorskip("jinja2")
pytest.importorskip("plotly")
from tests.report.made import curve, soup, study


def test_a_page_lies_in_the_folder_it_is_about(cyclr: Shell, tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", study())
    called = cyclr("report", tmp_path)
    assert called.code == 0
    assert " ".join(called.out.split()).replace(" ", "") == f"wrote{tmp_path}/report.html"
    assert soup((tmp_path / "report.html").read_text()).h1.text == "Study of digits"


def test_a_page_on_a_file_lies_beside_it(cyclr: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    curve().save("curve.json")
    assert cyclr("report", "curve.json").out == "wrote report.html\n"
    assert soup(Path("report.html").read_text()).h1.text == "Range test"


def test_a_curve_a_plan_and_a_study_go_on_one_page(cyclr: Shell, tmp_path: Path) -> None:
    curve().save(tmp_path / "curve.json")
    planned = cyclr("plan", "--curve", tmp_path / "curve.json", "--steps", 100, "--json")
    (tmp_path / "plan.json").write_text(planned.out)
    write_json(tmp_path / "out/study.json", study())
    page = tmp_path / "page.html"
    paths = [tmp_path / name for name in ("curve.json", "plan.json", "out")]
    assert cyclr("report", *paths, "--out", page, "--title", "All <three>").code == 0
    shown = soup(page.read_text())
    assert shown.h1.text == "All <three>"
    assert [head.text for head in shown("h2")] == ["Range test", "Plan for 100 steps", "Study of digits"]


def test_a_page_of_ours_is_made_anew_and_anothers_is_kept(cyclr: Shell, tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", study())
    assert cyclr("report", tmp_path, "--title", "First").code == 0
    assert cyclr("report", tmp_path, "--title", "Second").code == 0
    page = tmp_path / "report.html"
    assert soup(page.read_text()).h1.text == "Second"
    page.write_text("<p>by hand</p>")
    complaint = cyclr("report", tmp_path).complaint
    assert complaint.startswith(f"{page} exists and was not made by cyclr; pass --out with another file")
    assert page.read_text() == "<p>by hand</p>"
    assert cyclr("report", tmp_path, "--out", page).code == 0
    assert soup(page.read_text()).h1.text == "Study of digits"


def test_what_is_shown_is_never_written_over(cyclr: Shell, tmp_path: Path) -> None:
    curve().save(tmp_path / "curve.json")
    before = (tmp_path / "curve.json").read_bytes()
    complaint = cyclr("report", tmp_path / "curve.json", "--out", tmp_path / "curve.json").complaint
    assert "--out must not be one of the input files" in complaint
    assert (tmp_path / "curve.json").read_bytes() == before


@pytest.mark.parametrize(("name", "text", "words"), [
    ("gone.json", None, "gone.json: No such file or directory"),
    ("empty.json", "", "empty.json: "),
    ("half.json", '{"task": "t", "runs": [', "half.json: "),
    ("foreign.json", '{"a": 1}', "foreign.json: not a study, run, curve or plan"),
    ("picture.json", "\x89PNG\r\n", "picture.json: "),
])  # fmt: skip
def test_a_bad_file_is_one_line_and_nothing_is_written(
    cyclr: Shell, tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="latin-1")
    before = sorted(tmp_path.iterdir())
    assert words in cyclr("report", tmp_path / name).complaint
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_folder_no_path_and_no_place_to_write_are_one_line(cyclr: Shell, tmp_path: Path) -> None:
    assert "no study.json, run.json, curve.json or plan.json" in cyclr("report", tmp_path).complaint
    assert cyclr("report").complaint.startswith("PATH must be given")
    write_json(tmp_path / "study.json", study())
    assert (
        "does not exist; create it first" in cyclr("report", tmp_path, "--out", tmp_path / "gone/page.html").complaint
    )


def test_a_corrupt_run_is_one_line(cyclr: Shell, tmp_path: Path) -> None:
    made = study()
    made.runs[0].points[0].pop("step")
    write_json(tmp_path / "study.json", made)
    assert "must have increasing steps from 1 on" in cyclr("report", tmp_path).complaint
    assert not (tmp_path / "report.html").exists()
