"""Saving and restoring a run with Orbax.

A step's folder holds `state` (the whole training state), `model` (the part
that evaluation and inference read) and `data` (the input pipeline's position).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import glob
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from exgan_jax import config as config_lib
from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.models import networks
from exgan_jax.runtime import processes
from exgan_jax.training import state as state_lib

logger = logging.getLogger(__name__)

FOLDER = 'checkpoints'
# Of the handles of folders whose path Orbax would take for a pattern.
_FIRST_HANDLE = 200


class MissingCheckpointError(InputError):
  """There is no readable checkpoint."""


class Checkpoints:
  """The checkpoints of a working directory, as a context manager.

  Args:
    workdir: folder of the run.
    keep: number of newest checkpoints to keep; None opens the folder for
      reading only.

  Raises:
    InputError: opened for reading, but there is no folder of checkpoints.
  """

  def __init__(self, workdir: str | pathlib.Path, keep: int | None = None):
    self._folder = (pathlib.Path(workdir) / FOLDER).resolve()
    if keep is None and not self._folder.is_dir():
      raise MissingCheckpointError(f'no checkpoint in {self._folder}')
    self._keep = keep
    # Steps that could not be read; a resumed run overwrites them.
    self._damaged: set[int] = set()
    # What is being written: the step, and the shapes of its parts.
    self._pending: tuple[ocp.AsyncResponse, int, dict[str, Any]] | None = None
    self._problem: str | None = None
    context = ocp.Context()
    registry = ocp.handlers.local_registry()
    registry.add(ocp.handlers.JsonHandler, checkpointable_name='data')
    context.checkpointables.registry = registry
    self._handle = contextlib.ExitStack()
    self._open = functools.partial(
      ocp.training.Checkpointer,
      self._handle.enter_context(_literal(self._folder)),
      context=context,
      # Incomplete checkpoints of a killed process have temporary names. Only
      # the run that owns the folder may remove them.
      cleanup_tmp_directories=keep is not None,
    )
    self._checkpointer = self._open()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, kind, error, trace) -> None:
    if error is None:
      self.close()
    # Without a lost process no checkpoint can be completed. Other errors may
    # be this process's alone: the others still need it to complete theirs.
    elif not processes.is_loss(error):
      with contextlib.suppress(OSError, RuntimeError, ValueError):
        if self._pending is not None:
          self._pending[0].result()
        self._checkpointer.close()
    self._handle.close()

  def close(self) -> None:
    """Waits until the last checkpoint is written.

    Raises:
      InputError: it could not be written, or not be read back.
    """
    self._finish()
    self._checkpointer.close()
    self._handle.close()
    if self._problem:
      raise InputError(self._problem)

  def save(self, state: state_lib.TrainState, data: Any, step: int) -> None:
    """Starts writing a checkpoint; arrays may be changed once it returns.

    If it cannot be written, as on a full disk, a warning is logged and the run
    continues: the previous checkpoint still exists, and there may be space for
    the next one.
    """
    self._finish()
    parts = {'state': state, 'model': state_lib.model_of(state), 'data': data}

    def check_space() -> None:
      needed = sum(getattr(x, 'nbytes', 0) for x in jax.tree.leaves(parts))
      if shutil.disk_usage(self._checkpointer.directory).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def start() -> None:
      pending = self._checkpointer.save_checkpointables_async(
        step, parts, force=True, overwrite=step in self._damaged
      )
      shapes = jax.tree.map(_shape, {**parts, 'data': None})
      self._pending = pending, step, shapes

    # Checked first: if one process fails to write, the others wait for minutes.
    if self._attempt(check_space):
      self._attempt(start)

  def _finish(self) -> None:
    """Waits for a checkpoint that is being written, and reads it back.

    Only then are older ones removed.
    """
    if self._pending is None:
      return
    (pending, step, shapes), self._pending = self._pending, None
    if not self._attempt(pending.result):
      return
    if not self._attempt(functools.partial(self._check, step, shapes)):
      self._damaged.add(step)
      return
    self._damaged.discard(step)
    while (old := self._oldest_surplus()) is not None:
      self._checkpointer.delete(old)

  def _check(self, step: int, shapes: dict[str, Any]) -> None:
    """Reads the shapes of all arrays of a checkpoint, and one array.

    Raises:
      OSError: they are not those that were written.
    """
    state = shapes['state']
    rest = vars(jax.tree.map(lambda _: ..., state))
    try:
      stored = self._checkpointer.checkpointables_metadata(step).metadata
      for name in ('state', 'model'):
        _check_shapes(name, _shapes(shapes[name]), _shapes(stored[name]))
      loaded = self._checkpointer.load_checkpointables(
        step, {'state': rest | {'step': state.step}, 'data': None}
      )
      found = int(loaded['state']['step'])
    except Exception as error:  # Orbax may raise anything.
      if processes.is_loss(error):
        raise
      reason = f'it is not read back: {_reason(error)}'
      raise OSError(errno.EIO, reason) from error
    if found != step:
      raise OSError(errno.EIO, f'it is read back as step {found}')

  def _oldest_surplus(self) -> int | None:
    """Returns the oldest checkpoint if there are too many, as process 0 sees.

    Those that cannot be read do not count.
    """
    keep = self._keep
    assert keep is not None

    def oldest() -> list[int]:
      steps = {entry.step for entry in self._checkpointer.checkpoints}
      kept = sorted(steps - self._damaged)[-keep:]
      return [min((step for step in steps if step < kept[0]), default=-1)]

    (found,) = processes.agreed(oldest, 1)
    return None if found < 0 else found

  def _attempt(self, write: Callable[[], Any]) -> bool:
    """Calls `write`; if it fails in one process, all give up."""
    problem = None
    try:
      write()
    except (OSError, RuntimeError, ValueError) as error:
      # Orbax reports a full disk as any of these.
      if processes.is_loss(error):
        raise
      problem = _reason(error)
    if processes.all_of(problem is None):
      self._problem = None
      return True
    self._problem = (
      f'cannot write {self._folder}: {problem or "another process"}'
    )
    logger.warning('%s; the previous checkpoint is good', self._problem)
    # Reopening clears the error and removes the incomplete checkpoint.
    self._pending = None
    with contextlib.suppress(OSError, RuntimeError, ValueError):
      self._checkpointer.close()
    self._checkpointer = self._open()
    return False

  def restore(
    self, config: Config, mesh: Mesh, step: int | None = None
  ) -> tuple[state_lib.TrainState, Any] | None:
    """Returns the state and data position of a step, None without checkpoints.

    By default it is the newest step that can be read.

    Raises:
      InputError: there are checkpoints, but none fits.
    """
    state = state_lib.abstract_state(config, mesh)
    found = self._newest({'state': state, 'data': None}, step)
    return found and (found[1]['state'], found[1]['data'])

  def restore_model(
    self, config: Config, mesh: Mesh, step: int | None = None
  ) -> tuple[int, networks.Model]:
    """Returns the model of a step, by default the newest, and the step.

    Raises:
      InputError: there is no such checkpoint, or it does not fit.
    """
    abstract = {'model': networks.abstract_model(config, mesh)}
    found = self._newest(abstract, step)
    if found is None:
      wanted = 'no checkpoint' if step is None else f'no checkpoint of {step}'
      raise MissingCheckpointError(f'{wanted} in {self._folder}')
    return found[0], found[1]['model']

  def _newest(
    self, abstract: dict[str, Any], step: int | None = None
  ) -> tuple[int, dict[str, Any]] | None:
    problem = ''
    while (candidate := self._candidate(step)) is not None:
      loaded = None
      try:
        loaded = self._load(candidate, abstract)
      except InputError:  # Readable, but of another model, as all others.
        raise
      except Exception as error:  # Orbax may raise anything on damaged files.
        if processes.is_loss(error):
          raise
        problem = problem or _reason(error)
        logger.warning(
          'skipping checkpoint %d, which cannot be read: %s',
          *(candidate, _reason(error)),
        )
      # Each process reads only its part, which may be undamaged.
      if processes.all_of(loaded is not None) and loaded is not None:
        return candidate, loaded
      problem = problem or 'damaged'
      self._damaged.add(candidate)
    if problem:
      raise MissingCheckpointError(
        f'cannot read any checkpoint in {self._folder}: {problem}'
      )
    return None

  def _candidate(self, step: int | None) -> int | None:
    """Returns the newest step that may be readable, as process 0 sees it."""

    def newest() -> list[int]:
      steps = {entry.step for entry in self._checkpointer.checkpoints}
      if step is not None:
        steps &= {step}
      return [max(steps - self._damaged, default=-1)]

    (found,) = processes.agreed(newest, 1)
    return None if found < 0 else found

  def _load(self, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
    stored = self._checkpointer.checkpointables_metadata(step).metadata
    wanted, removed = {}, {}
    for name, tree in abstract.items():
      wanted[name] = tree
      if tree is None:
        continue
      if found := _shapes(stored[name]):
        _check_shapes(f'checkpoint {step}: {name}', _shapes(tree), found)
      # Orbax requires all stored keys. Older versions stored more fields than
      # the tree has; those contain no arrays.
      fields = vars(tree)
      removed[name] = stored[name].keys() - fields.keys()
      wanted[name] = fields | {k: stored[name][k] for k in removed[name]}
    loaded = self._checkpointer.load_checkpointables(step, wanted)
    for name, names in removed.items():
      kept = {k: v for k, v in loaded[name].items() if k not in names}
      loaded[name] = type(abstract[name])(**kept)
    return loaded


@contextlib.contextmanager
def _literal(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a path of a folder that means the same to Orbax.

  Orbax looks for its files by patterns and does not escape the folder's own
  name, so that it would not find any, or find those of another run.

  Raises:
    InputError: there is no such path on this system.
  """
  if glob.escape(str(folder)) == str(folder):
    yield folder
    return
  number = os.open(folder.parent, os.O_RDONLY)
  try:
    # Processes that work together must use the same name.
    handle = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_HANDLE)
  finally:
    os.close(number)
  try:
    path = pathlib.Path(f'/proc/self/fd/{handle}')
    if not path.is_dir():
      raise InputError(f'{folder}: use a path without [, ], * and ?')
    yield path / folder.name
  finally:
    os.close(handle)


def steps_of(workdir: str | pathlib.Path) -> list[int]:
  """Returns the steps of a run's checkpoints, oldest first.

  It only looks at folder names and does not wait for other processes.
  """
  folder = pathlib.Path(workdir) / FOLDER
  names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
  return sorted(int(name) for name in names if name.isdecimal())


def restore_encoder(
  workdir: str | pathlib.Path, config: Config, mesh: Mesh, *fields: str
) -> tuple[Config, networks.Params]:
  """Reads the encoder of the trained compressor in `workdir`, and its config.

  The fields must have the values of `config`, the run that will use it.

  Raises:
    InputError: it is not a compressor, does not fit, or has no checkpoint.
  """
  trained = config_lib.load(pathlib.Path(workdir) / config_lib.FILENAME)
  if trained.preset != 'compressor':
    raise InputError(f'--compressor {workdir} holds a {trained.preset} model')
  for name in fields:
    there, here = getattr(trained, name), getattr(config, name)
    if there != here:
      flag = config_lib.flag(name)
      raise InputError(
        f'the compressor in {workdir} has --{flag} {there}, this run {here}'
      )
  with Checkpoints(workdir) as checkpoints:
    _, model = checkpoints.restore_model(trained, mesh)
  return trained, model.generator['encoder']


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
  """Returns shape and type of every array of a tree by its path."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): (
      tuple(leaf.shape),
      str(leaf.dtype),
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _check_shapes(name: str, expected: dict, found: dict) -> None:
  wrong = [
    f'{path} is {found.get(path, "missing")}, not {expected.get(path, "there")}'
    for path in sorted(expected.keys() | found.keys())
    if expected.get(path) != found.get(path)
  ]
  if wrong:
    more = f' (and {len(wrong) - 1} more)' if wrong[1:] else ''
    raise InputError(f'{name}/{wrong[0]}{more}')


def _reason(error: Exception) -> str:
  """Shortens an error of Orbax to one line."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  if code := re.search(r"os_error_code='(\d+)'", str(error)):
    return os.strerror(int(code[1]))
  return f'{type(error).__name__}: {processes.first_line(error)}'[:300]
