"""Compares the eyes of painted blinks with the true ones."""

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

from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import collect, measures, results
from exgan_jax.evaluation.blink_frames import Blink, read_blinks
from exgan_jax.evaluation.evaluator import provenance_of_intervals
from exgan_jax.evaluation.metrics import bootstrap
from exgan_jax.evaluation.results import Intervals, Metrics
from exgan_jax.face_records import landmarks, pictures, progress
from exgan_jax.models import lpips as lpips_lib
from exgan_jax.photo import reader, transplant

logger = logging.getLogger(__name__)

# Of the strip; the last one is 1 where LPIPS is above that of doing nothing.
METRICS = ('l1_strip', 'lpips_strip', 'worse_than_untouched')
# What is evaluated, and the rows beside it.
METHOD, UNTOUCHED = '', 'untouched'
CLONE, FLOOR = 'reference_clone', 'other_side'
# The strip of `models.lpips` at twice its size: its eye corners, and its width
# and height.
_CORNERS, _SIZE = 2.0 * np.array(lpips_lib.STRIP), (400, 160)

Path = str | pathlib.Path
# By the name of a method.
Pictures = dict[str, UInt8[np.ndarray, 'h w 3']]
_Corners = Float[np.ndarray, '4 2']
_Strip = Float[np.ndarray, 'h w 3']


def read(path: pathlib.Path) -> UInt8[np.ndarray, 'h w 3']:
  """Reads a photograph as `exgan inpaint` does."""
  return reader.read(path).seen()


class Table:
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

  def __init__(self, folder: Path, lpips: Path | None):
    self.blinks = read_blinks(folder)
    self.values: dict[str, Float[np.ndarray, 'n m']] = {}
    self._weights = None if lpips is None else lpips_lib.load(lpips)
    self.skipped: dict[str, str] = {}
    if lpips is None:
      self.skipped = dict.fromkeys(METRICS[1:], measures.NEEDS['lpips'])
    frames = [path for blink in self.blinks for path in blink.frames]
    self.provenance: dict[str, Any] = {
      **results.environment(),
      'records_sha256': _digest(*frames),
      'lpips_sha256': None if lpips is None else _digest(lpips),
      'intervals': provenance_of_intervals('people'),
    }

  def fill(
    self,
    paint: Callable[[Blink], tuple[Pictures, str]],
    face_landmarker: Path | None,
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

  def save(self, output: Path) -> None:
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


def _digest(*paths: Path) -> str:
  digest = hashlib.sha256()
  for path in paths:
    digest.update(files.read_bytes(path, pictures.MAX_BYTES))
  return digest.hexdigest()


_distance = jax.jit(lpips_lib.distance)


def _corners(
  landmarker: landmarks.FaceLandmarker, path: pathlib.Path
) -> _Corners | None:
  """The eye corners of the widest face, if there is one."""
  faces = landmarker.detect(read(path))
  found = [np.array(face.corners) for face in faces]
  return max(found, key=lambda x: abs(x[3, 0] - x[0, 0]), default=None)


def _aligned(
  landmarker: landmarks.FaceLandmarker, path: pathlib.Path
) -> _Strip | None:
  corners = _corners(landmarker, path)
  return None if corners is None else _strip(read(path), corners)


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
