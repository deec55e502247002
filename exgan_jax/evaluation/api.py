"""The separate evaluator: a checkpoint and records in, results.json out.

Follows the paper's protocol: every picture of the split is in-painted once,
with the next picture of the same person as its reference, and the first one
for the last. Results are rounded to 8 bits before they are scored, as a saved
picture is, so that a score of the files gives the same numbers. Every picture
is painted a second time with a stranger's reference: what that costs is what
the model owes to the exemplar.
"""

from __future__ import annotations

import collections
import functools
import logging
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import jax

from exgan_jax import config as config_lib
from exgan_jax.errors import InputError
from exgan_jax.evaluation import results as results_lib
from exgan_jax.evaluation.evaluator import Evaluation, Evaluator
from exgan_jax.evaluation.options import BESIDE, Options
from exgan_jax.evaluation.results import Results
from exgan_jax.runtime import processes
from exgan_jax.training.checkpoint import MissingCheckpointError, steps_of

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
    pictures: folder to write every picture to, in a folder a kind; not one
      that holds anything.
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
  options.check(output)
  folder = None if pictures is None else pathlib.Path(pictures)
  if folder is not None and folder.is_dir() and any(folder.iterdir()):
    raise InputError(f'--pictures {folder} is not empty')
  evaluator = Evaluator(workdir, data_dir, options)
  if step is None and jax.process_count() > 1:
    step = _agreed(lambda: (max(steps_of(workdir), default=-1), False))[0]
  evaluation = evaluator(*evaluator.restore(step), folder)
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
  """Evaluates the checkpoints of a run as they come, each of them once.

  Ends when that of the run's last step is evaluated. The results of step 500
  are `<output>-00000500.json`, the suffix of `output` set aside, and `output`
  itself holds the newest. What is there is not made again, so a watch that was
  stopped goes on. Checkpoints that the run removes before their turn are left
  out (`--checkpoints-to-keep`).

  Args:
    workdir: folder of the run, which need not exist yet.
    data_dir: folder of the built data sets.
    output: of the newest results.
    timeout: seconds to wait for the next checkpoint; for ever by default, also
      where the run was stopped before its end.
    **options: those of `evaluate`; pictures get a folder a step.

  Yields:
    The results of one checkpoint after the other.

  Raises:
    InputError: as `evaluate` does; there are results under that name of another
      run or made otherwise; or no checkpoint came in time.
    OSError: the results cannot be written.
  """
  options = Options(**options)
  options.check(output)
  if timeout is not None and not timeout > 0:
    raise InputError('--timeout must be more than 0 seconds')
  following = _Following(pathlib.Path(workdir), pathlib.Path(output), timeout)
  evaluator = None
  while True:
    if evaluator is None and processes.all_of(following.has_begun()):
      evaluator = Evaluator(workdir, data_dir, options)
    step, is_over = _agreed(functools.partial(following.next, evaluator))
    if is_over:
      return
    # The others may see a checkpoint later, on a file system that they share.
    if step is None or not processes.all_of(step in steps_of(workdir)):
      time.sleep(SECONDS)
      continue
    try:
      restored = evaluator.restore(step)
    except MissingCheckpointError:
      following.failed(step)
      time.sleep(SECONDS)
      continue
    folder = options.pictures and pathlib.Path(options.pictures, f'{step:08d}')
    evaluation = evaluator(*restored, folder)
    _save(evaluation, path_of(output, step))
    _save(evaluation, output)
    following.came()
    yield evaluation.results


def path_of(output: str | pathlib.Path, step: int) -> pathlib.Path:
  """Returns where `watch` writes the results of a step."""
  output = pathlib.Path(output)
  return output.with_name(f'{output.stem}-{step:08d}{output.suffix}')


class _Following:
  """What is known of the run that is followed."""

  def __init__(
    self, workdir: pathlib.Path, output: pathlib.Path, timeout: float | None
  ):
    self._workdir, self._output, self._timeout = workdir, output, timeout
    self._failures: collections.Counter[int] = collections.Counter()
    self.came()

  def came(self) -> None:
    """A checkpoint has come: the wait for the next one begins."""
    self._since = time.monotonic()

  def failed(self, step: int) -> None:
    """A checkpoint could not be read; it may not be whole yet."""
    self._failures[step] += 1
    if self._failures[step] == TRIES:
      logger.warning('checkpoint %d is not evaluated', step)

  def has_begun(self) -> bool:
    return (self._workdir / config_lib.FILENAME).is_file()

  def next(self, evaluator: Evaluator | None) -> tuple[int | None, bool]:
    """The oldest checkpoint without results, if any; whether that was all.

    Raises:
      InputError: there are results of something else, or the time is up.
    """
    steps = steps_of(self._workdir) if evaluator else []
    done = [step for step in steps if self._is_done(step, evaluator)]
    for step in steps:
      if self._failures[step] < TRIES and step not in done:
        return step, False
    # The run may go on further than it was to go at first.
    if steps and steps[-1] >= self._config().steps:
      self._renew(done)
      return None, True
    waited = time.monotonic() - self._since
    if self._timeout is not None and waited > self._timeout:
      raise InputError(
        f'no new checkpoint in {self._workdir} for {self._timeout:g} s'
      )
    return None, False

  def _config(self) -> config_lib.Config:
    return config_lib.load(self._workdir / config_lib.FILENAME)

  def _is_done(self, step: int, evaluator: Evaluator) -> bool:
    path = path_of(self._output, step)
    if not path.exists():
      return False
    found = results_lib.load(path)
    if not isinstance(found, Results) or not evaluator.made(found):
      raise InputError(
        f'{path} holds results of something else, or made in another way'
      )
    return True

  def _renew(self, done: list[int]) -> None:
    """Makes sure that the newest results are under the plain name, too."""
    if not done:
      return
    newest = path_of(self._output, done[-1])
    if self._output.exists():
      found = results_lib.load(self._output)
      if not isinstance(found, Results):
        raise InputError(f'{self._output} holds results of something else')
      if found.step >= done[-1]:
        return
    for suffix in (*BESIDE, newest.suffix):
      if newest.with_suffix(suffix).exists():
        shutil.copyfile(
          newest.with_suffix(suffix), self._output.with_suffix(suffix)
        )


def _agreed(
  decide: Callable[[], tuple[int | None, bool]],
) -> tuple[int | None, bool]:
  """The first process's decision on a step and on the end, for all of them."""

  def numbers() -> tuple[int, bool]:
    step, is_over = decide()
    return -1 if step is None else step, is_over

  step, is_over = processes.agreed(numbers, 2)
  return None if step < 0 else step, bool(is_over)


def _save(evaluation: Evaluation, output: str | pathlib.Path) -> None:
  if processes.is_first():
    evaluation.save(output)
