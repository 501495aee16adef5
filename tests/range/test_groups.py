"""Whose rates a range test recorded, where parameter groups have different ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cyclr import Curve
from cyclr._range.groups import Groups, told


@pytest.mark.parametrize(
    ("groups", "sentences"),
    [
        ((), ()),
        ((("", 1.0),), ()),
        ((("a", 1.0), ("b", 1.0)), ()),
        ((("", 0.0), ("", 0.0)), ()),
        (
            (("body", 0.001), ("head", 0.01)),
            ("Rates are those of group 1 ('head'); the others keep their ratios: group 0 ('body') x0.1.",),
        ),
        (
            (("", 1.0), ("", 0.5), ("", 1.0), ("", 0.25)),
            ("Rates are those of groups 0, 2; the others keep their ratios: groups 1 x0.5, 3 x0.25.",),
        ),
    ],
)
def test_the_group_that_is_meant_is_named_with_the_ratios_of_the_others(
    groups: Groups, sentences: tuple[str, ...]
) -> None:
    assert told(groups) == sentences


def test_evidence_names_the_group_from_a_saved_curve_too(tmp_path: Path) -> None:
    rates = np.geomspace(1e-6, 10, 300)
    losses = 2 - 1.5 / (1 + (1e-3 / rates) ** 2) + rates**2
    curve = Curve(rates, losses, groups=(("body", 0.1), ("head", 1.0)))
    curve.save(tmp_path / "curve.json")
    loaded = Curve.load(tmp_path / "curve.json")
    assert loaded.groups == curve.groups
    assert [one for one in loaded.bounds().evidence if "group 1 ('head')" in one]
    with pytest.raises(ValueError, match="a group's rate ratio"):
        Curve(rates, losses, groups=(("body", -0.1),))


def test_many_groups_are_counted() -> None:
    (sentence,) = told(tuple(("", 0.5**at) for at in range(7)))
    assert sentence.endswith("groups 1 x0.5, 2 x0.25, 3 x0.125, 4 x0.0625 and 2 more.")
