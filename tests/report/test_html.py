"""The page as a whole: one file, no network, and text from records is never more than text.

What a browser makes of such text is seen in test_browser.py.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import report
from cyclr._page.blocks import clean
from cyclr.study._records import Study
from tests.report.made import a_plan, curve, figure, figures, run, soup, study

NASTY = (
    "</script><script>window.harm=1</script>", "<img src=x onerror=harm()>", "\"><svg/onload='harm()'>",
    "' onclick='harm()", "{{ 7 * 7 }}", "{% include 'page.html' %}", "<!--", "-->", "]]>", "<![CDATA[", "</style>",
    "</title>", "</figcaption>", "&lt;b&gt;", "&#60;i&#62;", "%{x}", "$\\frac{1}{2}$",
    '<a href="javascript:harm()">here</a>', "\u2028", "\u202e", "\x00", "\x1b[31m", "\ud800", "\\u003c", "`${harm()}`",
    "1e3", "2020-01-01", "",
)  # fmt: skip
nasty = st.lists(st.sampled_from(NASTY) | st.text(max_size=8), max_size=4).map("".join)


def with_texts(texts: list[str]) -> Study:
    """A study that has them wherever a record has text."""
    first, second, third, *rest = texts
    policies = {"fixed": f"0 {first}", "auto": f"1 {second}"}
    runs = [
        msgspec.structs.replace(
            run,
            policy=policies[run.policy],
            task=rest[0],
            schedule=f"spec {rest[1]}",
            versions={rest[2]: rest[3]},
            options={f"o{rest[4]}": rest[5]},
            points=[{"step": p["step"], "loss": 1.0, f"m {third}": p["test_accuracy"]} for p in run.points],
            status="diverged" if run.seed == 1 else "finished",
        )
        for run in study().runs
    ]
    return Study(
        task=rest[0],
        runs=runs,
        metric=f"m {third}",
        baseline=policies["fixed"],
        notes=rest[6:],
        rates={policies["auto"]: 0.1},
    )


def skeleton(page: BeautifulSoup) -> list[tuple[str, dict[str, Any]]]:
    """Every tag with its attributes, except for those that hold text of what is shown."""
    texts = ("aria-label", "content", "data-key", "data-column")
    return [(tag.name, {name: value for name, value in tag.attrs.items() if name not in texts}) for tag in page(True)]


@cache
def plain() -> str:
    return report.page(with_texts(["word"] * 12), title="title")


def told(text: str) -> str:
    """`text` as a reader of the page gets it."""
    return clean(text).encode("utf-8", "replace").decode()


@given(st.lists(nasty, min_size=12, max_size=12))
@settings(max_examples=settings.default.max_examples // 3)
def test_no_text_of_a_record_becomes_a_tag_an_attribute_a_script_or_markup_in_a_figure(texts: list[str]) -> None:
    made = with_texts(texts)
    html = report.page(made, title=texts[0] or "title")
    shown = soup(html)
    assert skeleton(shown) == skeleton(soup(plain()))
    assert {told(policy) for policy in made.policies} <= {cell.text for cell in shown("th")}
    _, notes = shown("ul", "sentences")
    assert [item.text.strip() for item in notes("li")] == [told(note).strip() for note in made.notes]
    assert told(made.runs[0].schedule) in {cell.text for cell in shown("td")}
    for shown, like in zip(drawn(html), drawn(plain()), strict=True):
        assert "<" not in str(shown).replace("<extra></extra>", "").replace("<br>(", "(")
        assert [trace.keys() for trace in shown["data"]] == [trace.keys() for trace in like["data"]]
        for kind in ("hovertemplate", "type", "mode"):
            assert [trace.get(kind) for trace in shown["data"]] == [trace.get(kind) for trace in like["data"]]


def drawn(html: str) -> list[dict[str, Any]]:
    """The figures that Plotly draws."""
    return [found for found in figures(html).values() if found is not None]


def test_a_figure_names_a_policy_as_plotly_must_be_told_to_show_it() -> None:
    html = report.page(with_texts(["<b>a & b</b>", "x" * 100, *["word"] * 10]))
    names = [trace["name"] for trace in figure(html, "study/metric")["data"] if "name" in trace]
    assert names == ["0 &lt;b&gt;a &amp; b&lt;/b&gt;", "1 " + "x" * 37 + "…"]


def test_a_policy_that_looks_like_a_number_or_a_date_stays_a_name() -> None:
    runs = [run(policy, seed, 0.1, value) for policy, value in (("1e3", 0.2), ("2020-01-01", 0.4)) for seed in (0, 1)]
    forest = figure(report.page(Study(task="t", runs=runs, baseline="1e3")), "study/differences")
    assert forest["layout"]["yaxis"]["ticktext"] == ["2020-01-01"]
    assert forest["layout"]["yaxis"]["tickvals"] == [0]


def test_the_page_asks_for_nothing_from_outside_and_forbids_itself_to() -> None:
    page = soup(report.page(study(), curve(), a_plan()))
    assert not page(["link", "img", "iframe", "object", "embed", "base"])
    assert not [tag for tag in page("form") if tag.attrs], "controls, which send nothing"
    data = ("application/json", "application/octet-stream")
    assert not [tag for tag in page("script") if tag.attrs and tag["type"] not in data]
    assert [tag["href"] for tag in page("a")] == ["#section-1", "#section-2", "#section-3"]
    assert "url(" not in page.style.text
    assert "@import" not in page.style.text
    rules = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert rules.startswith("default-src 'none';")
    assert "unsafe" not in rules.partition("script-src")[2]
    assert "http" not in rules


@pytest.mark.parametrize("things", [(study(),), (study(), curve(), a_plan())], ids=["one", "three"])
def test_a_page_reads_well_aloud(things: tuple[Any, ...]) -> None:
    page = soup(report.page(*things))
    assert page.html["lang"] == "en"
    assert page.title.text == page.h1.text
    levels = [int(tag.name[1]) for tag in page(["h1", "h2", "h3", "h4"])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(cell.get("scope") in ("col", "row") for cell in page("th"))
    assert all(table.caption.text for table in page("table"))
    assert all(figure.figcaption.text for figure in page("figure"))
    names = [tag["id"] for tag in page(id=True)]
    assert len(set(names)) == len(names)


def test_every_figure_has_its_place_and_every_place_its_figure() -> None:
    html = report.page(study(), curve(), a_plan())
    places = [f"figure-{index + 1}" for index, shown in enumerate(figures(html).values()) if shown is not None]
    assert [div["id"] for div in soup(html)("div", "plot")] == places
    assert len(places) == 6


def test_the_same_things_make_the_same_page() -> None:
    assert report.page(study(), curve()) == report.page(study(), curve())


def test_a_title_is_what_is_shown_or_what_was_asked_for() -> None:
    assert soup(report.page(study())).title.text == "Study of digits"
    assert soup(report.page(study(), title="My <study>")).h1.text == "My <study>"


@pytest.mark.parametrize("thing", ["study.json", None, 0.1, [study()]])
def test_what_cannot_be_shown_is_a_type_error(thing: object) -> None:
    with pytest.raises(
        TypeError,
        match="an object to be shown must be one of Bounds, Curve, MeasuredCycles, Plan, Run, Schedule, Study, got ",
    ):
        report.page(thing)


def test_nothing_is_no_page() -> None:
    with pytest.raises(ValueError, match="a page must show at least one object, got none"):
        report.page()


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    report.write(path, a_plan(), title="First")
    before = path.read_bytes()
    assert before.decode() == report.page(a_plan(), title="First")
    with pytest.raises(TypeError):
        report.write(path, a_plan(), "no plan")
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        report.write(tmp_path / "nowhere/page.html", a_plan())
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("gone", ["jinja2", "plotly"])
def test_without_its_libraries_it_says_what_to_install(gone: str) -> None:
    code = (
        f"import sys; sys.modules[{gone!r}] = None\n"
        "from cyclr import Bounds, plan, report\n"
        "try: report.page(plan(Bounds(0.1, 1), steps=10))\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == f"{gone} is not installed; pip install cyclr[report]\n"


def test_importing_it_loads_neither_of_them() -> None:
    code = "import sys, cyclr.report; print({'jinja2', 'plotly', 'torch', 'matplotlib'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "set()\n"


def test_a_thousand_runs_make_a_page_of_reasonable_size() -> None:
    values = [0.5 + 0.001 * step for step in range(50)]
    runs = [run(f"policy {p}", seed, *values) for p in range(10) for seed in range(100)]
    assert len(report.page(Study(task="t", runs=runs, baseline="policy 0"))) < 5_500_000


def test_sections_of_equal_titles_are_told_apart_by_their_files() -> None:
    found = [curve(), curve(), a_plan()]
    html = soup(report.page(*found, names=["first.json", "second.json", "plan.json"]))
    titles = [head.text for head in html("h2")]
    assert titles == ["Range test: first.json", "Range test: second.json", report.describe(a_plan()).title]
    with pytest.raises(ValueError, match="names must hold one for each of the 3 objects"):
        report.page(*found, names=["first.json"])


def test_each_cell_knows_its_column_for_a_narrow_screen() -> None:
    for table in soup(report.page(study()))("table"):
        heads = [head.text for head in table.thead("th")]
        for row in table.tbody("tr"):
            assert [cell["data-column"] for cell in row("td")] == heads[1:]
