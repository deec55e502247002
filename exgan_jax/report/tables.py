"""The report's tables as data: Markdown and HTML show the same cells.

Results that differ in nothing but the weights, that is the seeds of one model,
share a row: their mean, and their standard deviation where there are several.
Of a single run the interval is shown, where it is known.
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
  """A metric of a row: its mean over runs, how many, and how sure it is."""

  mean: float
  runs: int
  low: float | None = None
  high: float | None = None


@dataclasses.dataclass(frozen=True)
class Line:
  """What a row is made of.

  Attributes:
    name: of the model or the method.
    detail: what tells it from others of that name.
    kind: `model`, `paper`, `baseline` or `folder`.
    metrics: of each run.
    intervals: of each run.
  """

  name: str
  detail: str
  kind: str
  metrics: Sequence[Metrics]
  intervals: Sequence[Intervals] = ()

  def summary(self, metric: str) -> Summary | None:
    """The mean; a standard deviation to each side of it, or its interval."""
    values = numbers(self.metrics, metric)
    if not values:
      return None
    mean = statistics.fmean(values)
    if len(values) > 1:
      spread = statistics.stdev(values)
      return Summary(mean, len(values), mean - spread, mean + spread)
    known = [one[metric] for one in self.intervals if metric in one]
    low, high = known[0] if len(known) == 1 else (None, None)
    return Summary(mean, 1, low, high)


@dataclasses.dataclass(frozen=True)
class Cell:
  """A number as text, with what stands beside it."""

  value: str = '-'
  spread: str = ''
  against: str = ''
  best: bool = False

  def __str__(self) -> str:
    bracket = self.against and f'({self.against})'
    return ' '.join(part for part in (self.value, self.spread, bracket) if part)


@dataclasses.dataclass(frozen=True)
class Row:
  line: Line
  cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Table:
  title: str
  note: str
  columns: tuple[Column, ...]
  rows: tuple[Row, ...]


def numbers(metrics: Iterable[Metrics], name: str) -> list[float]:
  values = (one.get(name) for one in metrics)
  return [value for value in values if isinstance(value, int | float)]


def model_lines(found: Sequence[Results]) -> list[Line]:
  """A line for every model, configuration but for the seed, and step."""
  rows: dict[tuple[str, str], list[Results]] = {}
  same = len({one.num_images for one in found}) == 1
  several = {
    one.model
    for one in found
    for other in found
    if one.model == other.model and _configuration(one) != _configuration(other)
  }
  for one in found:
    counted = '' if same else f', N = {one.num_images}'
    which = ''
    if one.model in several:
      which = f', configuration {_configuration(one)[:6]}'
    key = one.model, f'{one.step:,} steps{counted}{which}'
    rows.setdefault(key, []).append(one)
  return [
    Line(
      model,
      detail,
      'model',
      [run.metrics for run in runs],
      [run.intervals.get('model', {}) for run in runs],
    )
    for (model, detail), runs in rows.items()
  ]


def _configuration(one: Results) -> str:
  return str(one.provenance.get('config_but_seed_sha256', ''))


def baseline_lines(found: Iterable[Results]) -> list[Line]:
  """A line for every baseline: it is the same in all results that have it."""
  metrics: dict[str, Metrics] = {}
  intervals: dict[str, Intervals] = {}
  for one in found:
    for name, values in one.baselines.items():
      known = {k: v for k, v in values.items() if v is not None}
      metrics[name] = metrics.get(name, {}) | known
      interval = one.intervals.get(name, {})
      intervals[name] = intervals.get(name, {}) | interval
  return [
    Line(name, 'baseline', 'baseline', [values], [intervals[name]])
    for name, values in metrics.items()
  ]


def score_line(score: Score, detail: str) -> Line:
  return Line(
    score.method, detail, 'folder', [score.metrics], [score.intervals]
  )


def tables(lines: Sequence[Line], dataset: str | None) -> list[Table]:
  """Lines as tables, a theme each; what nobody has is left out.

  Args:
    lines: of models, then of whatever else.
    dataset: of the models, None where the paper's numbers have no place.
  """
  return [
    table
    for index, theme in enumerate(THEMES)
    if (
      table := _table(
        *theme, lines, dataset if index == 0 and dataset else None
      )
    )
  ]


def _table(
  title: str,
  note: str,
  columns: tuple[Column, ...],
  lines: Sequence[Line],
  dataset: str | None,
) -> Table | None:
  if not any(line.summary(c.metric) for line in lines for c in columns):
    return None
  shown = with_paper(lines, dataset) if dataset else lines
  columns = tuple(
    column
    for column in columns
    if any(line.summary(column.metric) for line in shown)
  )
  shown = [
    line for line in shown if any(line.summary(c.metric) for c in columns)
  ]
  by_column = [_cells(column, shown) for column in columns]
  rows = zip(shown, zip(*by_column, strict=True), strict=True)
  return Table(title, note, columns, tuple(Row(*row) for row in rows))


def with_paper(lines: Sequence[Line], dataset: str) -> list[Line]:
  """Puts each of the paper's rows under ours of the same model."""
  detail = (
    "the paper's; no held-out split is named there"
    if dataset == PAPER_DATASET
    else "the paper's, on Celeb-ID: another data set"
  )
  ordered = []
  for model, metrics in PAPER_METRICS.items():
    ordered += [one for one in lines if _is_model(one, model)]
    ordered.append(Line(model, detail, 'paper', [metrics]))
  return ordered + [line for line in lines if line not in ordered]


def _is_model(line: Line, name: str) -> bool:
  return line.kind == 'model' and line.name == name


def _cells(column: Column, lines: Sequence[Line]) -> list[Cell]:
  found = [line.summary(column.metric) for line in lines]
  ours = [
    round(one.mean, column.digits)
    for one, line in zip(found, lines, strict=True)
    if one and line.kind != 'paper'
  ]
  best = None
  if column.better and len(set(ours)) > 1:
    best = max(ours) if column.better > 0 else min(ours)
  plain = next((line for line in lines if _is_model(line, BASELINE)), None)
  base = plain and plain.summary(column.metric)
  return [
    _cell(
      column,
      one,
      None if line.kind == 'paper' or _is_model(line, BASELINE) else base,
      None if line.kind == 'paper' else best,
    )
    for one, line in zip(found, lines, strict=True)
  ]


def _cell(
  column: Column,
  one: Summary | None,
  base: Summary | None,
  best: float | None,
) -> Cell:
  if one is None:
    return Cell()
  digits, spread, against = column.digits, '', ''
  if one.runs > 1:
    spread = f'± {one.high - one.mean:.{digits}f}'
  elif one.low is not None:
    # Three figures of a bound are as much as a bootstrap knows.
    largest = max(abs(one.low), abs(one.high)) or 1.0
    kept = min(digits, max(0, 2 - math.floor(math.log10(largest))))
    spread = f'[{one.low:.{kept}f}, {one.high:.{kept}f}]'
  if base and base.mean and 'ratio' not in column.metric:
    against = f'{100 * (one.mean / base.mean - 1):+.1f} %'
  return Cell(
    f'{one.mean:.{digits}f}',
    spread,
    against,
    best is not None and round(one.mean, digits) == best,
  )
