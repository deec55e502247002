"""The metrics of two folders of pictures, whoever made them.

So the results of any other method stand in the same table as our own: those of
`exgan evaluate --pictures` get the very numbers that the evaluation gave.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from exgan_jax.errors import InputError
from exgan_jax.evaluation import collect, metrics, results, schema
from exgan_jax.evaluation.evaluator import provenance_of_intervals
from exgan_jax.evaluation.inception_features import Distribution, make_extractor
from exgan_jax.evaluation.results import Score
from exgan_jax.face_records import progress
from exgan_jax.face_records.pictures import (
  UnusablePictureError,
  picture_size,
  read_picture,
)
from exgan_jax.files import check_output
from exgan_jax.models import masks as masks_lib
from exgan_jax.runtime import sharding

SUFFIXES = (
  *('.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.pnm', '.ppm'),
  *('.tif', '.tiff', '.webp'),
)
HALF = 128
NO_MASKS = 'needs the masks of the holes (--masks)'

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Pair:
  """An original, what a method made of it, and where it was to paint."""

  original: pathlib.Path
  result: pathlib.Path
  mask: pathlib.Path | None


def score(
  originals: str | pathlib.Path,
  results_folder: str | pathlib.Path,
  *,
  masks: str | pathlib.Path | None = None,
  method: str | None = None,
  output: str | pathlib.Path | None = None,
  inception: str | pathlib.Path | None = None,
  unverified_inception: str | pathlib.Path | None = None,
  batch_size: int = 32,
) -> Score:
  """Scores the pictures of a folder against their originals.

  Pictures are paired by their names without suffix, and may lie in
  sub-folders. Intervals are over pictures, as nobody tells whose they are.

  Args:
    originals: folder of the original pictures.
    results_folder: folder of what a method made of each.
    masks: folder of the holes, white on black.
    method: its name; by default that of its folder.
    output: where to write the score as JSON, if anywhere, and a line a picture
      (.csv) beside it.
    inception: path of the published Inception weights, for FID and the
      Inception Score, or `download`.
    unverified_inception: path of other weights in that layout.
    batch_size: pictures at once, over all devices.

  Returns:
    The metrics, as far as pictures alone tell them.

  Raises:
    InputError: a folder has no picture, a picture no partner or one of another
      size, or cannot be read.
    OSError: the score cannot be written.
  """
  if jax.process_count() > 1:
    raise InputError('`exgan score` runs in one process')
  if output is not None:
    check_output(output)
  method = method or pathlib.Path(results_folder).resolve().name
  if not schema.is_text(method):
    raise InputError(f'--method {method!r} is not one line of text')
  pairs = _pairs(originals, results_folder, masks)
  size = sharding.divisible(batch_size)
  mesh = sharding.make_mesh(size)
  extractor = make_extractor(mesh, inception, unverified_inception)
  sizes = {name: _size(pair) for name, pair in pairs.items()}
  shorter = {min(found) for found in sizes.values()}
  variant = metrics.ms_ssim_variant(min(shorter))
  compare = functools.partial(collect.compare, variant)
  compare = jax.jit(
    sharding.one_by_one(compare, mesh),
    out_shardings=sharding.replicated(mesh),
  )
  found = collect.Scores()
  seen = {
    name: Distribution(len(pairs), is_original=name == 'truth')
    for name in ('truth', 'painted')
  }
  for rows, valid, arrays in _batches(pairs, sizes, size):
    boxes, has_hole = masks_lib.hole_boxes(arrays['mask'])
    sent = sharding.to_device(arrays | {'boxes': boxes}, mesh)
    found.add(jax.device_get(compare(None, sent)), rows, valid)
    if extractor is not None:
      for name, distribution in seen.items():
        features = extractor.apply(sent[name], sent['boxes'])
        distribution.add(features, rows, valid, has_hole)
  everyone = np.arange(len(pairs))
  of_network, intervals, skipped = seen['painted'].metrics(
    seen['truth'].gaussians, extractor, everyone
  )
  values = found.compute(variant)
  values = {name: values[name] for name in (*collect.PIXELS, 'ms_ssim_variant')}
  for name in ('l1_hole', 'ms_ssim_hole'):
    if values[name] is None:
      skipped[name] = collect.NO_HOLES if masks else NO_MASKS
  result = Score(
    method=method,
    num_images=len(pairs),
    resolution=min(shorter) if len(shorter) == 1 else None,
    metrics=values | of_network,
    skipped=skipped,
    provenance=results.environment()
    | {
      'inception_sha256': extractor.sha256 if extractor else None,
      'intervals': provenance_of_intervals('pictures'),
    },
    intervals=found.intervals(everyone) | intervals,
  )
  if output is not None:
    titles = {'filename': list(pairs)}
    csv_path = pathlib.Path(output).with_suffix('.csv')
    collect.save_csv(csv_path, titles, {'': found})
    result.save(output)
  return result


def _pairs(
  originals: str | pathlib.Path,
  results_folder: str | pathlib.Path,
  masks: str | pathlib.Path | None,
) -> dict[str, Pair]:
  """The pairs by their names, in order."""
  wanted, found = _pictures(originals), _pictures(results_folder)
  holes = _pictures(masks) if masks is not None else {}
  _check_partners(wanted, found, results_folder)
  _check_partners(found, wanted, originals)
  if masks is not None:
    _check_partners(wanted, holes, masks)
  return {
    name: Pair(wanted[name], found[name], holes.get(name))
    for name in sorted(wanted)
  }


def _pictures(folder: str | pathlib.Path) -> dict[str, pathlib.Path]:
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise InputError(f'{folder} is no folder')
  found = {}
  for path in sorted(folder.rglob('*')):
    inside = path.relative_to(folder)
    hidden = any(part.startswith('.') for part in inside.parts)
    if hidden or path.suffix.lower() not in SUFFIXES or not path.is_file():
      continue
    name = inside.with_suffix('').as_posix()
    if name in found:
      raise InputError(
        f'{folder} has two pictures of the name {name}: {found[name].name} and'
        f' {path.name}'
      )
    found[name] = path
  if not found:
    raise InputError(f'{folder} holds no picture')
  return found


def _check_partners(
  wanted: Mapping[str, pathlib.Path],
  found: Mapping[str, pathlib.Path],
  folder: str | pathlib.Path,
) -> None:
  missing = [path for name, path in wanted.items() if name not in found]
  if missing:
    more = f' (and of {len(missing) - 1} more)' if len(missing) > 1 else ''
    raise InputError(f'{folder} has no partner of {missing[0]}{more}')


def _size(pair: Pair) -> Size:
  sizes = {}
  for path in (pair.original, pair.result, pair.mask):
    if path is None:
      continue
    try:
      sizes[path] = picture_size(path)
    except UnusablePictureError as error:
      raise InputError(f'{path}: {error}') from error
  (first, size), *others = sizes.items()
  for path, other in others:
    if other != size:
      raise InputError(
        f'{path} has {other[1]} x {other[0]} pixels, {first}'
        f' {size[1]} x {size[0]}'
      )
  return size


def _batches(
  pairs: Mapping[str, Pair], sizes: Mapping[str, Size], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
  """Rows, which of them are valid, and pictures; all of a batch of one size."""
  rows_of = collections.defaultdict(list)
  for row, name in enumerate(pairs):
    rows_of[sizes[name]].append(row)
  listed = list(pairs.values())
  with progress.bar(total=len(listed), unit='img', desc='score') as bar:
    for size, rows in rows_of.items():
      side = min(batch_size, sharding.divisible(len(rows)))
      for start in range(0, len(rows), side):
        part = rows[start : start + side]
        padded = np.asarray(part + part[-1:] * (side - len(part)))
        valid = np.arange(side) < len(part)
        read = {row: _read(listed[row], size) for row in part}
        yield (
          padded,
          valid,
          {
            name: np.stack([read[row][name] for row in padded.tolist()])
            for name in read[part[0]]
          },
        )
        bar.update(len(part))


def _read(pair: Pair, size: Size) -> dict[str, np.ndarray]:
  original, result = (_picture(x, size) for x in (pair.original, pair.result))
  mask = np.zeros((*size, 1), bool)
  if pair.mask is not None:
    mask = _picture(pair.mask, size).max(axis=2, keepdims=True) >= HALF
  return {'truth': original, 'painted': result, 'mask': mask}


def _picture(path: pathlib.Path, size: Size) -> np.ndarray:
  try:
    picture = read_picture(path)
  except UnusablePictureError as error:
    raise InputError(f'{path}: {error}') from error
  if picture.shape[:2] != size:
    raise InputError(f'{path} lies on its side')
  return picture
