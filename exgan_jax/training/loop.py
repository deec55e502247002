"""The training loop, top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import functools
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from exgan_jax import config as config_lib
from exgan_jax import contact_sheet
from exgan_jax.config import Config
from exgan_jax.data import eval_batches, train_batches
from exgan_jax.errors import InputError
from exgan_jax.face_records import progress
from exgan_jax.models import masks
from exgan_jax.models.networks import Model, Params
from exgan_jax.models.paint import make_paint_step
from exgan_jax.runtime import processes, sharding
from exgan_jax.training.checkpoint import FOLDER, Checkpoints, restore_encoder
from exgan_jax.training.log import Log
from exgan_jax.training.metric_writer import MetricWriter
from exgan_jax.training.state import TrainState, create_state, model_of
from exgan_jax.training.step import (
  Step,
  jitted,
  make_compressor_step,
  make_train_step,
  make_warmup_step,
)

logger = logging.getLogger(__name__)

SAMPLES = 8


def train(config: Config) -> TrainState:
  """Trains to `config.steps`, from the newest checkpoint if there is one.

  With several processes all of them call it, with the same configuration and
  with a workdir that all of them see; the first one writes what is written
  once.

  Returns:
    The state after the last step; its checkpoint is in the workdir.

  Raises:
    InputError: the data set is not there, the workdir belongs to another
      configuration or cannot be written, the code model has no compressor, or
      a loss is not finite.
    PreemptedError: SIGTERM has come, and the state is saved: the same call
      goes on from there.
  """
  mesh = sharding.make_mesh(config.batch_size, config.fsdp)
  batches = train_batches.train_batches(
    config, jax.process_index(), jax.process_count()
  )
  records = train_batches.Records(
    config.data_dir, config.dataset, 'train'
  ).fingerprint()
  _check_same(config, records)
  encoder = _frozen_encoder(config, mesh)
  step_of = _steps(config, mesh)

  with (
    _owned_workdir(config) as workdir,
    processes.Preemption() as preemption,
    Checkpoints(workdir, keep=config.checkpoints_to_keep) as checkpoints,
  ):
    restored = checkpoints.restore(config, mesh)
    if restored:
      state, position = restored
      _go_on(batches, position, records)
    else:
      state = create_state(config, mesh, encoder)
    start = int(state.step)
    source = sample_source(config)
    samples = source and SampleSheets(config, mesh, workdir, *source)
    with (
      MetricWriter(workdir, start, not processes.is_first()) as writer,
      _progress(config, start) as bar,
    ):
      log = Log(config, start, writer, bar)
      later: list[Callable[[], None]] = []
      is_preempted = False
      for step in range(start + 1, config.steps + 1):
        with jax.transfer_guard('disallow'):
          batch = sharding.to_device(log.wait_for(batches), mesh)
          state, metrics = step_of(step)(state, batch)
        # The step before is written while the device works on this one.
        _run(later)
        is_preempted = preemption.reached(step)
        last = step == config.steps
        ends = last or is_preempted
        later = [functools.partial(log.write, step, metrics, ends)]
        if samples and (step % config.sample_every == 0 or last):
          painted = samples.paint(model_of(state))
          later.append(functools.partial(samples.write, step, painted))
        if step % config.checkpoint_every == 0 or ends:
          # Only a state whose losses were finite is worth keeping. It is saved
          # with the data position before the next batch is fetched, so that a
          # restored run sees no batch twice and skips none.
          _run([later.pop(0)])
          position = {'iterator': batches.get_state(), 'records': records}
          checkpoints.save(state, position, step)
        if is_preempted:
          break
      _run(later)
  if is_preempted and step < config.steps:
    raise processes.PreemptedError(
      f'preempted: saved at step {step}; the same command goes on from there'
    )
  return state


def _check_same(config: Config, records: str) -> None:
  """Checks that all processes are about to do the same."""
  # Each may find the files under a name of its own.
  shared = dataclasses.replace(
    config,
    data_dir='',
    workdir='',
    compressor='',
    lpips='',
    reader_threads=1,
  )
  processes.check_same('the configurations', str(shared))
  processes.check_same('the records in --data-dir', records)


def _steps(config: Config, mesh: Mesh) -> Callable[[int], Step]:
  """Returns what tells the jitted function of each step, counted from 1."""

  jit = functools.partial(jitted, config, mesh)
  if config.preset == 'compressor':
    compressor_step = jit(make_compressor_step(config))
    return lambda step: compressor_step
  warmup_step = jit(make_warmup_step(config))
  train_step = jit(make_train_step(config))
  return lambda step: warmup_step if step <= config.warmup_steps else train_step


def _frozen_encoder(config: Config, mesh: Mesh) -> Params | None:
  """The encoder that a code model starts with; a checkpoint holds its own."""
  if config.exemplar != 'code':
    return None
  if config.compressor:
    fields = ('resolution', 'compressor_width', 'code_size')
    return restore_encoder(config.compressor, config, mesh, *fields)[1]
  if not pathlib.Path(config.workdir, FOLDER).is_dir():
    raise InputError(
      '--compressor is missing: the workdir of a run of --preset compressor'
    )
  return None


def sample_source(config: Config) -> tuple[train_batches.Records, str] | None:
  """The records for sample sheets and their split; None without any pair."""
  read = functools.partial(
    train_batches.Records, config.data_dir, config.dataset
  )
  try:
    return read('validation'), 'validation'
  except InputError:  # Too few people for one.
    records = read('train')
    return (records, 'train') if records.paired else None


class SampleSheets:
  """Sheets of the same few held-out pictures, painted as training goes on."""

  def __init__(
    self,
    config: Config,
    mesh: Mesh,
    workdir: pathlib.Path,
    records: train_batches.Records,
    split: str,
  ):
    # Spread over the split: neighbours are the same person.
    positions = np.linspace(0, records.paired - 1, SAMPLES).astype(int).tolist()
    read = functools.partial(
      eval_batches.evaluation_batches,
      *(records, split, config.resolution),
      positions=positions,
    )
    part = read(
      sharding.divisible(SAMPLES),
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    self._inputs = sharding.to_device(next(part).inputs, mesh)
    self._batch = next(read(SAMPLES)).inputs
    self._paint = jax.jit(
      make_paint_step(config), out_shardings=sharding.replicated(mesh)
    )
    self._mask = masks.mask_of(self._batch)
    self._is_painter = config.preset != 'compressor'
    self._folder = workdir / 'samples'

  def paint(self, model: Model) -> jax.Array:
    """Starts to paint."""
    return self._paint(model, self._inputs)

  def write(self, step: int, painted: jax.Array) -> None:
    """Writes what `paint` began to samples/step_*.png, in the first process."""
    if not processes.is_first():
      return
    columns = {
      f'step {step}': contact_sheet.to_uint8(np.asarray(painted)[:SAMPLES]),
      'original': self._batch['image'],
    }
    if self._is_painter:
      seen = {
        'reference': self._batch['reference'],
        'input': masks.hole(self._batch['image'], self._mask),
      }
      columns = seen | columns
    contact_sheet.save(
      contact_sheet.make_sheet(columns, self._batch),
      self._folder / f'step_{step:08d}.png',
    )


@contextlib.contextmanager
def _owned_workdir(config: Config) -> Iterator[pathlib.Path]:
  """The folder of the run, locked against other processes and described.

  The lock dies with its owner. Nothing is written over a run with another
  configuration, or one that is going on.

  Raises:
    InputError: it belongs to either, or cannot be written.
  """
  if not config.workdir:
    raise InputError('--workdir is missing: the folder of the run')
  workdir = pathlib.Path(config.workdir)
  with contextlib.ExitStack() as stack:
    processes.agreed(lambda: _claim(config, workdir, stack), 0)
    if not processes.all_of((workdir / config_lib.FILENAME).is_file()):
      raise InputError(f'{workdir} is not a folder that all processes share')
    yield workdir


def _claim(
  config: Config, workdir: pathlib.Path, stack: contextlib.ExitStack
) -> tuple[()]:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context((workdir / 'lock').open('w'))
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _check_configuration(config, workdir)
    config_lib.save(config, workdir / config_lib.FILENAME)
  except BlockingIOError as error:
    raise InputError(f'another process trains in {workdir}') from error
  except OSError as error:
    raise InputError(f'cannot write {workdir}: {error.strerror}') from error
  return ()


def _check_configuration(config: Config, workdir: pathlib.Path) -> None:
  path = workdir / config_lib.FILENAME
  if not path.exists():
    return
  before = config_lib.load(path)
  if config_lib.fingerprint(before) != config_lib.fingerprint(config):
    name = config_lib.first_difference(before, config)
    raise InputError(
      f'{workdir} holds a run with another --{config_lib.flag(name)}'
      f' ({getattr(before, name)}): go on with that, or take another folder'
    )


def _go_on(batches: grain.DatasetIterator, position: Any, records: str) -> None:
  """Sets the iterator to where a checkpoint left it.

  Raises:
    InputError: that is no position, or one in other records.
  """
  try:
    same = position['records'] == records
    batches.set_state(position['iterator'])
  except (IndexError, KeyError, TypeError, ValueError) as error:
    raise InputError(
      'the data position in the checkpoint is damaged'
    ) from error
  if not same:
    raise InputError(
      'the records in --data-dir are not those that the run began with'
    )


def _progress(config: Config, start: int) -> tqdm:
  return progress.bar(
    total=config.steps,
    initial=start,
    unit='img',
    unit_scale=config.batch_size,
    desc=config.preset,
    disable=not processes.is_first(),
  )


def _run(calls: Sequence[Callable[[], None]]) -> None:
  for call in calls:
    try:
      call()
    except OSError as error:
      # What is written beside checkpoints is not worth a run.
      if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise
      logger.warning('cannot write what was measured: %s', error.strerror)
