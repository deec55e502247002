"""The device mesh, and how the state and a batch lie on it."""

from __future__ import annotations

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
