"""One panel is one file: terminal, HTML and Markdown find it, and all three say the same."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("plotly")
from cyclr import Constant, Linear, report
from cyclr._cli import _console, _sections
from cyclr._page import panels
from cyclr._page.blocks import Facts, Figures, Part, Sentences, Table
from cyclr._page.registry import describe, panel, withdraw
from cyclr._page.views import Comparison, Shown
from tests.report.made import a_plan, curve, figures, run, soup, study, table

PANEL = '''
"""The slowest run of a study."""

import numpy as np

from cyclr.report import Axis, Comparison, Figure, Figures, Line, Part, Sentences, Table, panel


@panel(Comparison)
def slowest(comparison: Comparison) -> Part:
    """The run that took longest."""
    runs = sorted(comparison.study.runs, key=lambda run: -run.seconds)
    seconds = Line(np.arange(len(runs)), np.array([run.seconds for run in runs]))
    return Part("Slowest run", (
        Sentences((f"{runs[0].policy} with seed {runs[0].seed} was the slowest run.",)),
        Table("study/slowest", "The three slowest.", ("policy", "seconds"),
              tuple((run.policy, f"{run.seconds:.1f}") for run in runs[:3])),
        Figures((Figure("study/seconds", "Seconds of each run.", Axis("run"), Axis("seconds"), (seconds,)),)),
    ))
'''


@pytest.fixture
def panel_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new file beside the built-in panels, and nothing else."""
    (tmp_path / "slowest.py").write_text(PANEL)
    monkeypatch.setattr(panels, "__path__", [*panels.__path__, str(tmp_path)])
    yield tmp_path / "slowest.py"
    module = sys.modules.pop(f"{panels.__name__}.slowest", None)
    if module is not None:
        withdraw(Comparison, module.slowest)


def test_a_panel_in_a_file_of_its_own_is_in_terminal_html_and_markdown(
    panel_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(runs=[*study().runs[:-1], run("auto", 2, seconds=9.0)])
    _sections.show(describe(made))
    terminal, html, markdown = capsys.readouterr().out, report.page(made), report.markdown(made)
    sentence = "auto with seed 2 was the slowest run."
    for shown in (terminal, soup(html).text, markdown):
        assert "Slowest run" in shown
        assert sentence in shown
    assert table(html, "study/slowest")[1] == ["auto", "9.0"]
    assert "| auto | 9.0 |" in markdown
    assert re.search(r"\nauto +9\.0\n", terminal)
    assert figures(html)["study/seconds"] is not None
    assert "Seconds of each run." in terminal


def test_a_panel_is_gone_when_it_is_withdrawn_and_may_have_nothing_to_say() -> None:
    def silent(_: Shown) -> None:
        return None

    def loud(_: Shown) -> Part:
        return Part("Loud", (Sentences(("Hear.",)),))

    panel(Shown)(silent)
    panel(Shown, place=-1)(loud)
    panel(Shown, place=-1)(loud)  # a notebook's cell was run again
    try:
        assert [part.heading for part in describe(Constant(0.1)).parts] == ["Loud", "Learning rates"]
    finally:
        withdraw(Shown, silent)
        withdraw(Shown, loud)
    assert [part.heading for part in describe(Constant(0.1)).parts] == ["Learning rates"]


THINGS = {
    "study": study(rates={"auto": 0.0589}, notes=["By a range test of 266 steps."]),
    "many": study(
        runs=[run(policy, seed, 0.1, 0.2 * k + seed / 50) for k, policy in enumerate("abc") for seed in (0, 1)],
        baseline="a",
    ),
    "apart": study(runs=[run("fixed", 0), run("auto", 1)], rates={"auto": 0.0589}),
    "empty": study(runs=[]),
    "run": run(),
    "curve": curve(),
    "flat": curve(losses=[2.0] * 80),
    "plan": a_plan(),
    "schedule": Linear(0.1, 0, steps=1000),
}


@pytest.mark.parametrize("thing", THINGS.values(), ids=THINGS)
def test_terminal_html_and_markdown_say_the_same(
    thing: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = _console._console(stderr=False)
    console.width = 400  # no line is broken
    monkeypatch.setattr(_console, "stdout", lambda: console)
    monkeypatch.setattr(_console, "fancy", lambda _: True)
    section = describe(thing)
    _sections.show(section)
    terminal = capsys.readouterr().out
    page, markdown = soup(report.page(thing)), report.markdown(thing)
    html = page.text
    in_terminal, in_html, in_markdown = (flat(text) for text in (terminal, html, unescaped(markdown)))
    for part in section.parts:
        assert flat(part.heading) in in_html
        for block in part.blocks:
            for text in texts(block):
                assert flat(text) in in_html, text
                if part.brief and not getattr(block, "folded", False):
                    assert flat(text) in in_terminal, text
                    assert flat(text) in in_markdown, text


def texts(block: Any) -> Iterator[str]:
    """All that a block says, but for the headings of columns, which the terminal shortens."""
    match block:
        case Sentences():
            yield from block.items
        case Facts():
            for pair in block.pairs:
                yield from pair
        case Table():
            yield block.caption
            for row in block.rows:
                yield "".join(row)
        case Figures():
            return


def flat(text: str) -> str:
    return re.sub(r"[\s|]", "", text)


def unescaped(markdown: str) -> str:
    return re.sub(r"\\(?=[^\w\s])", "", markdown)


def test_every_figure_and_table_has_a_key_of_its_own() -> None:
    for thing in THINGS.values():
        blocks = [block for part in describe(thing).parts for block in part.blocks]
        tables = [block.key for block in blocks if isinstance(block, Table)]
        shown = [figure.key for block in blocks if isinstance(block, Figures) for figure in block.items]
        assert len(set(tables + shown)) == len(tables + shown)


def test_short_headings_are_as_many_as_the_long_ones() -> None:
    for thing in THINGS.values():
        for part in describe(thing).parts:
            for block in part.blocks:
                if isinstance(block, Table):
                    assert len(block.short or block.columns) == len(block.columns)
                    assert all(len(row) == len(block.columns) for row in block.rows)


def test_the_tables_of_a_study_fit_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _console.stdout.cache_clear()
    ends = [0.8123, 0.8331, 0.8427]
    runs = [run(policy, seed, 0.1, end + k / 90) for k, policy in enumerate(("best fixed", "warm_restarts"))
            for seed, end in enumerate(ends)]  # fmt: skip
    rates, cost = {"best fixed": 0.0488, "warm_restarts": 0.00123}, {"best fixed": 60000, "warm_restarts": 266}
    _sections.show(describe(study(runs=runs, baseline="best fixed", rates=rates, tuning_cost=cost)))
    out = capsys.readouterr().out
    _console.stdout.cache_clear()
    assert max(map(len, out.splitlines())) <= 80
    assert sum(line.startswith("warm_restarts ") for line in out.splitlines()) == 2


def test_the_page_model_loads_no_renderer() -> None:
    code = (
        "import sys; from cyclr import Linear; from cyclr._page.registry import describe\n"
        "describe(Linear(1, 0, steps=9))\n"
        "print({'jinja2', 'plotly', 'matplotlib', 'rich', 'torch'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "set()\n"
