"""The device mesh, and how the state and a batch lie on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from exgan_jax.errors import InputError

# Every device has its part of the batch. Those along `fsdp` have besides, each
# a part of it, one copy of the parameters, the moments and the average.
AXES = ('data', 'fsdp')
# Smaller arrays are not worth the message that gathers them.
SMALLEST_SPLIT = 2**12


def make_mesh(
  batch_size: int, fsdp: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
  """A mesh of all devices.

  Args:
    batch_size: pictures a step, over all devices.
    fsdp: how many devices share a copy of the state; all have one if 1.
    devices: the devices; those that JAX sees by default.

  Raises:
    InputError: the devices do not divide the batch, or `fsdp` not the devices.
  """
  count = jax.device_count() if devices is None else len(devices)
  if batch_size < 1 or batch_size % count:
    raise InputError(
      f'--batch-size {batch_size} is not a multiple of the {count} device(s)'
    )
  if count % fsdp:
    raise InputError(f'--fsdp {fsdp} does not divide the {count} device(s)')
  return jax.make_mesh(
    (count // fsdp, fsdp), AXES, axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )  # fmt: skip


def divisible(batch_size: int) -> int:
  """Rounds a batch size up to a multiple of the devices; 0 stays 0."""
  return -(-batch_size // jax.device_count()) * jax.device_count()


def replicated(mesh: Mesh) -> NamedSharding:
  """The same array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
  """The leading axis split over the devices."""
  return NamedSharding(mesh, PartitionSpec(AXES))


def split(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
  """Where an array of the state lies: its longest axis split along `fsdp`.

  An array that is small, or has no axis that can be split evenly, is the same
  on every device.
  """
  parts = mesh.shape['fsdp']
  axes = [i for i, length in enumerate(shape) if length % parts == 0]
  if parts == 1 or not axes or math.prod(shape) < SMALLEST_SPLIT:
    return replicated(mesh)
  longest = max(axes, key=lambda i: (shape[i], i))
  return NamedSharding(mesh, PartitionSpec(*[None] * longest, 'fsdp'))


def to_device(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Makes global arrays, split along their first axis, of a process's part.

  The transfer is asynchronous: the caller may go on at once.
  """
  sharding = batched(mesh)
  # With several processes JAX does not see that this is asked for.
  with jax.transfer_guard_host_to_device('allow'):
    return {
      name: jax.make_array_from_process_local_data(sharding, part)
      for name, part in batch.items()
    }


def one_by_one(
  function: Callable[[Any, Any], Any], mesh: Mesh
) -> Callable[[Any, Any], Any]:
  """Lets each device take the pictures of its part of a batch one by one.

  How sums are rounded follows from the shapes that they are compiled for: here
  they are always those of one picture, so what is found of it does not depend
  on the batch, nor on the number of devices.

  Args:
    function: of something that all pictures share, and of a batch.
    mesh: of all devices.
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
  """This process's part of an array that is split along its first axis."""
  parts = {
    shard.index[0].start or 0: shard.data for shard in array.addressable_shards
  }
  return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])
