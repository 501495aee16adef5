"""A study, a range test or a plan as one HTML page that needs nothing else: no network, no other file.

Jinja2 writes the page, Plotly draws its figures; both are loaded when a page is made (`pip install cyclr[report]`).
"""

from cyclr.report.files import read as read
from cyclr.report.page import page as page
from cyclr.report.page import write as write
