"""Makes the table of the paper's claims, from claims.toml and the records."""

from __future__ import annotations

import math
import statistics
import tomllib
from pathlib import Path

import msgspec
from ramps import NAMES, bounds_of, curve_of
from rows import HERE, Group, Row, final, line_of, read_runs

from cyclr.study._records import Run
from cyclr.study._stats import Comparison, detectable, many_to_one

NEAR = 1.0  # percentage points that "as good" allows


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim, and the two rows, or the range test, that put it to the test."""

    says: str
    where: str
    row: str
    than: str = ""
    paper: tuple[float, float] | None = None
    as_good: bool = False
    here: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    claim: tuple[Claim, ...]


def claims_table(groups: tuple[Group, ...], records: Path, path: Path = HERE / "claims.toml") -> str:
    """The table as Markdown."""
    try:
        claims = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).claim
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SystemExit(f"{path.name}: {error}") from None
    places = {f"{group.name}/{row.name}": (group, row) for group in groups for row in group.filled()}
    for claim in claims:
        for name in (claim.row, claim.than):
            if name and name not in places:
                raise SystemExit(f"{path.name}: no row is called {name!r}")
    heads = ["claim", "in the paper, %", "here, %", "difference here", "verdict"]
    lines = [line_of(*heads), f"|{'---|' * len(heads)}"]
    for claim in claims:
        group, row = places[claim.row]
        if not claim.than:
            lines.append(line_of(*of_bounds(claim, list(read_runs(group, row, records).values()))))
            continue
        lines.append(line_of(*cells(claim, finals(group, row, records), finals(*places[claim.than], records))))
    return "\n".join(lines)


def finals(group: Group, row: Row, records: Path) -> dict[int, float]:
    """The accuracy at the end of each seed's run."""
    return {seed: final(run) for seed, run in read_runs(group, row, records).items()}


def cells(claim: Claim, one: dict[int, float], other: dict[int, float]) -> list[str]:
    """The cells of a claim's line."""
    says = claim.says + (f" ({claim.where})" if claim.where else "")
    paper = "" if claim.paper is None else f"{claim.paper[0]:.1f} against {claim.paper[1]:.1f}"
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return [says, paper, "", "", "not measured here"]
    means = (statistics.fmean(values[seed] for seed in seeds) for values in (one, other))
    here = " against ".join(f"{mean:.1f}" for mean in means) + (f"; {claim.here}" if claim.here else "")
    if len(seeds) < 2:
        change = one[seeds[0]] - other[seeds[0]]
        return [says, paper, here, f"{change:+.1f}, one seed", f"open: one seed{direction(claim, change)}"]
    (found,) = many_to_one([[one[seed] for seed in seeds]], [other[seed] for seed in seeds])
    change = f"{found.difference.mean:+.1f}"
    if not math.isnan(found.p) and found.spread:
        change += f" ({found.difference.low:+.1f} to {found.difference.high:+.1f})"
    return [says, paper, here, f"{change}, {len(seeds)} seeds", verdict(claim, found)]


def of_bounds(claim: Claim, runs: list[Run]) -> list[str]:
    """The cells of a claim about the bounds that a range test shows: the paper read them off by eye."""
    assert claim.paper is not None
    low, high = claim.paper
    says, paper = f"{claim.says} ({claim.where})", f"rates of {low:g} to {high:g}"
    if not runs:
        return [says, paper, "", "", "not measured here"]
    curve = curve_of(runs[0])
    found = {name: bounds_of(curve, signal) for signal, name in NAMES.items()}
    here = [f"{'none' if one is None else f'{one.base_lr:.2g} to {one.max_lr:.2g}'} in the {name}"
            for name, one in found.items()]  # fmt: skip
    inside = [name for name, one in found.items() if one and one.max_interval
              and one.max_interval[0] <= high <= one.max_interval[1]]  # fmt: skip
    known = "; ".join([*here, *filter(None, [claim.here])])
    if len(inside) == len(found):
        return [says, paper, known, "", "holds: the paper's upper bound is in both intervals of ours"]
    where = f"that of the {inside[0]} only" if inside else "no interval of ours"
    return [says, paper, known, "", f"open: the paper's upper bound is in {where}"]


def direction(claim: Claim, change: float) -> str:
    """What a difference without an interval says."""
    if claim.as_good:
        return ", within one point" if change > -NEAR else ", more than a point below"
    return ", in the direction of the claim" if change > 0 else ", against the claim"


def verdict(claim: Claim, found: Comparison) -> str:
    """Whether the 95 % interval of the difference, unadjusted, decides the claim."""
    low, high = found.difference.low, found.difference.high
    if math.isnan(found.p):
        said = "open: equal differences on all seeds say nothing of their variation"
        return said + direction(claim, found.difference.mean)
    if claim.as_good:
        if low > -NEAR:
            return "holds within one point, but lower" if high < 0 else "holds"
        if high < -NEAR:
            return "does not hold"
        return f"open{direction(claim, found.difference.mean)}"
    if low > 0:
        return "holds"
    if high < 0:
        return "does not hold: worse"
    if not found.spread:
        return "open: no difference on any seed"
    return f"open: no significant difference; these seeds would show {detectable(found):.1f} points"
