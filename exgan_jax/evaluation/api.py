"""Evaluates checkpoints: a run and records in, results.json out.

Follows the paper's protocol: every image of the split is in-painted once, with
the next image of the same person as its reference (the first image for the
last one). Results are rounded to 8 bits before they are scored, so scoring the
saved files gives the same numbers. Every image is also in-painted with a
stranger's reference; the difference shows how much the model uses its
reference.
"""

from __future__ import annotations

import collections
import functools
import logging
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import jax

from exgan_jax import config as config_lib
from exgan_jax.errors import InputError
from exgan_jax.evaluation import results as results_lib
from exgan_jax.evaluation.evaluator import Evaluator
from exgan_jax.evaluation.options import BESIDE, Options
from exgan_jax.evaluation.results import Results
from exgan_jax.runtime import processes
from exgan_jax.training.checkpoint import MissingCheckpointError, steps_of

logger = logging.getLogger(__name__)

# Between two checks for a new checkpoint.
SECONDS = 5.0
# A checkpoint that cannot be read may still be incomplete.
TRIES = 3
# Stands for no step in numbers that processes agree on.
_NONE = -1


def evaluate(
  workdir: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  *,
  step: int | None = None,
  output: str | pathlib.Path | None = None,
  split: str = 'test',
  baselines: bool = False,
  references: int = 1,
  compressor: str | pathlib.Path | None = None,
  lpips: str | pathlib.Path | None = None,
  face_landmarker: str | pathlib.Path | None = None,
  face_embedding: str | pathlib.Path | None = None,
  inception: str | pathlib.Path | None = None,
  unverified_inception: str | pathlib.Path | None = None,
  real_statistics: str | pathlib.Path | None = None,
  pictures: str | pathlib.Path | None = None,
  batch_size: int = 32,
) -> Results:
  """Evaluates one checkpoint of a run.

  With several processes, all of them must call this. All get the results; the
  first one writes the files.

  Args:
    workdir: folder of the run.
    data_dir: folder of the built data sets.
    step: step of the checkpoint; the newest by default.
    output: path of the JSON file with the results. A contact sheet (.png), a
      gallery for the report (.npz) and the values of each image (.csv) are
      written beside it.
    split: split to evaluate.
    baselines: whether to evaluate the baselines too.
    references: number of reference images per image.
    compressor: workdir of the compressor that measures code distances; by
      default the code model's own.
    lpips: path of the weights of LPIPS (.npz).
    face_landmarker: path of MediaPipe's face landmark bundle, or `download`,
      for geometry and the colors of photographed eyes.
    face_embedding: path of a face recognition network in ONNX, for identity;
      it needs the bundle as well, which is then looked for.
    inception: path of the published Inception weights, for FID and the
      Inception Score, or `download`.
    unverified_inception: path of other weights in the same layout; the metrics
      then have other names.
    real_statistics: file that keeps the Inception statistics of the originals;
      by default in the user's cache.
    pictures: folder to write every image to, in one folder per kind. It must
      be empty or not exist.
    batch_size: images per batch, over all devices; rounded up to a multiple of
      their number.

  Returns:
    The metrics of the model, and of the baselines if requested.

  Raises:
    InputError: there is no such run, checkpoint, data set or split, or a
      record is damaged.
    OSError: a file cannot be written.
  """
  options = Options(
    split=split,
    baselines=baselines,
    references=references,
    compressor=compressor,
    lpips=lpips,
    face_landmarker=face_landmarker,
    face_embedding=face_embedding,
    inception=inception,
    unverified_inception=unverified_inception,
    real_statistics=real_statistics,
    pictures=pictures,
    batch_size=batch_size,
  )
  options.check(output)
  folder = None if pictures is None else pathlib.Path(pictures)
  if folder is not None and folder.is_dir() and any(folder.iterdir()):
    raise InputError(f'--pictures {folder} is not empty')
  evaluator = Evaluator(workdir, data_dir, options)
  if step is None and jax.process_count() > 1:
    (newest,) = processes.agreed(
      lambda: [max(steps_of(workdir), default=_NONE)], 1
    )
    step = None if newest == _NONE else newest
  evaluation = evaluator(*evaluator.restore(step), folder)
  if output is not None:
    evaluation.save(output)
  return evaluation.results


def watch(
  workdir: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  output: str | pathlib.Path,
  *,
  timeout: float | None = None,
  **options: Any,
) -> Iterator[Results]:
  """Evaluates every checkpoint of a run as it appears, each of them once.

  Stops after the checkpoint of the run's last step. The results of step 500
  are in `<output>-00000500.json`, without the suffix of `output`; `output`
  itself holds the newest. Existing results are kept, so an interrupted watch
  can be started again. Checkpoints that the run deletes before they are
  evaluated are skipped (`--checkpoints-to-keep`).

  Args:
    workdir: folder of the run, which need not exist yet.
    data_dir: folder of the built data sets.
    output: path of the newest results.
    timeout: seconds to wait for the next checkpoint; forever by default, even
      if the run stopped early.
    **options: those of `evaluate`; images get one folder per step.

  Yields:
    The results of each checkpoint.

  Raises:
    InputError: as in `evaluate`; there are results of another run or of other
      options under that name; or no checkpoint appeared in time.
    OSError: the results cannot be written.
  """
  chosen = Options(**options)
  chosen.check(output)
  if timeout is not None and not timeout > 0:
    raise InputError('--timeout must be more than 0 seconds')
  queue = _Queue(pathlib.Path(workdir), pathlib.Path(output), timeout)
  evaluator = None
  while True:
    if evaluator is None and processes.all_of(queue.config_path.is_file()):
      evaluator = Evaluator(workdir, data_dir, chosen)
    step, is_over = processes.agreed(
      functools.partial(queue.next, evaluator), 2
    )
    if is_over:
      return
    # On a shared file system, the others may see a checkpoint later.
    is_there = step != _NONE and processes.all_of(step in steps_of(workdir))
    if evaluator is None or not is_there:
      time.sleep(SECONDS)
      continue
    try:
      restored = evaluator.restore(step)
    except MissingCheckpointError:
      queue.failed(step)
      time.sleep(SECONDS)
      continue
    folder = None
    if chosen.pictures is not None:
      folder = pathlib.Path(chosen.pictures, f'{step:08d}')
    evaluation = evaluator(*restored, folder)
    evaluation.save(path_of(output, step))
    evaluation.save(output)
    queue.restart_timeout()
    yield evaluation.results


def path_of(output: str | pathlib.Path, step: int) -> pathlib.Path:
  """Returns where `watch` writes the results of a step."""
  output = pathlib.Path(output)
  return output.with_name(f'{output.stem}-{step:08d}{output.suffix}')


class _Queue:
  """The checkpoints of a run that have no results yet."""

  def __init__(
    self, workdir: pathlib.Path, output: pathlib.Path, timeout: float | None
  ):
    self._workdir, self._output, self._timeout = workdir, output, timeout
    self.config_path = workdir / config_lib.FILENAME
    self._failures: collections.Counter[int] = collections.Counter()
    self.restart_timeout()

  def restart_timeout(self) -> None:
    self._since = time.monotonic()

  def failed(self, step: int) -> None:
    """Counts a failure to read a checkpoint."""
    self._failures[step] += 1
    if self._failures[step] == TRIES:
      logger.warning('skipping checkpoint %d: it cannot be read', step)

  def next(self, evaluator: Evaluator | None) -> tuple[int, bool]:
    """Returns the oldest checkpoint without results and whether all are done.

    Raises:
      InputError: there are other results, or the timeout is over.
    """
    steps = steps_of(self._workdir) if evaluator else []
    done = [step for step in steps if evaluator and self._has(step, evaluator)]
    for step in steps:
      if self._failures[step] < TRIES and step not in done:
        return step, False
    # Read every time, because a run may be extended.
    if steps and steps[-1] >= config_lib.load(self.config_path).steps:
      if done:
        self._copy_newest(done[-1])
      return _NONE, True
    waited = time.monotonic() - self._since
    if self._timeout is not None and waited > self._timeout:
      raise InputError(
        f'no new checkpoint in {self._workdir} for {self._timeout:g} s'
      )
    return _NONE, False

  def _has(self, step: int, evaluator: Evaluator) -> bool:
    path = path_of(self._output, step)
    if not path.exists():
      return False
    found = results_lib.load(path)
    if not isinstance(found, Results) or not evaluator.has_made(found):
      raise InputError(f'{path} holds results of another run or other options')
    return True

  def _copy_newest(self, step: int) -> None:
    """Copies the results of a step to `output`, unless it has them."""
    if self._output.exists():
      found = results_lib.load(self._output)
      if not isinstance(found, Results):
        raise InputError(f'{self._output} holds no results of a run')
      if found.step >= step:
        return
    newest = path_of(self._output, step)
    for suffix in (*BESIDE, newest.suffix):
      source = newest.with_suffix(suffix)
      if source.exists():
        shutil.copyfile(source, self._output.with_suffix(suffix))
