"""Renders the report as one self-contained HTML page."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence

import jinja2

from exgan_jax.report import columns, plots
from exgan_jax.report.figures import Figure
from exgan_jax.report.sections import Section

TEMPLATE = 'page.html.jinja'
SHOWN_ROWS = 3
"""Rows of a figure that are shown before a click."""


def render(sections: Sequence[Section]) -> str:
  """Returns the page, with all text escaped."""
  return template(TEMPLATE).render(sections=sections)


def template(name: str) -> jinja2.Template:
  """Reads a template of this package, which escapes what it is given."""
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.globals |= {
    'color': plots.color,
    'dash': plots.dash,
    'how_to_read': columns.HOW_TO_READ,
    'narrow': narrow,
    'shown_rows': SHOWN_ROWS,
    'paper': columns.PAPER,
    'paper_url': columns.PAPER_URL,
  }
  source = importlib.resources.files('exgan_jax.report').joinpath(name)
  return environment.from_string(source.read_text(encoding='utf-8'))


def narrow(figure: Figure) -> int:
  """Returns the number of images side by side on a phone."""
  count = len(figure.columns)
  return 2 if count in (2, 4) else min(count, 3)
