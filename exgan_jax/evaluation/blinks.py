"""The benchmark of real blinks: photographs whose open eyes are known.

A blink has open eyes a moment before and after it, in frames of the same shot.
`exgan inpaint` opens its eyes from a frame of another moment, and the strip
around the eyes is compared with that of the nearest open frame, at the
photograph's own resolution. Frames are not aligned pixel by pixel, so strips
are aligned by the eye corners.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import io
import logging
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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

PAIRS = 'pairs.csv'
PROTOCOL = 'blinks'
# Of the strip; the last one is 1 where LPIPS is above that of doing nothing.
L1, LPIPS, WORSE = METRICS = ('l1_strip', 'lpips_strip', 'worse_than_untouched')
# The rows beside the one that is evaluated.
UNTOUCHED, CLONE, FLOOR = 'untouched', 'reference_clone', 'other_side'
_METHOD = ''
# The strip of `models.lpips` at twice its size: its eye corners, and its width
# and height.
_CORNERS, _SIZE = 2.0 * np.array(lpips_lib.STRIP), (400, 160)

_Picture = UInt8[np.ndarray, 'h w 3']
_Corners = Float[np.ndarray, '4 2']
# From a blink to pictures by method, and what was done.
_Paint = Callable[['Blink'], tuple[dict[str, _Picture], str]]


@dataclasses.dataclass(frozen=True)
class Blink:
  """A photograph with closed eyes, and what belongs to it.

  Attributes:
    person: name of the person's folder.
    closed: the photograph.
    truth: the nearest open frame of that moment.
    reference: an open frame of another moment.
    other_side: the open frame on the other side of the blink, if there is one.
  """

  person: str
  closed: pathlib.Path
  truth: pathlib.Path
  reference: pathlib.Path
  other_side: pathlib.Path | None

  @property
  def name(self) -> str:
    """The photograph's name in the folder, without its suffix."""
    return f'{self.person}/{self.closed.stem}'


def evaluate_blinks(
  folder: str | pathlib.Path,
  *,
  workdir: str | pathlib.Path | None = None,
  step: int | None = None,
  output: str | pathlib.Path | None = None,
  lpips: str | pathlib.Path | None = None,
  pictures: str | pathlib.Path | None = None,
  face_landmarker: str | pathlib.Path | None = None,
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
  blinks = read_blinks(folder)
  config, model = export.restore(workdir, step)
  painter = make_painter(config, model)
  with Inpainter(painter, FaceFinder(face_landmarker)) as inpainter:

    def paint(blink: Blink) -> tuple[dict[str, _Picture], str]:
      found, done = _painted(inpainter, blink)
      if pictures is not None:
        _write(pathlib.Path(pictures), blink, found)
      return found, done

    table = _compared(blinks, paint, lpips, face_landmarker)
  found = {name: table.summary(name) for name in table.values}
  metrics, _ = found[_METHOD]
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
    metrics=metrics,
    skipped=_skipped(metrics),
    baselines={k: values for k, (values, _) in found.items() if k != _METHOD},
    provenance=_provenance(blinks, folder, lpips)
    | {
      'config_sha256': config_lib.fingerprint(config),
      'config_but_seed_sha256': config_lib.fingerprint_of_seeds(config),
      'weights_sha256': results.weights_hash(model),
    },
    intervals={k or 'model': spread for k, (_, spread) in found.items()},
  )
  if output is not None:
    table.save(output)
    result.save(output)
  return result


def score_blinks(
  folder: str | pathlib.Path,
  results_folder: str | pathlib.Path,
  *,
  method: str | None = None,
  output: str | pathlib.Path | None = None,
  lpips: str | pathlib.Path | None = None,
  face_landmarker: str | pathlib.Path | None = None,
) -> Score:
  """Scores photographs of blinks that any method has painted.

  Args:
    folder: of the blinks; see `read_blinks`.
    results_folder: the painted photographs, under the names of those with
      closed eyes; suffixes may differ.
    method: name of the method; by default that of its folder.
    output: path of the JSON file with the score; the values of each picture
      (.csv) are written beside it.
    lpips: path of the weights of LPIPS (.npz).
    face_landmarker: MediaPipe's bundle.

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
  blinks = read_blinks(folder)
  painted = folders.pictures_in(results_folder)
  for blink in blinks:
    if blink.name not in painted:
      raise InputError(f'{results_folder} has no partner of {blink.closed}')

  def read(blink: Blink) -> tuple[dict[str, _Picture], str]:
    path = painted[blink.name]
    found = {_METHOD: _read(path), UNTOUCHED: _read(blink.closed)}
    if found[_METHOD].shape != found[UNTOUCHED].shape:
      raise InputError(f'{path} has another size than {blink.closed}')
    return found, ''

  table = _compared(blinks, read, lpips, face_landmarker)
  metrics, intervals = table.summary(_METHOD)
  score = Score(
    method=method,
    num_images=len(table.blinks),
    resolution=None,
    metrics=metrics,
    skipped=_skipped(metrics),
    provenance=_provenance(blinks, folder, lpips),
    intervals=intervals,
  )
  if output is not None:
    table.save(output)
    score.save(output)
  return score


def read_blinks(folder: str | pathlib.Path) -> list[Blink]:
  """Reads which frames belong together.

  The folder holds `<person>/closed_*` and `<person>/open_<moment>_*`, and
  `pairs.csv` with the columns `person`, `closed` and `open`: a blink and an
  open frame of the same moment. Optional are `eyes_moved`, by which the nearest
  frame is chosen, and `strict`: pairs with 0 are no truth. The reference is the
  first frame of another moment; blinks without one are left out.

  Raises:
    InputError: `pairs.csv` is missing or is not like that, or no blink is left.
  """
  path = pathlib.Path(folder) / PAIRS
  data = files.read_bytes(path, files.MAX_JSON_BYTES)
  nearest: dict[tuple[str, str], tuple[float, str]] = {}
  opened = collections.defaultdict(set)
  try:
    for row in csv.DictReader(io.StringIO(data.decode('utf-8'), newline='')):
      person, closed, open_ = (
        row[name] for name in ('person', 'closed', 'open')
      )
      for name in (person, closed, open_):
        if not name or pathlib.Path(name).name != name or '\0' in name:
          raise ValueError(f'{name!r} is not a file name')
      opened[person].add(open_)
      moved = float(row.get('eyes_moved') or 0)
      if row.get('strict') == '0' or math.isnan(moved):
        continue
      # The first of several equally near ones.
      known = nearest.get((person, closed))
      if known is None or moved < known[0]:
        nearest[person, closed] = moved, open_
  except (ValueError, KeyError, csv.Error) as error:
    raise InputError(f'{path} is not a list of blinks: {error}') from error
  blinks = []
  for (person, closed), (_, truth) in sorted(nearest.items()):
    same = {o for o in opened[person] if _moment(o) == _moment(truth)}
    others = sorted(opened[person] - same)
    sides = sorted(same - {truth})
    at = path.parent / person
    if others:
      side = at / sides[0] if sides else None
      blinks.append(
        Blink(person, at / closed, at / truth, at / others[0], side)
      )
  if not blinks:
    raise InputError(f'{path} has no blink with open frames of two moments')
  return blinks


def _moment(name: str) -> str:
  return pathlib.Path(name).stem.split('_')[1] if '_' in name else name


def _read(path: pathlib.Path) -> _Picture:
  return reader.read(path).seen()


def _painted(
  inpainter: Inpainter, blink: Blink
) -> tuple[dict[str, _Picture], str]:
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


def _write(
  folder: pathlib.Path, blink: Blink, found: Mapping[str, _Picture]
) -> None:
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


@dataclasses.dataclass(frozen=True)
class _Table:
  """The metrics of every method and blink.

  Attributes:
    blinks: those that could be compared.
    done: what was done with the face of each.
    values: of each method float64 [blinks, metrics], NaN where unknown.
  """

  blinks: list[Blink]
  done: list[str]
  values: dict[str, Float[np.ndarray, 'n m']]

  def summary(self, name: str) -> tuple[Metrics, Intervals]:
    """The means of a method, and their intervals over people."""
    people = np.array([blink.person for blink in self.blinks])
    metrics: Metrics = dict.fromkeys(METRICS)
    intervals: Intervals = {}
    for metric, column in zip(METRICS, self.values[name].T, strict=True):
      known = ~np.isnan(column)
      if known.any():
        metrics[metric] = float(column[known].mean())
        spread = bootstrap.interval(
          column[known], people[known], bootstrap.weighted_mean
        )
        intervals |= {metric: spread} if spread else {}
    return metrics, intervals

  def save(self, output: str | pathlib.Path) -> None:
    """Writes the values beside the results, one line per picture."""
    columns: dict[str, list[Any]] = {
      'filename': [f'{b.person}/{b.closed.name}' for b in self.blinks],
      'identity': [blink.person for blink in self.blinks],
      'reference': [blink.reference.name for blink in self.blinks],
      'truth': [blink.truth.name for blink in self.blinks],
      'done': self.done,
    }
    for name, values in self.values.items():
      for metric, column in zip(METRICS, values.T, strict=True):
        columns[f'{name}/{metric}' if name else metric] = [
          '' if math.isnan(value) else repr(value) for value in column.tolist()
        ]
    collect.save_csv(pathlib.Path(output).with_suffix('.csv'), columns, {})


def _compared(
  blinks: Sequence[Blink],
  paint: _Paint,
  lpips: str | pathlib.Path | None,
  face_landmarker: str | pathlib.Path | None,
) -> _Table:
  """Paints and compares all blinks.

  Those without a face, or whose truth has none, are left out. Corners are not
  the painter's own, whose errors would then not be seen.

  Raises:
    InputError: a file cannot be read, or no blink is left.
  """
  weights = None if lpips is None else lpips_lib.load(lpips)
  kept, done, rows = [], [], []
  with landmarks.FaceLandmarker(face_landmarker) as landmarker:

    def corners_in(image: _Picture) -> _Corners | None:
      found = [np.array(face.corners) for face in landmarker.detect(image)]
      return max(found, key=lambda x: abs(x[3, 0] - x[0, 0]), default=None)

    for blink in progress.bar(blinks, unit='photo', desc='blinks'):
      truth = _read(blink.truth)
      corners, true_corners = corners_in(_read(blink.closed)), corners_in(truth)
      if corners is None or true_corners is None:
        logger.warning('%s is left out: no face was found', blink.name)
        continue
      pictures, what = paint(blink)
      strips = {name: _strip(x, corners) for name, x in pictures.items()}
      if blink.other_side is not None:
        side = _read(blink.other_side)
        if (found := corners_in(side)) is not None:
          strips[FLOOR] = _strip(side, found)
      rows.append(_values(strips, _strip(truth, true_corners), weights))
      kept.append(blink)
      done.append(what)
  if not kept:
    raise InputError('no face was found in any of the blinks')
  nothing = np.full(len(METRICS), np.nan)
  names = list(dict.fromkeys(name for row in rows for name in row))
  values = {
    name: np.stack([row.get(name, nothing) for row in rows]) for name in names
  }
  return _Table(kept, done, values)


def _strip(image: _Picture, corners: _Corners) -> Float[np.ndarray, 'h w 3']:
  """The band around the eyes in [0, 1], aligned by its corners."""
  strip = cv2.warpAffine(
    image,
    transplant.similarity(corners, _CORNERS),
    _SIZE,
    flags=cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REPLICATE,
  )
  return strip.astype(np.float32) / np.float32(255)


_distance = jax.jit(lpips_lib.distance)


def _values(
  strips: Mapping[str, np.ndarray],
  truth: np.ndarray,
  weights: lpips_lib.Weights | None,
) -> dict[str, Float[np.ndarray, ' m']]:
  """The metrics of each strip, in the order of `METRICS`."""
  found = {}
  for name, strip in strips.items():
    lpips = math.nan
    if weights is not None:
      pair = (jnp.asarray(2 * x[None] - 1) for x in (strip, truth))
      lpips = float(_distance(weights, *pair)[0])
    l1 = float(np.abs(strip - truth).mean(dtype=np.float64))
    found[name] = np.array([l1, lpips, math.nan])
  for row in found.values() if weights is not None else ():
    row[2] = row[1] > found[UNTOUCHED][1]
  return found


def _skipped(metrics: Metrics) -> dict[str, str]:
  return {k: collect.NO_LPIPS for k, value in metrics.items() if value is None}


def _provenance(
  blinks: Iterable[Blink],
  folder: str | pathlib.Path,
  lpips: str | pathlib.Path | None,
) -> dict[str, Any]:
  """What the numbers depend on besides the model."""
  digest = hashlib.sha256(pathlib.Path(folder, PAIRS).read_bytes())
  for blink in blinks:
    for path in (blink.closed, blink.truth, blink.reference, blink.other_side):
      digest.update(b'' if path is None else path.read_bytes())
  return {
    **results.environment(),
    'records_sha256': digest.hexdigest(),
    'lpips_sha256': lpips
    and hashlib.sha256(pathlib.Path(lpips).read_bytes()).hexdigest(),
    'intervals': provenance_of_intervals('people'),
  }
