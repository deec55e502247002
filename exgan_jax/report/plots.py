"""Small plots of metrics over training steps, as SVG that uses page styles.

Text is drawn in `currentColor` and lines in `var(--series-0)` and so on, which
the page defines for light and dark mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exgan_jax.evaluation.results import Results
from exgan_jax.report.columns import THEMES, Column
from exgan_jax.report.tables import Summary, model_lines

if TYPE_CHECKING:
  from matplotlib.typing import RcKeyType

SERIES = 6
"""Number of colors that the page defines; further lines reuse them."""
DASHES = ('', '6 3', '2 2', '8 3 2 3')
WIDTH, HEIGHT = 330, 210
_INK = '#0a0b0c'
# Each is replaced by a color of the page.
_COLORS = [f'#0d0e{index:02x}' for index in range(SERIES)]
_STYLE: dict[RcKeyType, Any] = {
  'svg.fonttype': 'none',
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.linewidth': 0.8,
  'font.size': 11,
  'lines.scale_dashes': False,
  'text.color': _INK,
  'axes.edgecolor': _INK,
  'xtick.color': _INK,
  'ytick.color': _INK,
}


class Plot(NamedTuple):
  """A metric over training steps, as an SVG element."""

  column: Column
  svg: str


def color(index: int) -> str:
  """Returns the CSS color of a model's line."""
  return f'var(--series-{index % SERIES})'


def dash(index: int) -> str:
  """Returns the `stroke-dasharray` of a model's line."""
  return DASHES[index % len(DASHES)]


def make_plots(
  found: Sequence[Results], models: Sequence[str], page_id: str = ''
) -> list[Plot]:
  """Returns a plot per metric that some model has at several steps.

  Args:
    found: results of all models, runs and steps.
    models: models in the order of their colors.
    page_id: prefix that distinguishes these plots from others on the page.
  """
  steps = {}
  for model in models:
    ours = [one for one in found if one.model == model]
    steps[model] = [
      (step, model_lines([one for one in ours if one.step == step])[0])
      for step in sorted({one.step for one in ours})
    ]
  made = []
  for _, _, columns in THEMES:
    for column in columns:
      if column.metric.endswith('_swapped'):
        continue  # The ratio has its own plot.
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


def draw(
  points: Mapping[int, Sequence[tuple[int, Summary]]], page_id: str
) -> str:
  """Draws a line per model, in a band of its bounds, as an SVG element.

  Args:
    points: steps and values by the index of the model.
    page_id: unique on the page.
  """
  with matplotlib.rc_context({**_STYLE, 'svg.hashsalt': page_id}):
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


def _draw_line(
  axes: Axes, index: int, known: Sequence[tuple[int, Summary]]
) -> None:
  line_color = _COLORS[index % SERIES]
  numbers = [float(part) for part in dash(index).split()]
  axes.plot(
    [step for step, _ in known],
    [one.mean for _, one in known],
    color=line_color,
    linewidth=1.8,
    linestyle=(0, tuple(numbers)) if numbers else 'solid',
    marker='o',
    markersize=4,
    gid=f'line-{index}',
  )
  sure = [(step, *one.bounds) for step, one in known if one.bounds]
  if len(sure) > 1:
    steps, low, high = zip(*sure, strict=True)
    axes.fill_between(steps, low, high, color=line_color, alpha=0.15, lw=0)


def _for_a_page(svg: str) -> str:
  """Removes ids, sizes, fonts and styles, and inserts the page's colors."""
  svg = svg[svg.index('<svg') :]
  svg = re.sub(r'<defs>\s*<style.*?</style>\s*</defs>', '', svg, flags=re.S)
  svg = re.sub(r' (width|height)="[\d.]+pt"', '', svg, count=2)
  svg = re.sub(r'<g id="(line-\d+)">', r'<g class="\1">', svg)
  svg = re.sub(r'<g id="[^"]*">', '<g>', svg)
  svg = re.sub(r'font-family: [^;"]*; ', '', svg)
  svg = svg.replace(_INK, 'currentColor')
  for index, sentinel in enumerate(_COLORS):
    svg = svg.replace(sentinel, color(index))
  return re.sub(r'\s*\n\s*', ' ', svg).strip()
