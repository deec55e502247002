"""The device mesh, and the sharding of the state and of batches."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from exgan_jax.errors import InputError

# Batches are split along both axes. Parameters, moments and the average are
# split along `fsdp`.
AXES = ('data', 'fsdp')
# Smaller arrays are not worth a message to gather them.
SMALLEST_SPLIT = 2**12
_CGROUP = pathlib.Path('/sys/fs/cgroup/memory.max')


def make_mesh(
  batch_size: int, fsdp: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
  """Returns a mesh of all devices; `fsdp` of them share a copy of the state.

  Raises:
    InputError: the batch size is not a multiple of the number of devices, or
      this is not a multiple of `fsdp`.
  """
  count = jax.device_count() if devices is None else len(devices)
  if batch_size < 1 or batch_size % count:
    raise InputError(
      f'--batch-size {batch_size} is not a multiple of the {count} device(s)'
    )
  if count % fsdp:
    raise InputError(f'--fsdp {fsdp} does not divide the {count} device(s)')
  return jax.make_mesh(
    (count // fsdp, fsdp),
    AXES,
    axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )


def memory_of(mesh: Mesh) -> int | None:
  """Returns the bytes of memory of this process's devices, if known."""
  devices = mesh.local_devices
  if devices[0].platform != 'cpu':
    stats = [device.memory_stats() or {} for device in devices]
    return sum(each.get('bytes_limit', 0) for each in stats) or None
  try:
    there = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (AttributeError, OSError, ValueError):
    return None
  with contextlib.suppress(OSError, ValueError):  # Of a container, if any.
    there = min(there, int(_CGROUP.read_text()))
  return there


def divisible(batch_size: int) -> int:
  """Rounds a batch size up to a multiple of the devices; 0 stays 0."""
  return -(-batch_size // jax.device_count()) * jax.device_count()


def replicated(mesh: Mesh) -> NamedSharding:
  """The same array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
  """The first axis split over all devices."""
  return NamedSharding(mesh, PartitionSpec(AXES))


def split(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
  """The longest axis of a state's array split along `fsdp`.

  Arrays that are small or cannot be split evenly are replicated.
  """
  parts = mesh.shape['fsdp']
  axes = [i for i, length in enumerate(shape) if length % parts == 0]
  if parts == 1 or not axes or math.prod(shape) < SMALLEST_SPLIT:
    return replicated(mesh)
  longest = max(axes, key=lambda i: (shape[i], i))
  return NamedSharding(mesh, PartitionSpec(*[None] * longest, 'fsdp'))


def to_device(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Makes global arrays from each process's part of a batch.

  The transfer is asynchronous.
  """
  sharding = batched(mesh)
  # With several processes JAX takes this for an implicit transfer.
  with jax.transfer_guard_host_to_device('allow'):
    return {
      name: jax.make_array_from_process_local_data(sharding, part)
      for name, part in batch.items()
    }


def one_by_one(
  function: Callable[[Any, Any], Any], mesh: Mesh
) -> Callable[[Any, Any], Any]:
  """Applies a function to the pictures of a batch one by one, on all devices.

  Rounding depends on the shapes a program is compiled for. Here these are
  always shapes of one picture, so results depend neither on the batch nor on
  the number of devices. The function takes a shared argument and a batch.
  """

  def local(shared: Any, batch: Any) -> Any:
    def one(example: Any) -> Any:
      found = function(shared, jax.tree.map(lambda x: x[None], example))
      return jax.tree.map(lambda x: x[0], found)

    return jax.lax.map(one, batch)

  spread = PartitionSpec(AXES)
  return jax.shard_map(
    local, mesh=mesh, in_specs=(PartitionSpec(), spread), out_specs=spread
  )


def local_part(array: jax.Array) -> np.ndarray:
  """Returns this process's part of an array split along its first axis."""
  parts = {
    shard.index[0].start or 0: shard.data for shard in array.addressable_shards
  }
  return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])
