"""Saving and restoring a run; the only file that knows Orbax.

A step's folder holds `state` (all of the training state), `model` (the part
of it that evaluation and inference read) and `data` (where the input pipeline
stands).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Callable
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


class MissingCheckpointError(InputError):
  """There is no checkpoint, or none that can be read."""


class Checkpoints:
  """The checkpoints of a working directory, as a context.

  Args:
    workdir: folder of the run.
    keep: how many to keep, the newest; None for a reader, which writes and
      removes nothing.

  Raises:
    InputError: a reader finds no folder of checkpoints.
  """

  def __init__(self, workdir: str | pathlib.Path, keep: int | None = None):
    folder = (pathlib.Path(workdir) / FOLDER).resolve()
    if keep is None and not folder.is_dir():
      raise MissingCheckpointError(f'no checkpoint in {folder}')
    # Steps that could not be read: a run that comes by them writes them anew.
    self._damaged: set[int] = set()
    self._pending: ocp.AsyncResponse | None = None
    self._problem: str | None = None
    self._open = functools.partial(
      ocp.training.Checkpointer,
      folder,
      context=_context(),
      preservation_policy=keep
      and ocp.training.preservation_policies.LatestN(keep),
      # What a killed process left half written has another name until it is
      # complete; only the one run that writes here may remove it.
      cleanup_tmp_directories=keep is not None,
    )
    self._checkpointer = self._open()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, kind, error, trace) -> None:
    if error is None:
      self.close()
    # A checkpoint is never whole without a process that is lost.
    elif not processes.is_loss(error):
      self._leave()

  def close(self) -> None:
    """Waits for what is being written.

    Raises:
      InputError: the last one could not be written.
    """
    self._finish()
    self._checkpointer.close()
    if self._problem:
      raise InputError(self._problem)

  def _leave(self) -> None:
    """Waits as `close` does, but for other processes: the error may be ours."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
      if self._pending is not None:
        self._pending.result()
      self._checkpointer.close()

  def steps(self) -> list[int]:
    """The steps there are, oldest first, as far as their names tell."""
    return [entry.step for entry in self._checkpointer.checkpoints]

  def save(self, state: state_lib.TrainState, data: Any, step: int) -> None:
    """Starts to write a checkpoint; arrays may be changed once it returns.

    One that cannot be written, as on a full disk, is given up with a warning:
    the one before it is still there, and there may be room for the next.
    """
    self._finish()
    parts = {'state': state, 'model': state_lib.model_of(state), 'data': data}

    def start() -> None:
      self._pending = self._checkpointer.save_checkpointables_async(
        step, parts, force=True, overwrite=step in self._damaged
      )

    # Half a checkpoint is no use to anybody, and processes that wait for one
    # that could not write theirs wait for minutes.
    if self._attempt(lambda: self._check_room(parts)):
      self._attempt(start)

  def _check_room(self, parts: dict[str, Any]) -> None:
    needed = sum(
      x.nbytes for x in jax.tree.leaves(parts) if hasattr(x, 'nbytes')
    )
    if shutil.disk_usage(self._checkpointer.directory).free < needed:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  def _finish(self) -> None:
    """Waits for the checkpoint that is being written, if one is."""
    pending, self._pending = self._pending, None
    if pending is not None:
      self._attempt(pending.result)

  def _attempt(self, write: Callable[[], Any]) -> bool:
    """Does a part of the writing; all processes give up where one does."""
    problem = None
    try:
      write()
    except (OSError, RuntimeError, ValueError) as error:
      # A full disk arrives here as any of these, from a thread of Orbax's.
      if processes.is_loss(error):
        raise
      problem = _reason(error)
    if processes.all_of(problem is None):
      self._problem = None
      return True
    where = self._checkpointer.directory
    self._problem = f'cannot write {where}: {problem or "another process"}'
    logger.warning('%s; the checkpoint before it is good', self._problem)
    # Forgets the error, and removes what was written of the checkpoint.
    self._pending = None
    with contextlib.suppress(OSError, RuntimeError, ValueError):
      self._checkpointer.close()
    self._checkpointer = self._open()
    return False

  def restore(
    self, config: Config, mesh: Mesh, step: int | None = None
  ) -> tuple[state_lib.TrainState, Any] | None:
    """The state of a step and its data position, if there is one.

    By default that of the newest step that can be read.

    Raises:
      InputError: there are checkpoints, and none fits.
    """
    abstract = {
      'state': state_lib.abstract_state(config, mesh),
      'data': None,
    }
    found = self._newest(abstract, step)
    return found and (found[1]['state'], found[1]['data'])

  def restore_model(
    self, config: Config, mesh: Mesh, step: int | None = None
  ) -> tuple[int, networks.Model]:
    """What evaluation reads of a checkpoint, that of a step or the newest.

    Raises:
      InputError: there is no such checkpoint, or it does not fit.
    """
    abstract = {'model': networks.abstract_model(config, mesh)}
    found = self._newest(abstract, step)
    if found is None:
      where = self._checkpointer.directory
      wanted = 'no checkpoint' if step is None else f'no checkpoint of {step}'
      raise MissingCheckpointError(f'{wanted} in {where}')
    return found[0], found[1]['model']

  def _newest(
    self, abstract: dict[str, Any], step: int | None = None
  ) -> tuple[int, dict[str, Any]] | None:
    problem = ''
    while (candidate := self._candidate(step)) is not None:
      loaded = None
      try:
        # Orbax raises whatever the damaged file made its parser raise.
        loaded = self._load(candidate, abstract)
      except InputError:  # Whole, but of another model: so are the others.
        raise
      except Exception as error:
        if processes.is_loss(error):
          raise
        problem = problem or _reason(error)
        logger.warning(
          'checkpoint %d cannot be read and is skipped: %s',
          candidate,
          _reason(error),
        )
      # Some processes may read only parts that are whole.
      if processes.all_of(loaded is not None):
        return candidate, loaded
      problem = problem or 'damaged'
      self._damaged.add(candidate)
    if problem:
      raise MissingCheckpointError(
        f'no checkpoint in {self._checkpointer.directory} can be read:'
        f' {problem}'
      )
    return None

  def _candidate(self, step: int | None) -> int | None:
    """The newest step that may be whole, as the first process sees it."""

    def newest() -> list[int]:
      steps = [
        found
        for found in self.steps()
        if found not in self._damaged and step in (None, found)
      ]
      return [max(steps, default=-1)]

    (found,) = processes.agreed(newest, 1)
    return None if found < 0 else found

  def _load(self, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
    stored = self._checkpointer.checkpointables_metadata(step).metadata
    for name, tree in abstract.items():
      if tree is not None and (found := _shapes(stored[name])):
        _check_shapes(f'checkpoint {step}: {name}', _shapes(tree), found)
    wanted = {
      name: tree and _with_removed(tree, stored[name])
      for name, tree in abstract.items()
    }
    loaded = self._checkpointer.load_checkpointables(step, wanted)
    return {
      name: _without_removed(abstract[name], tree)
      for name, tree in loaded.items()
      if name in abstract
    }


def steps_of(workdir: str | pathlib.Path) -> list[int]:
  """The steps of a run's checkpoints, oldest first, as their folders say.

  Unlike `Checkpoints` it does not wait for other processes.
  """
  folder = pathlib.Path(workdir) / FOLDER
  names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
  return sorted(int(name) for name in names if name.isdecimal())


def restore_encoder(
  workdir: str | pathlib.Path, config: Config, mesh: Mesh, *fields: str
) -> tuple[Config, networks.Params]:
  """The encoder of a trained compressor, for a run or its evaluation.

  Args:
    workdir: folder of the compressor's run.
    config: of the run that shall use it.
    mesh: where its arrays shall lie.
    *fields: what of the configuration both must agree in.

  Returns:
    The compressor's configuration, and the parameters.

  Raises:
    InputError: it is no compressor, or not one that fits, or has no checkpoint.
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


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
  """Shape and type of every array of a tree by its path."""
  return {
    '/'.join(
      str(getattr(key, 'key', getattr(key, 'idx', getattr(key, 'name', key))))
      for key in path
    ): (tuple(leaf.shape), str(leaf.dtype))
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


def _with_removed(tree: Any, stored: Any) -> dict[str, Any]:
  """The tree's fields, and those that older versions stored without arrays.

  Orbax loads a tree only if it has all keys that were stored.
  """
  fields = {field.name for field in dataclasses.fields(tree)}
  removed = {k: v for k, v in stored.items() if k not in fields}
  return {name: getattr(tree, name) for name in fields} | removed


def _without_removed(tree: Any, loaded: Any) -> Any:
  if tree is None:
    return loaded
  names = [field.name for field in dataclasses.fields(tree)]
  return type(tree)(**{name: loaded[name] for name in names})


def _context() -> ocp.Context:
  context = ocp.Context()
  registry = ocp.handlers.local_registry()
  registry.add(ocp.handlers.JsonHandler, checkpointable_name='data')
  context.checkpointables.registry = registry
  return context


def _reason(error: Exception) -> str:
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  if code := re.search(r"os_error_code='(\d+)'", str(error)):
    return os.strerror(int(code[1]))
  lines = str(error).strip().splitlines()
  return f'{type(error).__name__}: {lines[0] if lines else ""}'[:300]
