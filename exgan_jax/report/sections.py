"""What a report says of one data set, split and resolution."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exgan_jax.config import PRESETS
from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.evaluation.results import Results, Score
from exgan_jax.report import figures, plots
from exgan_jax.report import tables as tables_lib
from exgan_jax.report.columns import PAPER_DATASET
from exgan_jax.report.figures import Figure
from exgan_jax.report.plots import Plot
from exgan_jax.report.tables import Line, Table

NO_PICTURES = (
  'There are no pictures: none of the results has a gallery (.npz) beside it.'
)
COMPRESSOR = 'compressor'
# What a title says of the protocol.
_PROTOCOLS = {'next-image': '', 'none': ', compressor'}
# Of a provenance: what rows should share to be compared.
_SHARED = {
  'records_sha256': 'records',
  'encoder_sha256': 'compressor, so the distances of codes are not comparable',
  'inception_sha256': 'Inception weights, so neither are their scores',
}


@dataclasses.dataclass(frozen=True)
class Run:
  """Results, and the pictures beside them."""

  found: Results
  gallery: Gallery | None = None


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of the report; every text is plain, for Markdown and HTML to escape.

  Attributes:
    title: data set, split, resolution.
    lead: of how many pictures, and how they were measured.
    figures: pictures side by side.
    plots: of metrics over training steps.
    models: in the order of the plots' colours.
    tables: of metrics, a row a model or method.
    notes: on what cannot be compared.
    skipped: what was not computed, and why.
    provenance: what made the numbers: a title, and names with values.
  """

  title: str
  lead: str
  figures: list[Figure]
  plots: list[Plot]
  models: list[str]
  tables: list[Table]
  notes: list[str]
  skipped: list[str]
  provenance: list[tuple[str, dict[str, str]]]


def sections(runs: Sequence[Run], scores: Sequence[Score]) -> list[Section]:
  """One for every data set, split, resolution and protocol; then the folders.

  Models come in the order of the presets.

  A score of two folders joins the only section of as many pictures of its size;
  where there is none, or several, it goes into a section of its own.
  """
  groups = collections.defaultdict(list)
  order = list(PRESETS)
  known = sorted(
    (run for run in runs if run.found.model in order),
    key=lambda run: order.index(run.found.model),
  )
  others = [run for run in runs if run.found.model not in order]
  for run in (*known, *others):
    one = run.found
    groups[one.dataset, one.split, one.resolution, one.protocol].append(run)
  joined, alone = collections.defaultdict(list), []
  for score in scores:
    fits = [where for where, group in groups.items() if _fits(score, group)]
    (joined[fits[0]] if len(fits) == 1 else alone).append(score)
  made = [
    _section(_distinct(group), joined[where]) for where, group in groups.items()
  ]
  return made + ([_folders(alone)] if alone else [])


def _fits(score: Score, group: Iterable[Run]) -> bool:
  size = score.num_images, score.resolution
  return any(
    size == (run.found.num_images, run.found.resolution)
    and run.found.model != COMPRESSOR
    for run in group
  )


def _distinct(runs: Sequence[Run]) -> list[Run]:
  """Of several results of the same weights, the last that were given."""
  kept = {}
  for index, run in enumerate(runs):
    weights = run.found.provenance.get('weights_sha256')
    same = (run.found.model, run.found.step, str(weights))
    kept[same if weights else index] = run
  return list(kept.values())


def newest(found: Sequence[Results]) -> list[Results]:
  """Of every run, that is model and configuration, its newest step alone."""

  def identity(index: int) -> Any:
    config = found[index].provenance.get('config_sha256')
    return (found[index].model, str(config)) if config else index

  last: dict[Any, int] = {}
  for index, one in enumerate(found):
    last[identity(index)] = max(one.step, last.get(identity(index), 0))
  return [
    one for index, one in enumerate(found) if one.step == last[identity(index)]
  ]


def _section(runs: Sequence[Run], scores: Sequence[Score]) -> Section:
  every = [run.found for run in runs]
  found = newest(every)
  one = found[0]
  lines = [
    *tables_lib.model_lines(found),
    *tables_lib.baseline_lines(found),
    *(tables_lib.score_line(score, 'score of a folder') for score in scores),
  ]
  paints = any(other.model != COMPRESSOR for other in found)
  galleries: dict[str, Gallery] = {}
  for run in runs:
    if run.gallery and any(run.found is other for other in found):
      galleries.setdefault(run.found.model, run.gallery)
  made = figures.make_figures(galleries, lines)
  models = list(dict.fromkeys(other.model for other in found))
  tables = tables_lib.tables(lines, one.dataset if paints else None)
  protocol = _PROTOCOLS.get(one.protocol, f', {one.protocol}')
  title = f'{one.dataset}, {one.split}, {one.resolution} px{protocol}'
  return Section(
    title=title,
    lead=_lead(found, lines),
    figures=made,
    plots=plots.make_plots(every, models, title),
    models=models,
    tables=tables,
    notes=[
      *_picture_notes(made, galleries, models),
      *_comparison_notes(found, tables),
    ],
    skipped=_skipped(found, scores),
    provenance=_provenance(
      [
        (f'{other.model}, {other.step:,} steps', other.provenance)
        for other in found
      ]
    ),
  )


def _folders(scores: Sequence[Score]) -> Section:
  lines = [
    tables_lib.score_line(
      score,
      f'N = {score.num_images}, '
      + (f'{score.resolution} px' if score.resolution else 'several sizes'),
    )
    for score in scores
  ]
  return Section(
    title='Folders',
    lead='Pictures compared file by file. Their numbers go with none of the'
    ' evaluations here: those are not of as many pictures of the same size.',
    figures=[],
    plots=[],
    models=[],
    tables=tables_lib.tables(lines, None),
    notes=[],
    skipped=_skipped([], scores),
    provenance=_provenance([(one.method, one.provenance) for one in scores]),
  )


def _lead(found: Sequence[Results], lines: Sequence[Line]) -> str:
  counts = ' or '.join(map(str, sorted({one.num_images for one in found})))
  variants = {one.metrics.get('ms_ssim_variant') for one in found} - {None}
  parts = [f'{counts} pictures, protocol {found[0].protocol}.']
  if any('fid' in name or 'frechet' in name for name in _known(lines)):
    parts.append(f'N = {counts} for FID and every other Fréchet distance.')
  parts.append('Images in [0, 1].')
  if variants:
    parts.append(f'MS-SSIM variant: {", ".join(sorted(map(str, variants)))}.')
  return ' '.join(parts)


def _known(lines: Iterable[Line]) -> set[str]:
  return {
    name
    for line in lines
    for metrics in line.metrics
    for name, value in metrics.items()
    if value is not None
  }


def _picture_notes(
  made: Sequence[Figure], galleries: Mapping[str, Gallery], models: list[str]
) -> list[str]:
  if not galleries:
    return [NO_PICTURES]
  if not made:
    return ['There are no pictures: the galleries share none.']
  without = [model for model in models if model not in galleries]
  return [f'There are no pictures of {", ".join(without)}.'] if without else []


def _comparison_notes(
  found: Sequence[Results], tables: Sequence[Table]
) -> list[str]:
  notes = []
  for name, what in _SHARED.items():
    hashes = {str(one.provenance.get(name)) for one in found} - {'None'}
    if len(hashes) > 1:
      notes.append(f'Not all rows are of the same {what}.')
  if any(row.line.kind == 'paper' for table in tables for row in table.rows):
    notes.append(
      'The paper does not say which range its L1 is of, which variant its'
      ' MS-SSIM, nor of how many pictures its FID.'
    )
    if found[0].dataset != PAPER_DATASET:
      notes.append(
        'Its numbers are of photographs of celebrities, ours of'
        f' {found[0].dataset}: beside each other they say how the models'
        ' compare among themselves, not which are better.'
      )
  return notes


def _skipped(found: Sequence[Results], scores: Sequence[Score]) -> list[str]:
  reasons = collections.defaultdict(dict)
  for one in (*found, *scores):
    for metric, reason in one.skipped.items():
      reasons[reason][metric] = None
  return [f'{", ".join(names)}: {why}' for why, names in reasons.items()]


def _provenance(
  made: Sequence[tuple[str, Mapping[str, Any]]],
) -> list[tuple[str, dict[str, str]]]:
  """What all share once, and then what is each one's own."""
  flat = [(title, _flat(values)) for title, values in made]
  shared = set.intersection(*(set(values.items()) for _, values in flat))
  own = [
    (title, {k: v for k, v in values.items() if (k, v) not in shared})
    for title, values in flat
  ]
  parts = [('All of them', dict(sorted(shared))), *own]
  return [(title, values) for title, values in parts if values]


def _flat(values: Any, name: str = '') -> dict[str, str]:
  if isinstance(values, list):
    values = dict(enumerate(values))
  if not isinstance(values, dict):
    return {} if values is None else {name: str(values)}
  return {
    key: text
    for inner, value in values.items()
    for key, text in _flat(value, f'{name} {inner}'.strip()).items()
  }
