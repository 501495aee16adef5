"""Which parameter group's rates a range test recorded, and how the others follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cyclr._check import non_negative

Groups = tuple[tuple[str, float], ...]

MOST = 4  #: groups that are named one by one


def groups_of(value: Iterable[Sequence[object]]) -> Groups:
    """Names and rate ratios, checked."""
    return tuple((str(name), non_negative("a group's rate ratio", ratio)) for name, ratio in value)


def told(groups: Groups) -> tuple[str, ...]:
    """Whose rates these are, where not all groups have the same; the group with the largest is meant.

    >>> told((("body", 1.0), ("", 10.0)))
    ("Rates are those of group 1; the others keep their ratios: group 0 ('body') x0.1.",)
    """
    largest = max((ratio for _, ratio in groups), default=0.0)
    others = [(at, ratio / largest) for at, (_, ratio) in enumerate(groups) if ratio < largest]
    if not others:
        return ()
    meant = [_named(at, groups[at][0]) for at, (_, ratio) in enumerate(groups) if ratio == largest]
    each = [f"{_named(at, groups[at][0])} x{ratio:.3g}" for at, ratio in others]
    of, follow = (f"group{'s' * (len(names) > 1)} {_listed(names)}" for names in (meant, each))
    return (f"Rates are those of {of}; the others keep their ratios: {follow}.",)


def _named(at: int, name: str) -> str:
    return f"{at} ({name!r})" if name else str(at)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
