"""The separate evaluator: a checkpoint and records in, results.json out.

Follows the paper's protocol: every picture of the split is in-painted once,
with the next picture of the same person as its reference, and the first one
for the last. Results are rounded to 8 bits before they are scored, as a saved
picture is, so that a score of the files gives the same numbers. Every picture
is painted a second time with a stranger's reference: what that costs is what
the model owes to the exemplar.
"""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from exgan_jax import config as config_lib
from exgan_jax import results as results_lib
from exgan_jax.checkpoint import MissingCheckpointError, steps_of
from exgan_jax.evaluator import Evaluation, Evaluator, Options
from exgan_jax.results import Results
from tfds_celeb_id import InputError

logger = logging.getLogger(__name__)

# Between two looks at the run.
SECONDS = 5.0
# A checkpoint that cannot be read may not be whole yet.
TRIES = 3


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
  inception: str | pathlib.Path | None = None,
  unverified_inception: str | pathlib.Path | None = None,
  real_statistics: str | pathlib.Path | None = None,
  pictures: str | pathlib.Path | None = None,
  batch_size: int = 32,
) -> Results:
  """Evaluates a checkpoint of a run.

  With several processes all of them call it, and all get the results; the first
  one writes.

  Args:
    workdir: folder of the run.
    data_dir: folder of the built data sets.
    step: of the checkpoint; the newest one by default.
    output: where to write the results as JSON, if anywhere; and beside them,
      under the same name, a sheet (.png), some pictures for the report (.npz)
      and a line a picture (.csv).
    split: which split's pictures are in-painted.
    baselines: whether to score the baselines on the same pictures.
    references: how many pictures of the person tell whose eyes to paint.
    compressor: workdir of a compressor for the distances of codes; by default
      the code model's own.
    inception: path of the published Inception weights, for FID and the
      Inception Score, or `download`.
    unverified_inception: path of other weights in that layout; the results
      then have other names.
    real_statistics: where the network's statistics of the originals are kept;
      by default in the user's cache.
    pictures: folder to write every picture to, in a folder a kind.
    batch_size: pictures in-painted at once, over all devices; rounded up to a
      multiple of their number.

  Returns:
    The metrics of the model, and of the baselines where they were asked for.

  Raises:
    InputError: there is no such run, checkpoint, data set or split, or a
      record is damaged.
    OSError: what was asked for cannot be written.
  """
  options = Options(
    split, baselines, references, compressor, inception, unverified_inception,
    real_statistics, pictures, batch_size,
  )  # fmt: skip
  evaluator = Evaluator(workdir, data_dir, options)
  evaluation = evaluator(*evaluator.restore(step))
  if output is not None:
    _save(evaluation, output)
  return evaluation.results


def watch(
  workdir: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  output: str | pathlib.Path,
  *,
  timeout: float | None = None,
  **options,
) -> Iterator[Results]:
  """Evaluates every checkpoint of a run as it comes; ends when the run ends.

  The results of step 500 are `<output>-00000500.json`, the suffix of `output`
  set aside, and `output` itself holds the newest. What is there is not made
  again, so a watch that was stopped goes on.

  Args:
    workdir: folder of the run, which need not exist yet.
    data_dir: folder of the built data sets.
    output: of the newest results.
    timeout: seconds to wait for the next checkpoint; for ever by default.
    **options: those of `evaluate`.

  Yields:
    The results of one checkpoint after the other.

  Raises:
    InputError: as `evaluate` does; there are results of another run under that
      name; or no checkpoint came in time.
    OSError: the results cannot be written.
  """
  evaluator, failures = None, {}
  output, options = pathlib.Path(output), Options(**options)
  deadline = None if timeout is None else time.monotonic() + timeout
  while True:
    step, is_last = _agreed(_next_step(workdir, output, options, failures))
    if step is None and is_last:
      return
    if step is None:
      if deadline is not None and time.monotonic() > deadline:
        raise InputError(f'no new checkpoint in {workdir} for {timeout:g} s')
      time.sleep(SECONDS)
      continue
    evaluator = evaluator or Evaluator(workdir, data_dir, options)
    try:
      restored = evaluator.restore(step)
    except MissingCheckpointError:
      failures[step] = failures.get(step, 0) + 1
      if failures[step] == TRIES:
        logger.warning('checkpoint %d is not evaluated', step)
      time.sleep(SECONDS)
      continue
    evaluation = evaluator(*restored)
    _save(evaluation, path_of(output, step))
    _save(evaluation, output)
    if timeout is not None:
      deadline = time.monotonic() + timeout
    yield evaluation.results


def path_of(output: str | pathlib.Path, step: int) -> pathlib.Path:
  """Returns where `watch` writes the results of a step."""
  output = pathlib.Path(output)
  return output.with_name(f'{output.stem}-{step:08d}{output.suffix}')


def _next_step(
  workdir: str | pathlib.Path,
  output: pathlib.Path,
  options: Options,
  failures: dict[int, int],
) -> tuple[int | None, bool]:
  """The oldest checkpoint without results, if any; has the run ended?"""
  path = pathlib.Path(workdir) / config_lib.FILENAME
  if not path.is_file():
    return None, False
  config = config_lib.load(path)
  steps = steps_of(workdir)
  for step in steps:
    if failures.get(step, 0) < TRIES and not _is_done(
      path_of(output, step), config, options
    ):
      return step, False
  return None, bool(steps) and steps[-1] >= config.steps


def _is_done(
  path: pathlib.Path, config: config_lib.Config, options: Options
) -> bool:
  if not path.exists():
    return False
  found = results_lib.load(path)
  wanted = (config_lib.fingerprint(config), options.split)
  if not isinstance(found, Results) or wanted != (
    found.provenance.get('config_sha256'),
    found.split,
  ):
    raise InputError(f'{path} holds the results of something else')
  return True


def _agreed(found: tuple[int | None, bool]) -> tuple[int | None, bool]:
  """What the first process found, for all of them."""
  if jax.process_count() == 1:
    return found
  step, is_last = found
  told = np.asarray([-1 if step is None else step, is_last], np.int32)
  step, is_last = multihost_utils.broadcast_one_to_all(told).tolist()
  return None if step < 0 else step, bool(is_last)


def _save(evaluation: Evaluation, output: str | pathlib.Path) -> None:
  if jax.process_index() == 0:
    evaluation.save(output)
