"""Small plots of metrics over training steps, as SVG that follows the page.

Their ink is `currentColor` and their lines `var(--series-0)` and so on, so the
page says which colours those are, in light and in dark.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib import ticker
from matplotlib.figure import Figure

from exgan_jax.evaluation.results import Results
from exgan_jax.report import tables
from exgan_jax.report.columns import THEMES, Column
from exgan_jax.report.tables import Line, Summary

SERIES = 6
"""Colours that a page has to define; more lines than that take them again."""
DASHES = ('', '6 3', '2 2', '8 3 2 3')
WIDTH, HEIGHT = 330, 210
_INK = '#0a0b0c'
_COLOURS = [f'#0d0e{index:02x}' for index in range(SERIES)]
_STYLE = {
  'svg.fonttype': 'none',
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.linewidth': 0.8,
  'font.size': 11,
  'lines.scale_dashes': False,
  **{
    name: _INK
    for name in ('text.color', 'axes.edgecolor', 'xtick.color', 'ytick.color')
  },
}


@dataclasses.dataclass(frozen=True)
class Plot:
  """A metric over training steps.

  Attributes:
    column: which metric.
    svg: the picture, to be put into a page.
  """

  column: Column
  svg: str


def colour(index: int) -> str:
  """CSS colour of the line of a model, by its place among them."""
  return f'var(--series-{index % SERIES})'


def dash(index: int) -> str:
  """Its `stroke-dasharray`: colour is not all that tells lines apart."""
  return DASHES[index % len(DASHES)]


def make_plots(
  found: Sequence[Results], models: Sequence[str], page_id: str = ''
) -> list[Plot]:
  """A plot for every metric that some model has at two steps or more.

  Args:
    found: of all models, runs and steps.
    models: in the order of their colours.
    page_id: tells these plots from others on the page.
  """
  steps = {
    model: [
      (step, _line([x for x in found if (x.model, x.step) == (model, step)]))
      for step in sorted({x.step for x in found if x.model == model})
    ]
    for model in models
  }
  made = []
  for _, _, columns in THEMES:
    for column in columns:
      if column.metric.endswith('_swapped'):
        continue  # Its ratio to what it is compared with tells more.
      points = {
        index: [
          (step, summary)
          for step, line in steps[model]
          if (summary := line.summary(column.metric))
        ]
        for index, model in enumerate(models)
      }
      if any(len(known) > 1 for known in points.values()):
        made.append(Plot(column, draw(points, page_id + column.metric)))
  return made


def _line(found: Sequence[Results]) -> Line:
  (line, *_) = tables.model_lines(found)
  return line


def draw(
  points: Mapping[int, Sequence[tuple[int, Summary]]], page_id: str
) -> str:
  """Draws a line a model, in a band of what its values are sure to.

  Args:
    points: of each model, by its place among them, steps and values.
    page_id: no other plot on the page may have it.

  Returns:
    An SVG element.
  """
  with matplotlib.rc_context(_STYLE | {'svg.hashsalt': page_id}):
    figure = Figure((WIDTH / 72, HEIGHT / 72), dpi=72, layout='constrained')
    axes = figure.subplots()
    for index, known in points.items():
      _draw_line(axes, index, known)
    axes.grid(axis='y', color=_INK, alpha=0.15, linewidth=0.8)
    axes.margins(x=0.03, y=0.08)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    file = io.StringIO()
    nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    figure.savefig(file, format='svg', transparent=True, metadata=nothing)
  return _for_a_page(file.getvalue())


def _draw_line(axes, index: int, known: Sequence[tuple[int, Summary]]) -> None:
  colour = _COLOURS[index % SERIES]
  numbers = [float(part) for part in dash(index).split()]
  style = (0, tuple(numbers)) if numbers else 'solid'
  xs = [step for step, _ in known]
  axes.plot(
    xs,
    [one.mean for _, one in known],
    color=colour,
    linewidth=1.8,
    linestyle=style,
    marker='o',
    markersize=4,
    gid=f'line-{index}',
  )
  sure = [(x, one.low, one.high) for x, one in known if one.low is not None]
  if len(sure) > 1:
    axes.fill_between(*zip(*sure, strict=True), color=colour, alpha=0.15, lw=0)


def _for_a_page(svg: str) -> str:
  """Takes out what a page must not hold twice, puts its colours and font in."""
  svg = svg[svg.index('<svg') :]
  svg = re.sub(r'<defs>\s*<style.*?</style>\s*</defs>', '', svg, flags=re.S)
  svg = re.sub(r' (width|height)="[\d.]+pt"', '', svg, count=2)
  svg = re.sub(r'<g id="(line-\d+)">', r'<g class="\1">', svg)
  svg = re.sub(r'<g id="[^"]*">', '<g>', svg)
  svg = re.sub(r'font-family: [^;"]*; ', '', svg)
  svg = svg.replace(_INK, 'currentColor')
  for index, sentinel in enumerate(_COLOURS):
    svg = svg.replace(sentinel, colour(index))
  return re.sub(r'\s*\n\s*', ' ', svg).strip()
