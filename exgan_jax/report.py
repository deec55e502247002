"""results.json files to one table, in Markdown.

Results that differ in nothing but the weights, that is the seeds of one model,
share a row: their mean, and their standard deviation where there are several.
"""

from __future__ import annotations

import collections
import pathlib
import statistics
from collections.abc import Iterable, Sequence

from exgan_jax import results as results_lib
from exgan_jax.results import Results

FILENAME = 'report.md'
BASELINE = 'gan'
# Metric, its column's title, digits.
COLUMNS = (
  ('l1', 'L1', 5),
  ('l1_hole', 'L1 of the hole', 5),
  ('ms_ssim', '1 - MS-SSIM', 5),
  ('fid', 'FID', 2),
  ('inception_score', 'Inception Score', 2),
  ('frechet_distance_unverified', 'Fréchet distance, unverified', 2),
  ('inception_score_unverified', 'Inception Score, unverified', 2),
  ('l1_hole_swapped_ratio', 'L1 of the hole, stranger / right', 3),
  ('code_distance', 'code distance', 2),
  ('code_distance_swapped', 'stranger', 2),
  ('iris_delta_e', 'iris CIEDE2000', 2),
  ('iris_delta_e_swapped', 'stranger', 2),
)

Key = tuple[str, ...]


def write_report(paths: Sequence[str], output: str | pathlib.Path) -> str:
  """Writes `report.md` into a folder and returns its text.

  Raises:
    InputError: a file cannot be read, or holds no results.
    OSError: the report cannot be written.
  """
  text = report([results_lib.load(path) for path in paths])
  folder = pathlib.Path(output)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / FILENAME).write_text(text)
  return text


def report(found: Iterable[Results]) -> str:
  """Returns the tables, one for every data set, split and resolution."""
  groups = collections.defaultdict(list)
  for one in found:
    where = (one.dataset, one.split, str(one.resolution), one.protocol)
    groups[where].append(one)
  return '\n\n'.join(_table(where, rows) for where, rows in groups.items())


def _table(where: Key, found: list[Results]) -> str:
  dataset, split, resolution, protocol = where
  rows = collections.defaultdict(list)
  counts = set()
  for one in found:
    rows[one.model, f'{one.step:,} steps'].append(one.metrics)
    counts.add(one.num_images)
  # A baseline is the same in all of them.
  for one in found:
    for name, metrics in one.baselines.items():
      rows[name, ''] = [metrics]
  shown = [
    column
    for column in COLUMNS
    if any(_numbers(metrics, column[0]) for metrics in rows.values())
  ]
  lines = [
    f'## {dataset}, {split}, {resolution} px',
    '',
    f'{" or ".join(map(str, sorted(counts)))} pictures, protocol {protocol}.'
    ' Images in [0, 1]. Smaller is better, but for what is painted after a'
    ' stranger and for the Inception Score. In brackets: against `gan`.',
    '',
    '| model | runs | ' + ' | '.join(title for _, title, _ in shown) + ' |',
    '|---|---|' + '---|' * len(shown),
  ]
  plain = next((m for (name, _), m in rows.items() if name == BASELINE), None)
  for (name, steps), metrics in rows.items():
    cells = [
      _cell(metrics, metric, digits, None if name == BASELINE else plain)
      for metric, _, digits in shown
    ]
    title = f'`{name}`' + (f', {steps}' if steps else '')
    lines.append(f'| {title} | {len(metrics)} | ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines) + '\n'


def _numbers(metrics: list[dict], name: str) -> list[float]:
  values = (one.get(name) for one in metrics)
  return [value for value in values if isinstance(value, int | float)]


def _cell(
  metrics: list[dict], name: str, digits: int, plain: list[dict] | None
) -> str:
  values = _numbers(metrics, name)
  if not values:
    return '-'
  mean = statistics.fmean(values)
  text = f'{mean:.{digits}f}'
  if len(values) > 1:
    text += f' ± {statistics.stdev(values):.{digits}f}'
  against = _numbers(plain or [], name)
  if against and 'ratio' not in name and (base := statistics.fmean(against)):
    text += f' ({100 * (mean / base - 1):+.1f} %)'
  return text
