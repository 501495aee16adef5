"""How objects show themselves in a notebook; plots and pages are imported when first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def public(names: Iterable[str]) -> list[str]:
    """What `dir` shows of a package: its public names, which are what a reader looks for."""
    return sorted(name for name in names if name[0] != "_" or name.startswith("__"))


class Displayed:
    """An object with a plot and words for a notebook."""

    __slots__ = ()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it on `ax`, or on the Axes of a new figure; `cyclr.plot` has functions with more options.

        Args:
            ax: Axes to draw on; may already show other objects that have the same horizontal axis.

        Returns:
            The Axes.

        Raises:
            ValueError: If there is nothing to draw, or `ax` has another horizontal axis.
            ImportError: If matplotlib is not installed.
        """
        axes: Axes = import_module("cyclr.plot").show(self, ax)
        return axes

    def _repr_html_(self) -> str:
        words: str = import_module("cyclr._page.notebook").words(self)
        try:
            image: str = import_module("cyclr.plot").image(self)
        except (ImportError, ValueError):  # without matplotlib, or with nothing to draw, there are words
            return words
        return image + words
