"""The training loop."""

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
from exgan_jax.training import export
from exgan_jax.training.checkpoint import FOLDER, Checkpoints, restore_encoder
from exgan_jax.training.log import Log
from exgan_jax.training.metric_writer import MetricWriter
from exgan_jax.training.state import (
  TrainState,
  check_memory,
  create_state,
  model_of,
)
from exgan_jax.training.step import (
  Step,
  jitted,
  make_compressor_step,
  make_train_step,
  make_warmup_step,
  penalty_is_due,
)

logger = logging.getLogger(__name__)

SAMPLES = 8


def train(config: Config) -> TrainState:
  """Trains to `config.steps`, resuming from the newest checkpoint.

  With several processes, all must call it with the same configuration and a
  shared workdir. Process 0 writes logs and samples.

  Returns:
    The state after the last step, which is saved in the workdir.

  Raises:
    InputError: the data set does not exist, the workdir belongs to another
      configuration or cannot be written, the code model has no compressor, or
      a loss is not finite.
    PreemptedError: SIGTERM was received and the state is saved. The same call
      resumes from there.
  """
  mesh = sharding.make_mesh(config.batch_size, config.fsdp)
  check_memory(config, mesh)
  batches = train_batches.train_batches(
    config, jax.process_index(), jax.process_count()
  )
  source = train_batches.Records(config.data_dir, config.dataset, 'train')
  records = source.fingerprint()
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
      _set_position(batches, position, records)
    else:
      state = create_state(config, mesh, encoder)
    start = int(state.step)
    shown = sample_source(config)
    samples = shown and SampleSheets(config, mesh, workdir, *shown)
    is_mute = not processes.is_first()
    with (
      MetricWriter(workdir, start, is_mute) as writer,
      progress.bar(
        total=config.steps,
        initial=start,
        unit='img',
        unit_scale=config.batch_size,
        desc=config.preset,
        disable=is_mute,
      ) as bar,
    ):
      log = Log(config, start, writer, bar)
      pending: list[Callable[[], None]] = []
      is_preempted = False
      for step in range(start + 1, config.steps + 1):
        with jax.transfer_guard('disallow'):
          batch = sharding.to_device(log.wait_for(batches), mesh)
          state, metrics = step_of(step)(state, batch)
        # Writes the previous step while the device computes this one.
        _run(pending)
        is_preempted = preemption.reached(step)
        last = step == config.steps
        ends = last or is_preempted
        pending = [functools.partial(log.write, step, metrics, ends)]
        if samples and (step % config.sample_every == 0 or last):
          painted = samples.paint(model_of(state))
          pending.append(functools.partial(samples.write, step, painted))
        if step % config.checkpoint_every == 0 or ends:
          # Checks first that the losses are finite. The data position is saved
          # before the next batch is fetched, so that a resumed run neither
          # repeats nor skips a batch.
          _run([pending.pop(0)])
          position = {'iterator': batches.get_state(), 'records': records}
          checkpoints.save(state, position, step)
          if not processes.all_of(source.is_there()):
            raise InputError(
              f'the records in {config.data_dir} were removed during training;'
              f' saved at step {step}'
            )
        if is_preempted:
          break
      _run(pending)
  if is_preempted and step < config.steps:
    raise processes.PreemptedError(
      f'preempted: saved at step {step}; run the same command to resume'
    )
  return state


def _check_same(config: Config, records: str) -> None:
  """Checks that all processes have the same configuration and records."""
  # Paths may differ between machines.
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
  """Returns a function from a step number, counted from 1, to its program."""
  jit = functools.partial(jitted, config, mesh)
  if config.preset == 'compressor':
    compressor_step = jit(make_compressor_step(config))
    return lambda step: compressor_step
  warmup_step = jit(make_warmup_step(config))
  train_step = {
    penalized: jit(make_train_step(config, penalized))
    for penalized in (False, True)
  }

  def step_of(step: int) -> Step:
    if step <= config.warmup_steps:
      return warmup_step
    return train_step[penalty_is_due(config, step)]

  return step_of


def _frozen_encoder(config: Config, mesh: Mesh) -> Params | None:
  """Reads the compressor's encoder for a code model.

  A resumed run does not need it: its checkpoints contain the encoder.
  """
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
  """Returns records for sample sheets and their split, or None without pairs.

  Data sets with few people have no validation split; then it is `train`.
  """
  read = functools.partial(
    train_batches.Records, config.data_dir, config.dataset
  )
  try:
    return read('validation'), 'validation'
  except InputError:
    records = read('train')
    return (records, 'train') if records.paired else None


class SampleSheets:
  """Contact sheets of a few fixed pictures, painted during training."""

  def __init__(
    self,
    config: Config,
    mesh: Mesh,
    workdir: pathlib.Path,
    records: train_batches.Records,
    split: str,
  ):
    # Spread over the split, because neighbors show the same person.
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
    self._is_painter = config.preset != 'compressor'
    self._folder = workdir / 'samples'

  def paint(self, model: Model) -> jax.Array:
    """Starts painting."""
    return self._paint(model, self._inputs)

  def write(self, step: int, painted: jax.Array) -> None:
    """Writes samples/step_*.png in process 0."""
    if not processes.is_first():
      return
    columns = {
      f'step {step}': contact_sheet.to_uint8(np.asarray(painted)[:SAMPLES]),
      'original': self._batch['image'],
    }
    if self._is_painter:
      mask = masks.mask_of(self._batch)
      seen = {
        'reference': self._batch['reference'],
        'input': masks.hole(self._batch['image'], mask),
      }
      columns = seen | columns
    contact_sheet.save(
      contact_sheet.make_sheet(columns, self._batch),
      self._folder / f'step_{step:08d}.png',
    )


@contextlib.contextmanager
def _owned_workdir(config: Config) -> Iterator[pathlib.Path]:
  """Creates and locks the run's folder and writes its configuration.

  The lock is released when its owner dies.

  Raises:
    InputError: it has a run with another configuration, is locked by another
      process, or cannot be written.
  """
  if not config.workdir:
    raise InputError('--workdir is missing: the folder of the run')
  workdir = pathlib.Path(config.workdir)
  with contextlib.ExitStack() as stack:

    def claim() -> tuple[()]:
      try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((workdir / 'lock').open('w'))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check_configuration(config, workdir)
        config_lib.save(config, workdir / config_lib.FILENAME)
      except BlockingIOError as error:
        raise InputError(f'another process is using {workdir}') from error
      except OSError as error:
        raise InputError(f'cannot write {workdir}: {error.strerror}') from error
      return ()

    processes.agreed(claim, 0)
    if not processes.all_of((workdir / config_lib.FILENAME).is_file()):
      raise InputError(f'{workdir} is not shared by all processes')
    yield workdir


def _check_configuration(config: Config, workdir: pathlib.Path) -> None:
  path = workdir / config_lib.FILENAME
  if (workdir / export.WEIGHTS).exists():
    raise InputError(
      f'{workdir} is an exported model: choose another --workdir'
    )
  if not path.exists():
    return
  before = config_lib.load(path)
  if name := config_lib.first_difference(before, config):
    raise InputError(
      f'{workdir} holds a run with another --{config_lib.flag(name)}'
      f' ({getattr(before, name)}): use that value or another --workdir'
    )


def _set_position(
  batches: grain.DatasetIterator, position: Any, records: str
) -> None:
  """Sets the iterator to the data position of a checkpoint.

  Raises:
    InputError: the position is invalid or belongs to other records.
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
      'the records in --data-dir are not those that the run was started with'
    )


def _run(calls: Sequence[Callable[[], None]]) -> None:
  """Runs calls that write files; a full disk does not stop the run."""
  for call in calls:
    try:
      call()
    except OSError as error:
      if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise
      logger.warning('cannot write metrics or samples: %s', error.strerror)
