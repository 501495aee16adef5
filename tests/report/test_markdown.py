"""Text from records is text in Markdown, too."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import report
from cyclr.report._markdown import line, text
from tests.report.made import a_plan, curve, study


@pytest.mark.parametrize(("given_text", "shown"), [
    ("one_cycle", "one_cycle"),
    ("_hidden_", r"\_hidden\_"),
    ("a | b", r"a \| b"),
    ("<script>", r"\<script\>"),
    ("[here](javascript:harm())", r"[here\](javascript:harm())"),
    ("+2.46 [0.37, 4.55]", "+2.46 [0.37, 4.55]"),
    ("two\nlines", "two lines"),
    ("&lt;", r"\&lt;"),
    ("0.1*Constant(1)", r"0.1\*Constant(1)"),
])  # fmt: skip
def test_markup_is_shown_as_it_is(given_text: str, shown: str) -> None:
    assert text(given_text) == shown


@pytest.mark.parametrize(("given_text", "shown"), [
    ("# a heading", r"\# a heading"),
    ("1. a list", r"1\. a list"),
    ("1.5 times", "1.5 times"),
    ("- a list", r"\- a list"),
])  # fmt: skip
def test_a_line_begins_no_heading_and_no_list(given_text: str, shown: str) -> None:
    assert line(given_text) == shown


markup = st.lists(st.sampled_from([*r"\`*_<>|&~#[](){}:!+-.=1 ", "\n", "http", "a"]), max_size=30).map("".join)


@pytest.mark.skipif(importlib.util.find_spec("markdown_it") is None, reason="markdown-it-py comes with Sphinx's parser")
@given(markup)
@settings(max_examples=300)
def test_a_parser_finds_nothing_but_text(given_text: str) -> None:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(f"- {line(given_text)}\n")
    (inline,) = (token for token in tokens if token.type == "inline") if given_text.split() else (None,)
    kinds = [token.type for token in tokens if token.type != "inline"]
    expected = ["bullet_list_open", "list_item_open", "paragraph_open", "paragraph_close", "list_item_close",
                "bullet_list_close"]  # fmt: skip
    if inline is None:  # nothing was given
        return
    assert kinds == expected
    assert {child.type for child in inline.children or ()} <= {"text", "text_special"}
    assert "".join(child.content for child in inline.children or ()) == " ".join(given_text.split())


def test_each_thing_has_a_section_and_details_are_left_to_the_page() -> None:
    shown = report.markdown(study(), curve(), a_plan())
    heads = [row for row in shown.splitlines() if row.startswith("## ")]
    assert heads == ["## Study of digits", "## Range test", "## Plan for 300 steps"]
    assert "Settings" not in shown
    assert report.markdown(study(), level=3).startswith("### Study of digits")
