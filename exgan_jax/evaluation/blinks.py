"""The benchmark of real blinks: photographs whose open eyes are known.

A blink has open eyes a moment before and after it, in frames of the same shot.
`exgan inpaint` opens its eyes from a frame of another moment, and the strip
around the eyes is compared with that of the nearest open frame, at the
photograph's own resolution. Frames are not aligned pixel by pixel, so strips
are aligned by the eye corners.
"""

from __future__ import annotations

import hashlib
import logging
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from exgan_jax import config as config_lib
from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import collect, folders, results, schema
from exgan_jax.evaluation.blink_frames import Blink, read_blinks
from exgan_jax.evaluation.evaluator import provenance_of_intervals
from exgan_jax.evaluation.metrics import bootstrap
from exgan_jax.evaluation.results import Intervals, Metrics, Results, Score
from exgan_jax.face_records import landmarks, progress
from exgan_jax.models import lpips as lpips_lib
from exgan_jax.photo import reader, transplant
from exgan_jax.photo.face_search import FaceFinder
from exgan_jax.photo.inpainter import Inpainter, Options
from exgan_jax.photo.painter import make_painter
from exgan_jax.training import export
from exgan_jax.training.checkpoint import steps_of

logger = logging.getLogger(__name__)

PROTOCOL = 'blinks'
# Of the strip; the last one is 1 where LPIPS is above that of doing nothing.
METRICS = ('l1_strip', 'lpips_strip', 'worse_than_untouched')
# The rows beside the one that is evaluated.
UNTOUCHED, CLONE, FLOOR = 'untouched', 'reference_clone', 'other_side'
_METHOD = ''
# The strip of `models.lpips` at twice its size: its eye corners, and its width
# and height.
_CORNERS, _SIZE = 2.0 * np.array(lpips_lib.STRIP), (400, 160)

_Path = str | pathlib.Path
_Corners = Float[np.ndarray, '4 2']
_Strip = Float[np.ndarray, 'h w 3']
# By the name of a method.
_Pictures = dict[str, UInt8[np.ndarray, 'h w 3']]


def evaluate_blinks(
  folder: _Path,
  *,
  workdir: _Path | None = None,
  step: int | None = None,
  output: _Path | None = None,
  lpips: _Path | None = None,
  pictures: _Path | None = None,
  face_landmarker: _Path | None = None,
) -> Results:
  """Opens the eyes of all blinks and compares them with the true ones.

  A photograph in which nothing is painted counts as it is.

  Args:
    folder: of the blinks; see `read_blinks`.
    workdir: folder of a run or an exported model; by default the model inside
      this package.
    step: step of the checkpoint; the newest by default.
    output: path of the JSON file with the results; the values of each picture
      (.csv) are written beside it.
    lpips: path of the weights of LPIPS (.npz).
    pictures: folder to write every picture to, in one folder per kind. It must
      be empty or not exist.
    face_landmarker: MediaPipe's bundle.

  Raises:
    InputError: a file is missing or not what it should be.
    OSError: a file cannot be written.
  """
  if output is not None:
    files.check_output(output)
  if pictures is not None and any(pathlib.Path(pictures).glob('*')):
    raise InputError(f'--pictures {pictures} is not empty')
  table = _Table(folder, lpips)
  config, model = export.restore(workdir, step)
  painter = make_painter(config, model)
  with Inpainter(painter, FaceFinder(face_landmarker)) as inpainter:

    def paint(blink: Blink) -> tuple[_Pictures, str]:
      found, done = _painted(inpainter, blink)
      if pictures is not None:
        _write(pathlib.Path(pictures), blink, found)
      return found, done

    table.fill(paint, face_landmarker)
  rows = {name: table.metrics(name) for name in table.values}
  intervals = {name or 'model': table.intervals(name) for name in rows}
  known = [] if workdir is None else steps_of(workdir)
  result = Results(
    model=config.preset,
    # Of an exported model only the configuration is known.
    step=step if step is not None else max(known, default=config.steps),
    dataset=pathlib.Path(folder).resolve().name,
    split='closed',
    resolution=None,
    num_images=len(table.blinks),
    protocol=PROTOCOL,
    metrics=rows.pop(_METHOD),
    skipped=table.skipped,
    baselines=rows,
    provenance=table.provenance
    | {
      'config_sha256': config_lib.fingerprint(config),
      'config_but_seed_sha256': config_lib.fingerprint_of_seeds(config),
      'weights_sha256': results.weights_hash(model),
    },
    intervals=intervals,
  )
  if output is not None:
    table.save(output)
    result.save(output)
  return result


def score_blinks(
  folder: _Path,
  results_folder: _Path,
  *,
  method: str | None = None,
  output: _Path | None = None,
  lpips: _Path | None = None,
  face_landmarker: _Path | None = None,
) -> Score:
  """Scores photographs of blinks that any method has painted.

  Args:
    folder: of the blinks; see `read_blinks`.
    results_folder: the painted photographs, under the names of those with
      closed eyes; suffixes may differ.
    method: name of the method; by default that of its folder.
    output: as in `evaluate_blinks`, and so are the others.

  Raises:
    InputError: a picture is missing, has another size than the photograph, or
      cannot be read.
    OSError: the score cannot be written.
  """
  if output is not None:
    files.check_output(output)
  method = method or pathlib.Path(results_folder).resolve().name
  if not schema.is_text(method):
    raise InputError(f'--method {method!r} is not one line of text')
  painted = folders.pictures_in(results_folder)
  table = _Table(folder, lpips)
  for blink in table.blinks:
    if blink.name not in painted:
      raise InputError(f'{results_folder} has no partner of {blink.closed}')

  def read(blink: Blink) -> tuple[_Pictures, str]:
    path = painted[blink.name]
    found = {_METHOD: _read(path), UNTOUCHED: _read(blink.closed)}
    if found[_METHOD].shape != found[UNTOUCHED].shape:
      raise InputError(f'{path} has another size than {blink.closed}')
    return found, ''

  table.fill(read, face_landmarker)
  score = Score(
    method=method,
    num_images=len(table.blinks),
    resolution=None,
    metrics=table.metrics(_METHOD),
    skipped=table.skipped,
    provenance=table.provenance,
    intervals=table.intervals(_METHOD),
  )
  if output is not None:
    table.save(output)
    score.save(output)
  return score


def _read(path: pathlib.Path) -> UInt8[np.ndarray, 'h w 3']:
  return reader.read(path).seen()


def _painted(inpainter: Inpainter, blink: Blink) -> tuple[_Pictures, str]:
  """Runs the code of `exgan inpaint` and the closed form on the same faces."""
  photograph = reader.read(blink.closed)
  found = dict.fromkeys((_METHOD, UNTOUCHED, CLONE), photograph.seen())
  candidates = inpainter.candidates_or_none(blink.reference)
  result = inpainter.open_eyes(photograph, candidates, Options(force=True))
  found[_METHOD] = result.photograph.seen()
  for face in result.painted:
    assert face.before is not None and face.choice is not None
    reference = face.choice.candidate.aligned
    corners, theirs = transplant.corners_of(face.before, reference)
    found[CLONE] = transplant.transplant(
      photograph, reference.around, corners, theirs - reference.origin,
      face.eyes,
    ).seen()  # fmt: skip
  return found, '; '.join(face.done for face in result.faces)


def _write(folder: pathlib.Path, blink: Blink, found: _Pictures) -> None:
  kinds = {
    'original': _read(blink.truth),
    'reference': _read(blink.reference),
    'input': found[UNTOUCHED],
    'result': found[_METHOD],
    CLONE: found[CLONE],
  }
  for kind, image in kinds.items():
    path = folder / kind / f'{blink.name}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, format='PNG')


class _Table:
  """The metrics of every blink and method.

  Args:
    folder: of the blinks.
    lpips: path of the weights of LPIPS, if there are any.

  Attributes:
    blinks: that are compared.
    values: of each method float64 [blinks, metrics], NaN where unknown.
    skipped: why metrics are not known.
    provenance: what the numbers depend on, besides the method.
  """

  def __init__(self, folder: _Path, lpips: _Path | None):
    self.blinks = read_blinks(folder)
    self.values: dict[str, Float[np.ndarray, 'n m']] = {}
    self._weights = None if lpips is None else lpips_lib.load(lpips)
    self.skipped: dict[str, str] = {}
    if lpips is None:
      self.skipped = dict.fromkeys(METRICS[1:], collect.NO_LPIPS)
    frames = [path for blink in self.blinks for path in blink.frames]
    self.provenance: dict[str, Any] = {
      **results.environment(),
      'records_sha256': _digest(*frames),
      'lpips_sha256': None if lpips is None else _digest(lpips),
      'intervals': provenance_of_intervals('people'),
    }

  def fill(
    self,
    paint: Callable[[Blink], tuple[_Pictures, str]],
    face_landmarker: _Path | None,
  ) -> None:
    """Paints and compares all blinks.

    Those are left out in which, or in whose truth, no face is found. Corners
    are not the painter's own, whose errors would then not be seen.

    Args:
      paint: returns the pictures by method, and what was done.
      face_landmarker: MediaPipe's bundle.

    Raises:
      InputError: a picture cannot be read, or no blink is left.
    """
    kept, rows = [], []
    self._done = []
    with landmarks.FaceLandmarker(face_landmarker) as landmarker:
      for blink in progress.bar(self.blinks, unit='photo', desc='blinks'):
        corners = _corners(landmarker, blink.closed)
        truth = _aligned(landmarker, blink.truth)
        if corners is None or truth is None:
          logger.warning('%s is left out: no face was found', blink.name)
          continue
        pictures, done = paint(blink)
        strips = {name: _strip(x, corners) for name, x in pictures.items()}
        if blink.other_side is not None:
          side = _aligned(landmarker, blink.other_side)
          strips |= {} if side is None else {FLOOR: side}
        rows.append(self._compared(strips, truth))
        kept.append(blink)
        self._done.append(done)
    if not kept:
      raise InputError('no face was found in any of the blinks')
    self.blinks = kept
    nothing = np.full(len(METRICS), np.nan)
    for name in dict.fromkeys(name for row in rows for name in row):
      self.values[name] = np.stack([row.get(name, nothing) for row in rows])

  def _compared(
    self, strips: Mapping[str, _Strip], truth: _Strip
  ) -> dict[str, Float[np.ndarray, ' m']]:
    """The metrics of each strip, in the order of `METRICS`."""
    found = {}
    for name, strip in strips.items():
      lpips = math.nan
      if self._weights is not None:
        pair = (jnp.asarray(2 * x[None] - 1) for x in (strip, truth))
        lpips = float(_distance(self._weights, *pair)[0])
      l1 = float(np.abs(strip - truth).mean(dtype=np.float64))
      found[name] = np.array([l1, lpips, math.nan])
    if self._weights is not None:
      for row in found.values():
        row[2] = row[1] > found[UNTOUCHED][1]
    return found

  def metrics(self, name: str) -> Metrics:
    """The means of a method."""
    return {
      metric: None if np.isnan(column).all() else float(np.nanmean(column))
      for metric, column in zip(METRICS, self.values[name].T, strict=True)
    }

  def intervals(self, name: str) -> Intervals:
    """The bootstrap intervals of a method's means over people."""
    people = np.array([blink.person for blink in self.blinks])
    found = {}
    for metric, column in zip(METRICS, self.values[name].T, strict=True):
      known = ~np.isnan(column)
      spread = known.any() and bootstrap.interval(
        column[known], people[known], bootstrap.weighted_mean
      )
      if spread:
        found[metric] = spread
    return found

  def save(self, output: _Path) -> None:
    """Writes the values beside the results, one line per picture."""
    columns: dict[str, list[Any]] = {
      'filename': [f'{b.person}/{b.closed.name}' for b in self.blinks],
      'identity': [blink.person for blink in self.blinks],
      'reference': [blink.reference.name for blink in self.blinks],
      'truth': [blink.truth.name for blink in self.blinks],
      'done': self._done,
    }
    for name, values in self.values.items():
      for metric, column in zip(METRICS, values.T, strict=True):
        columns[f'{name}/{metric}' if name else metric] = [
          '' if math.isnan(value) else repr(value) for value in column.tolist()
        ]
    collect.save_csv(pathlib.Path(output).with_suffix('.csv'), columns, {})


def _digest(*paths: _Path) -> str:
  digest = hashlib.sha256()
  for path in paths:
    digest.update(files.read_bytes(path, reader.MAX_BYTES))
  return digest.hexdigest()


_distance = jax.jit(lpips_lib.distance)


def _corners(
  landmarker: landmarks.FaceLandmarker, path: pathlib.Path
) -> _Corners | None:
  """The eye corners of the widest face, if there is one."""
  faces = landmarker.detect(_read(path))
  found = [np.array(face.corners) for face in faces]
  return max(found, key=lambda x: abs(x[3, 0] - x[0, 0]), default=None)


def _aligned(
  landmarker: landmarks.FaceLandmarker, path: pathlib.Path
) -> _Strip | None:
  corners = _corners(landmarker, path)
  return None if corners is None else _strip(_read(path), corners)


def _strip(image: UInt8[np.ndarray, 'h w 3'], corners: _Corners) -> _Strip:
  """The band around the eyes in [0, 1], aligned by their corners."""
  strip = cv2.warpAffine(
    image,
    transplant.similarity(corners, _CORNERS),
    _SIZE,
    flags=cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REPLICATE,
  )
  return strip.astype(np.float32) / np.float32(255)
