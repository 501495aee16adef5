"""Reports: studies, range tests, plans and schedules as one self-contained HTML page or as Markdown.

Jinja2 writes the page and Plotly draws its figures; both are loaded when a page is made (`pip install cyclr[report]`).
To add your own part to a report, register a *panel*: a function that takes the shown object and returns a `Part`.
"""

from cyclr._displayed import public as _public
from cyclr._page.blocks import Axis as Axis
from cyclr._page.blocks import Designer as Designer
from cyclr._page.blocks import Facts as Facts
from cyclr._page.blocks import Figure as Figure
from cyclr._page.blocks import Figures as Figures
from cyclr._page.blocks import Line as Line
from cyclr._page.blocks import Mark as Mark
from cyclr._page.blocks import Part as Part
from cyclr._page.blocks import Points as Points
from cyclr._page.blocks import Section as Section
from cyclr._page.blocks import Sentences as Sentences
from cyclr._page.blocks import Table as Table
from cyclr._page.registry import describe as describe
from cyclr._page.registry import panel as panel
from cyclr._page.registry import withdraw as withdraw
from cyclr._page.views import Comparison as Comparison
from cyclr._page.views import Draft as Draft
from cyclr._page.views import Reading as Reading
from cyclr._page.views import Shown as Shown
from cyclr.report._html import page as page
from cyclr.report._html import write as write
from cyclr.report._markdown import markdown as markdown
from cyclr.report._read import read as read


def __dir__() -> list[str]:
    return _public(globals())
