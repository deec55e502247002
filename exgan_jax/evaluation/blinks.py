"""The benchmark of real blinks: photographs whose open eyes are known.

A blink has open eyes a moment before and after it, in frames of the same shot.
`exgan inpaint` opens its eyes from a frame of another moment, and the strip
around the eyes is compared with that of the nearest open frame, at the
photograph's own resolution. Frames are not aligned pixel by pixel, so strips
are aligned by the eye corners.
"""

from __future__ import annotations

import pathlib

from PIL import Image

from exgan_jax import config as config_lib
from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import folders, results, schema
from exgan_jax.evaluation.blink_frames import Blink
from exgan_jax.evaluation.blink_table import (
  CLONE,
  METHOD,
  UNTOUCHED,
  Path,
  Pictures,
  Table,
  read,
)
from exgan_jax.evaluation.results import Results, Score
from exgan_jax.photo import reader, transplant
from exgan_jax.photo.face_search import FaceFinder
from exgan_jax.photo.inpainter import Inpainter, Options
from exgan_jax.photo.painter import make_painter
from exgan_jax.training import export
from exgan_jax.training.checkpoint import steps_of

PROTOCOL = 'blinks'


def evaluate_blinks(
  folder: Path,
  *,
  workdir: Path | None = None,
  step: int | None = None,
  output: Path | None = None,
  lpips: Path | None = None,
  pictures: Path | None = None,
  face_landmarker: Path | None = None,
) -> Results:
  """Opens the eyes of all blinks and compares them with the true ones.

  A photograph in which nothing is painted counts as it is.

  Args:
    folder: of the blinks; see `read_blinks`.
    workdir: folder of a run or an exported model; by default the model inside
      this package.
    step: step of the checkpoint; the newest by default.
    output: path of the JSON file; a CSV file is written beside it.
    lpips: path of the weights of LPIPS (.npz).
    pictures: new folder to write every picture to, in one folder per kind.
    face_landmarker: MediaPipe's bundle.

  Raises:
    InputError: a file is missing or not what it should be.
    OSError: a file cannot be written.
  """
  if output is not None:
    files.check_output(output)
  if pictures is not None and any(pathlib.Path(pictures).glob('*')):
    raise InputError(f'--pictures {pictures} is not empty')
  table = Table(folder, lpips)
  config, model = export.restore(workdir, step)
  painter = make_painter(config, model)
  with Inpainter(painter, FaceFinder(face_landmarker)) as inpainter:

    def paint(blink: Blink) -> tuple[Pictures, str]:
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
    metrics=rows.pop(METHOD),
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
  folder: Path,
  results_folder: Path,
  *,
  method: str | None = None,
  output: Path | None = None,
  lpips: Path | None = None,
  face_landmarker: Path | None = None,
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
  painted = folders.pictures_by_name(results_folder)
  table = Table(folder, lpips)
  for blink in table.blinks:
    if blink.name not in painted:
      raise InputError(f'{results_folder} has no partner of {blink.closed}')

  def look(blink: Blink) -> tuple[Pictures, str]:
    path = painted[blink.name]
    found = {METHOD: read(path), UNTOUCHED: read(blink.closed)}
    if found[METHOD].shape != found[UNTOUCHED].shape:
      raise InputError(f'{path} has another size than {blink.closed}')
    return found, ''

  table.fill(look, face_landmarker)
  score = Score(
    method=method,
    num_images=len(table.blinks),
    resolution=None,
    metrics=table.metrics(METHOD),
    skipped=table.skipped,
    provenance=table.provenance,
    intervals=table.intervals(METHOD),
  )
  if output is not None:
    table.save(output)
    score.save(output)
  return score


def _painted(inpainter: Inpainter, blink: Blink) -> tuple[Pictures, str]:
  """Runs the code of `exgan inpaint` and the closed form on the same faces."""
  photograph = reader.read(blink.closed)
  found = dict.fromkeys((METHOD, UNTOUCHED, CLONE), photograph.seen())
  candidates = inpainter.candidates_or_none(blink.reference)
  result = inpainter.open_eyes(photograph, candidates, Options(force=True))
  found[METHOD] = result.photograph.seen()
  for face in result.painted:
    assert face.before is not None and face.choice is not None
    reference = face.choice.candidate.aligned
    corners, theirs = transplant.corners_of(face.before, reference)
    found[CLONE] = transplant.transplant(
      photograph, reference.around, corners, theirs - reference.origin,
      face.eyes,
    ).seen()  # fmt: skip
  return found, '; '.join(face.done for face in result.faces)


def _write(folder: pathlib.Path, blink: Blink, found: Pictures) -> None:
  kinds = {
    'original': read(blink.truth),
    'reference': read(blink.reference),
    'input': found[UNTOUCHED],
    'result': found[METHOD],
    CLONE: found[CLONE],
  }
  for kind, image in kinds.items():
    path = folder / kind / f'{blink.name}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, format='PNG')
