"""The metrics of two folders of images, whatever method made them.

Results of other methods can so be compared with ours: the images that `exgan
evaluate --pictures` writes get the same numbers as the evaluation.
"""

from __future__ import annotations

import collections
import functools
import pathlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from exgan_jax.errors import InputError
from exgan_jax.evaluation import collect, measures, metrics, results, schema
from exgan_jax.evaluation.evaluator import networks_of, provenance_of_intervals
from exgan_jax.evaluation.faces import Faces
from exgan_jax.evaluation.inception_features import Distribution, make_extractor
from exgan_jax.evaluation.metrics import two_sample
from exgan_jax.evaluation.options import Options
from exgan_jax.evaluation.results import Score
from exgan_jax.face_records import progress
from exgan_jax.face_records.pictures import (
  UnusablePictureError,
  picture_size,
  pictures_in,
  read_picture,
)
from exgan_jax.files import check_output
from exgan_jax.models import masks as masks_lib
from exgan_jax.runtime import sharding

# Brighter pixels of a mask image are the hole.
HALF = 128

# When two names are the same: as they are, else in the same Unicode form, else
# in lower case too, for not every system keeps those.
_normal = functools.partial(unicodedata.normalize, 'NFC')
_ALIKE: tuple[Callable[[str], str], ...] = (
  str, _normal, lambda name: _normal(name).casefold()
)  # fmt: skip

Size = tuple[int, int]
# The original (`truth`), the result (`painted`) and maybe the hole mask.
Paths = dict[str, pathlib.Path]


def score(
  originals: str | pathlib.Path,
  results_folder: str | pathlib.Path,
  *,
  masks: str | pathlib.Path | None = None,
  method: str | None = None,
  output: str | pathlib.Path | None = None,
  lpips: str | pathlib.Path | None = None,
  face_landmarker: str | pathlib.Path | None = None,
  face_embedding: str | pathlib.Path | None = None,
  inception: str | pathlib.Path | None = None,
  unverified_inception: str | pathlib.Path | None = None,
  batch_size: int = 32,
) -> Score:
  """Scores the images of a folder against their originals.

  Images are paired by their names without suffix, sub-folders included.
  Intervals are over images, because the people are not known.

  Args:
    originals: folder of the original images.
    results_folder: folder of a method's results.
    masks: folder of the hole masks, white on black.
    method: name of the method; by default that of its folder.
    output: path of the JSON file with the score; the values of each image
      (.csv) are written beside it.
    lpips: path of the weights of LPIPS (.npz).
    face_landmarker: path of MediaPipe's face landmark bundle, or `download`.
    face_embedding: path of a face recognition network in ONNX.
    inception: path of the published Inception weights, for FID and the
      Inception Score, or `download`.
    unverified_inception: path of other weights in the same layout.
    batch_size: images per batch, over all devices.

  Returns:
    The metrics that can be computed from images alone.

  Raises:
    InputError: a folder has no images, or an image has no partner, has another
      size than its partner, or cannot be read.
    OSError: the score cannot be written.
  """
  if jax.process_count() > 1:
    raise InputError('`exgan score` cannot run in several processes')
  if output is not None:
    check_output(output)
  method = method or pathlib.Path(results_folder).resolve().name
  if not schema.is_text(method):
    raise InputError(f'--method {method!r} is not one line of text')
  pairs = _pairs(originals, results_folder, masks)
  size = sharding.divisible(batch_size)
  mesh = sharding.make_mesh(size)
  extractor = make_extractor(mesh, inception, unverified_inception)
  alexnet, faces, hashes = networks_of(
    Options(
      lpips=lpips,
      face_landmarker=face_landmarker,
      face_embedding=face_embedding,
    )
  )
  networks = collect.Networks(alexnet=alexnet)
  sizes = [_size(paths) for paths in pairs.values()]
  shorter = set(map(min, sizes))
  variant = metrics.ms_ssim_variant(min(shorter))
  compare = jax.jit(
    sharding.one_by_one(functools.partial(collect.compare, variant), mesh),
    out_shardings=sharding.replicated(mesh),
  )
  found = collect.Scores()
  seen = {name: Distribution(len(pairs)) for name in ('truth', 'painted')}
  for rows, valid, arrays in _batches(list(pairs.values()), sizes, size):
    boxes, there = masks_lib.hole_boxes(arrays['mask'])
    arrays |= {'boxes': boxes, 'there': there} | _looks(faces, arrays, valid)
    sent = sharding.to_device(arrays, mesh)
    found.add(jax.device_get(compare(networks, sent)), rows, valid)
    if extractor is not None:
      for name, distribution in seen.items():
        features = extractor.apply(sent[name], sent['boxes'])
        distribution.add(features, rows, valid, there)
  everyone = np.arange(len(pairs))
  found.finish(everyone)
  values = found.compute(variant)
  given = {
    'masks': masks,
    'lpips': alexnet,
    'landmarker': faces,
    'irises': faces,
    'embedding': faces and faces.recognizes,
  }
  reasons = found.skipped({name for name, one in given.items() if one})
  values = {
    name: values[name] for name in (*measures.OF_FOLDERS, 'ms_ssim_variant')
  }
  skipped = {name: reasons[name] for name in values if name in reasons}
  of_network, intervals, reasons = seen['painted'].metrics(
    seen['truth'].statistics(), extractor, everyone
  )
  result = Score(
    method=method,
    num_images=len(pairs),
    resolution=min(shorter) if len(shorter) == 1 else None,
    metrics=values | of_network,
    skipped=skipped | reasons,
    provenance={
      **results.environment(),
      **hashes,
      'classifier': two_sample.provenance(),
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


def _looks(
  faces: Faces | None, arrays: dict[str, np.ndarray], valid: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns what is measured of faces, and where their eyes are."""
  if faces is None:
    return {}
  truth, painted = arrays['truth'], arrays['painted']
  places = faces.places(truth, valid)
  irises = places.pop('irises')
  weights = metrics.iris_weights(irises, *truth.shape[1:3])
  found = faces.compare(truth, painted, valid, {})
  return places | found | {'eyes': irises[..., :2], 'irises': weights}


def _pairs(
  originals: str | pathlib.Path,
  results_folder: str | pathlib.Path,
  masks: str | pathlib.Path | None,
) -> dict[str, Paths]:
  """Returns the pairs by name, sorted."""
  folders = {'truth': originals, 'painted': results_folder}
  if masks is not None:
    folders['mask'] = masks
  named = {kind: pictures_by_name(folder) for kind, folder in folders.items()}
  checks = [(kind, 'truth') for kind in folders] + [('truth', 'painted')]
  for alike in _ALIKE:
    found = {
      kind: {alike(name): path for name, path in paths.items()}
      for kind, paths in named.items()
    }
    if all(found[kind].keys() == found['truth'].keys() for kind in found):
      break
  if any(len(found[kind]) < len(named[kind]) for kind in found):
    found = named  # Two names are told apart by nothing but upper case.
  for kind, other in checks:
    missing = sorted(found[other].keys() - found[kind].keys())
    if missing:
      more = f' (nor of {len(missing) - 1} more)' if missing[1:] else ''
      path = found[other][missing[0]]
      raise InputError(f'{folders[kind]} has no partner of {path}{more}')
  return {
    name: {kind: found[kind][alike(name)] for kind in folders}
    for name in sorted(named['truth'])
  }


def pictures_by_name(folder: str | pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the images of a folder by their names without suffix."""
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise InputError(f'{folder} is not a folder')
  found: dict[str, pathlib.Path] = {}
  for path in pictures_in(folder):
    name = path.relative_to(folder).with_suffix('').as_posix()
    if name in found:
      raise InputError(
        f'{folder} has two images named {name}: {found[name].name} and'
        f' {path.name}'
      )
    found[name] = path
  if not found:
    raise InputError(f'{folder} holds no images')
  return found


def _size(paths: Paths) -> Size:
  """Returns the height and width of all images of a pair."""
  sizes = {}
  for path in paths.values():
    try:
      sizes[path] = picture_size(path)
    except UnusablePictureError as error:
      raise InputError(f'{path}: {error}') from error
  (first, size), *others = sizes.items()
  for path, other in others:
    if other != size:
      raise InputError(
        f'{path} has {other[1]} x {other[0]} pixels, but {first} has'
        f' {size[1]} x {size[0]}'
      )
  return size


def _batches(
  pairs: Sequence[Paths], sizes: Sequence[Size], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
  """Yields rows, which of them are valid, and images, all of one size."""
  rows_of = collections.defaultdict(list)
  for row, size in enumerate(sizes):
    rows_of[size].append(row)
  with progress.bar(total=len(pairs), unit='img', desc='score') as bar:
    for size, rows in rows_of.items():
      side = min(batch_size, sharding.divisible(len(rows)))
      for start in range(0, len(rows), side):
        part = rows[start : start + side]
        read = [_read(pairs[row], size) for row in part]
        missing = side - len(part)
        padded = np.asarray(part + part[-1:] * missing)
        read += read[-1:] * missing
        arrays = {
          name: np.stack([one[name] for one in read]) for name in read[0]
        }
        yield padded, np.arange(side) < len(part), arrays
        bar.update(len(part))


def _read(paths: Paths, size: Size) -> dict[str, np.ndarray]:
  images = {}
  for kind, path in paths.items():
    try:
      images[kind] = read_picture(path)
    except UnusablePictureError as error:
      raise InputError(f'{path}: {error}') from error
    if images[kind].shape[:2] != size:
      raise InputError(f'{path} is rotated by its EXIF orientation')
  mask = np.zeros((*size, 1), bool)
  if 'mask' in images:
    mask = images['mask'].max(axis=2, keepdims=True) >= HALF
  return images | {'mask': mask}
