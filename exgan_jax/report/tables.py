"""The tables of the report, shared by Markdown and HTML.

Results that differ only in the seed share a row: their mean, and if there are
several, their standard deviation. A single run shows its bootstrap interval.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from exgan_jax.evaluation.results import Intervals, Metrics, Results, Score
from exgan_jax.report.columns import (
  PAPER_DATASET,
  PAPER_METRICS,
  THEMES,
  Column,
)

BASELINE = 'gan'


class Summary(NamedTuple):
  """A metric in a row: mean over runs, number of runs, and bounds."""

  mean: float
  runs: int
  bounds: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Line:
  """The data of a row.

  Attributes:
    name: name of the model or the method.
    detail: distinguishes rows of the same name.
    kind: `model`, `paper`, `baseline` or `folder`.
    metrics: metrics of each run.
    intervals: intervals of each run.
  """

  name: str
  detail: str
  kind: str
  metrics: Sequence[Metrics]
  intervals: Sequence[Intervals] = ()

  def summary(self, metric: str) -> Summary | None:
    """Returns the mean; bounds are a standard deviation or the interval."""
    found = (one.get(metric) for one in self.metrics)
    values = [value for value in found if isinstance(value, int | float)]
    if not values:
      return None
    mean = statistics.fmean(values)
    if len(values) > 1:
      spread = statistics.stdev(values)
      return Summary(mean, len(values), (mean - spread, mean + spread))
    known = [one[metric] for one in self.intervals if metric in one]
    if len(known) != 1:
      return Summary(mean, 1)
    low, high = known[0]
    return Summary(mean, 1, (low, high))

  def is_model(self, name: str) -> bool:
    return self.kind == 'model' and self.name == name


@dataclasses.dataclass(frozen=True)
class Cell:
  """A number as text, its spread, and its difference to the baseline."""

  value: str = '-'
  spread: str = ''
  against: str = ''
  best: bool = False

  def __str__(self) -> str:
    bracket = self.against and f'({self.against})'
    return ' '.join(part for part in (self.value, self.spread, bracket) if part)


class Row(NamedTuple):
  line: Line
  cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Table:
  title: str
  note: str
  columns: Sequence[Column]
  rows: Sequence[Row]

  @property
  def has_paper(self) -> bool:
    return any(row.line.kind == 'paper' for row in self.rows)


def model_lines(found: Sequence[Results]) -> list[Line]:
  """Returns a line per model, step, and configuration without the seed."""
  counts = {one.num_images for one in found}
  configurations: dict[str, set[str]] = {}
  for one in found:
    configurations.setdefault(one.model, set()).add(_configuration(one))
  rows: dict[tuple[str, str], list[Results]] = {}
  for one in found:
    detail = f'{one.step:,} steps'
    if len(counts) > 1:
      detail += f', N = {one.num_images}'
    if len(configurations[one.model]) > 1:
      detail += f', configuration {_configuration(one)[:6]}'
    rows.setdefault((one.model, detail), []).append(one)
  return [
    Line(
      *(model, detail, 'model'),
      [run.metrics for run in runs],
      [run.intervals.get('model', {}) for run in runs],
    )
    for (model, detail), runs in rows.items()
  ]


def _configuration(one: Results) -> str:
  return str(one.provenance.get('config_but_seed_sha256', ''))


def baseline_lines(found: Iterable[Results]) -> list[Line]:
  """Returns a line per baseline, which is the same in all results."""
  metrics: dict[str, Metrics] = {}
  intervals: dict[str, Intervals] = {}
  for one in found:
    for name, values in one.baselines.items():
      known = {k: v for k, v in values.items() if v is not None}
      metrics.setdefault(name, {}).update(known)
      intervals.setdefault(name, {}).update(one.intervals.get(name, {}))
  return [
    Line(name, 'baseline', 'baseline', [values], [intervals[name]])
    for name, values in metrics.items()
  ]


def score_line(score: Score, detail: str) -> Line:
  return Line(
    score.method, detail, 'folder', [score.metrics], [score.intervals]
  )


def tables(lines: Sequence[Line], dataset: str | None) -> list[Table]:
  """Returns one table per theme, without empty tables, rows and columns.

  Args:
    lines: lines of models, then of everything else.
    dataset: data set of the models; None to leave out the paper's numbers.
  """
  made = []
  for index, (title, note, columns) in enumerate(THEMES):
    if not any(line.summary(c.metric) for line in lines for c in columns):
      continue
    shown = lines
    if index == 0 and dataset:
      shown = _with_paper(lines, dataset)
    columns = tuple(
      column
      for column in columns
      if any(line.summary(column.metric) for line in shown)
    )
    shown = [
      line for line in shown if any(line.summary(c.metric) for c in columns)
    ]
    by_column = [_cells(column, shown) for column in columns]
    by_row = zip(*by_column, strict=True)
    rows = [Row(*row) for row in zip(shown, by_row, strict=True)]
    made.append(Table(title, note, columns, rows))
  return made


def _with_paper(lines: Sequence[Line], dataset: str) -> list[Line]:
  """Inserts the paper's rows below ours of the same model."""
  detail = (
    'the paper, which names no held-out split'
    if dataset == PAPER_DATASET
    else 'the paper, on another data set (Celeb-ID)'
  )
  ordered = []
  for model, metrics in PAPER_METRICS.items():
    ordered += [line for line in lines if line.is_model(model)]
    ordered.append(Line(model, detail, 'paper', [metrics]))
  return ordered + [line for line in lines if line not in ordered]


def _cells(column: Column, lines: Sequence[Line]) -> list[Cell]:
  """Returns the cells of a column.

  The paper's numbers are neither compared with the baseline nor marked as best.
  """
  digits = column.digits
  found = [line.summary(column.metric) for line in lines]
  ours = {
    round(one.mean, digits)
    for one, line in zip(found, lines, strict=True)
    if one and line.kind != 'paper'
  }
  best = None
  if column.best is not None and len(ours) > 1:
    best = min(ours, key=column.badness)
  baselines = [line for line in lines if line.is_model(BASELINE)]
  base = baselines[0].summary(column.metric) if baselines else None
  cells = []
  for one, line in zip(found, lines, strict=True):
    if one is None:
      cells.append(Cell())
      continue
    against = ''
    is_compared = line.kind != 'paper' and not line.is_model(BASELINE)
    if is_compared and base and base.mean and 'ratio' not in column.metric:
      against = f'{100 * (one.mean / base.mean - 1):+.1f} %'
    is_best = line.kind != 'paper' and round(one.mean, digits) == best
    value = f'{one.mean:.{digits}f}'
    cells.append(Cell(value, _spread(one, digits), against, is_best))
  return cells


def _spread(one: Summary, digits: int) -> str:
  """Formats the bounds of a number."""
  if one.bounds is None:
    return ''
  low, high = one.bounds
  if one.runs > 1:
    return f'± {high - one.mean:.{digits}f}'
  # A bootstrap is not accurate to more than three significant digits.
  largest = max(abs(low), abs(high)) or 1.0
  kept = min(digits, max(0, 2 - math.floor(math.log10(largest))))
  return f'[{low:.{kept}f}, {high:.{kept}f}]'
