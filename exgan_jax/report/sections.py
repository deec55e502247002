"""The content of the report: one section per data set, split and resolution."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from exgan_jax.config import PRESETS
from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.evaluation.results import Results, Score, size_text
from exgan_jax.report import figures, plots
from exgan_jax.report import tables as tables_lib
from exgan_jax.report.columns import PAPER_DATASET
from exgan_jax.report.figures import Figure
from exgan_jax.report.plots import Plot
from exgan_jax.report.tables import Line, Table

NO_IMAGES = 'No images: none of the results has a gallery (.npz) beside it.'
COMPRESSOR = 'compressor'
# How a title shows the protocol.
_PROTOCOLS = {'next-image': '', 'none': ', compressor', 'blinks': ''}
# Fields of the provenance that comparable rows share.
_SHARED = {
  'records_sha256': 'records',
  'encoder_sha256': 'compressor, so code distances cannot be compared',
  'inception_sha256': 'Inception weights, so their metrics cannot be compared',
}


class Run(NamedTuple):
  """Results, and the gallery beside them."""

  found: Results
  gallery: Gallery | None = None


@dataclasses.dataclass(frozen=True)
class Section:
  """A section of the report, in plain text that the renderers escape.

  Attributes:
    title: data set, split, resolution.
    lead: number of images and details of the metrics.
    tables: metrics, with a row per model or method.
    skipped: metrics that were not computed, and why.
    provenance: titles, each with names and values.
    figures: images side by side.
    plots: metrics over training steps.
    models: models in the order of the plots' colors.
    notes: limits of the comparison.
  """

  title: str
  lead: str
  tables: list[Table]
  skipped: list[str]
  provenance: list[tuple[str, dict[str, str]]]
  figures: Sequence[Figure] = ()
  plots: Sequence[Plot] = ()
  models: Sequence[str] = ()
  notes: Sequence[str] = ()


def sections(runs: Sequence[Run], scores: Sequence[Score]) -> list[Section]:
  """Returns a section per data set, split, resolution and protocol.

  Models are in the order of the presets. A score joins the only section with
  the same number and size of images. Scores without such a section, or with
  several, are in a section of their own, the last.
  """
  order = list(PRESETS)
  groups = collections.defaultdict(list)
  for run in sorted(
    runs,
    key=lambda run: (
      order.index(run.found.model) if run.found.model in order else len(order)
    ),
  ):
    one = run.found
    groups[one.dataset, one.split, one.resolution, one.protocol].append(run)
  joined: dict[Any, list[Score]] = collections.defaultdict(list)
  alone: list[Score] = []
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
    size == (found.num_images, found.resolution)
    and found.model != COMPRESSOR
    and score.metrics.keys() & found.metrics.keys()
    for found, _ in group
  )


def _distinct(runs: Sequence[Run]) -> list[Run]:
  """Keeps the last of several results of the same weights."""
  kept: dict[Any, Run] = {}
  for index, run in enumerate(runs):
    weights = run.found.provenance.get('weights_sha256')
    same = (run.found.model, run.found.step, str(weights))
    kept[same if weights else index] = run
  return list(kept.values())


def _newest(runs: Sequence[Run]) -> list[Run]:
  """Keeps the newest step of every model and configuration."""
  keys: list[Any] = []
  last: dict[Any, int] = {}
  for index, (found, _) in enumerate(runs):
    config = found.provenance.get('config_sha256')
    keys.append((found.model, str(config)) if config else index)
    last[keys[-1]] = max(found.step, last.get(keys[-1], 0))
  return [
    run
    for key, run in zip(keys, runs, strict=True)
    if run.found.step == last[key]
  ]


def _section(runs: Sequence[Run], scores: Sequence[Score]) -> Section:
  newest = _newest(runs)
  found = [run.found for run in newest]
  one = found[0]
  lines = [
    *tables_lib.model_lines(found),
    *tables_lib.baseline_lines(found),
    *(tables_lib.score_line(score, 'score of a folder') for score in scores),
  ]
  paints = any(other.model != COMPRESSOR for other in found)
  galleries: dict[str, Gallery] = {}
  for run in newest:
    if run.gallery:
      galleries.setdefault(run.found.model, run.gallery)
  made = figures.make_figures(galleries, lines)
  models = list(dict.fromkeys(other.model for other in found))
  tables = tables_lib.tables(lines, one.dataset if paints else None)
  protocol = _PROTOCOLS.get(one.protocol, f', {one.protocol}')
  title = f'{one.dataset}, {one.split}, {size_text(one.resolution)}{protocol}'
  return Section(
    title=title,
    lead=_lead(found, lines),
    tables=tables,
    skipped=_skipped([*found, *scores]),
    provenance=_provenance(
      [
        (f'{other.model}, {other.step:,} steps', other.provenance)
        for other in found
      ]
    ),
    figures=made,
    plots=plots.make_plots([run.found for run in runs], models, title),
    models=models,
    notes=[
      *_image_notes(made, galleries, models),
      *_comparison_notes(found, tables),
    ],
  )


def _folders(scores: Sequence[Score]) -> Section:
  lines = []
  for score in scores:
    size = f'N = {score.num_images}, {size_text(score.resolution)}'
    lines.append(tables_lib.score_line(score, size))
  return Section(
    title='Folders',
    lead='Images compared file by file. No evaluation here has the same number'
    ' and size of images, so these numbers cannot be compared with theirs.',
    tables=tables_lib.tables(lines, None),
    skipped=_skipped(scores),
    provenance=_provenance([(one.method, one.provenance) for one in scores]),
  )


def _lead(found: Sequence[Results], lines: Sequence[Line]) -> str:
  counts = ' or '.join(map(str, sorted({one.num_images for one in found})))
  variants = {one.metrics.get('ms_ssim_variant') for one in found} - {None}
  known = {
    name
    for line in lines
    for metrics in line.metrics
    for name, value in metrics.items()
    if value is not None
  }
  parts = [f'{counts} images, protocol {found[0].protocol}.']
  if any('fid' in name or 'frechet' in name for name in known):
    parts.append(f'N = {counts} for FID and all other Fréchet distances.')
  parts.append('Images in [0, 1].')
  if variants:
    parts.append(f'MS-SSIM variant: {", ".join(sorted(map(str, variants)))}.')
  return ' '.join(parts)


def _image_notes(
  made: Sequence[Figure], galleries: Mapping[str, Gallery], models: list[str]
) -> list[str]:
  if not galleries:
    return [NO_IMAGES]
  if not made:
    return ['No images: the galleries have no image in common.']
  without = [model for model in models if model not in galleries]
  return [f'No images of {", ".join(without)}.'] if without else []


def _comparison_notes(
  found: Sequence[Results], tables: Sequence[Table]
) -> list[str]:
  notes = []
  for name, what in _SHARED.items():
    hashes = {str(one.provenance.get(name)) for one in found} - {'None'}
    if len(hashes) > 1:
      notes.append(f'Not all rows have the same {what}.')
  if any(table.has_paper for table in tables):
    notes.append(
      'The paper does not state the value range of its L1, the variant of its'
      ' MS-SSIM, or the number of images of its FID.'
    )
    if found[0].dataset != PAPER_DATASET:
      notes.append(
        "The paper's numbers are on photos of celebrities, ours on"
        f' {found[0].dataset}: compare differences between models, not the'
        ' numbers themselves.'
      )
  return notes


def _skipped(found: Iterable[Results | Score]) -> list[str]:
  names: dict[str, list[str]] = collections.defaultdict(list)
  for one in found:
    for metric, reason in one.skipped.items():
      if metric not in names[reason]:
        names[reason].append(metric)
  return [f'{", ".join(metrics)}: {why}' for why, metrics in names.items()]


def _provenance(
  made: Sequence[tuple[str, Mapping[str, Any]]],
) -> list[tuple[str, dict[str, str]]]:
  """Separates what all share from the rest of each."""
  flat = [(title, _flat(values)) for title, values in made]
  shared = set.intersection(*(set(values.items()) for _, values in flat))
  own = [
    (title, {k: v for k, v in values.items() if (k, v) not in shared})
    for title, values in flat
  ]
  parts = [('All', dict(sorted(shared))), *own]
  return [(title, values) for title, values in parts if values]


def _flat(values: Any, name: str = '') -> dict[str, str]:
  """Flattens nested objects; names are joined by spaces."""
  if isinstance(values, list):
    values = dict(enumerate(values))
  if not isinstance(values, dict):
    return {} if values is None else {name: str(values)}
  return {
    key: text
    for inner, value in values.items()
    for key, text in _flat(value, f'{name} {inner}'.strip()).items()
  }
