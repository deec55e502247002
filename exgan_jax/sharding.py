"""The device mesh, and how the state and a batch lie on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tfds_celeb_id import InputError

DATA_AXIS = 'data'


def make_mesh(batch_size: int) -> Mesh:
  """A mesh of all devices along the data axis.

  Raises:
    InputError: the devices do not divide the batch.
  """
  devices = jax.device_count()
  if batch_size < 1 or batch_size % devices:
    raise InputError(
      f'--batch-size {batch_size} is not a multiple of the {devices} device(s)'
    )
  return jax.make_mesh((devices,), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def divisible(batch_size: int) -> int:
  """Rounds a batch size up to a multiple of the devices; 0 stays 0."""
  return -(-batch_size // jax.device_count()) * jax.device_count()


def replicated(mesh: Mesh) -> NamedSharding:
  """The same array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
  """The leading axis split over the devices."""
  return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def to_device(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Makes global arrays, split along their first axis, of a process's part.

  The transfer is asynchronous: the caller may go on at once.
  """
  sharding = batched(mesh)
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

  spread = PartitionSpec(DATA_AXIS)
  return jax.shard_map(
    local, mesh=mesh, in_specs=(PartitionSpec(), spread), out_specs=spread
  )


def local_part(array: jax.Array) -> np.ndarray:
  """This process's part of an array that is split along its first axis."""
  parts = {
    shard.index[0].start or 0: shard.data for shard in array.addressable_shards
  }
  return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])
