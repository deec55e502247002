"""How fast a device multiplies matrices and moves memory, measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

ROUNDS = 5


def seconds_of(call: Callable[[], jax.Array], rounds: int = ROUNDS) -> float:
  """Median time of a call, the first one not counted."""
  jax.block_until_ready(call())
  times = []
  for _ in range(rounds):
    start = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def matrix_rate(dtype: jnp.dtype, device: jax.Device) -> float:
  """Operations a second in products of large matrices, at JAX's precision.

  Args:
    dtype: of the matrices.
    device: that multiplies them.
  """
  side, times = (2048, 2) if device.platform == 'cpu' else (8192, 16)
  key = jax.random.key(0)
  factor = jax.random.normal(key, (side, side)).astype(dtype)
  # Of this size the product neither grows nor vanishes.
  factor = jax.device_put(factor / math.sqrt(side), device)

  @jax.jit
  def multiply(factor: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, times, lambda _, x: x @ factor, factor)

  return times * 2 * side**3 / seconds_of(lambda: multiply(factor))


def memory_rate(device: jax.Device) -> float:
  """Bytes a second that are read and written where large arrays are added."""
  size = 2**26 if device.platform == 'cpu' else 2**28
  array = jax.device_put(jnp.zeros((size,), jnp.float32), device)
  add = jax.jit(lambda x: x + 1.0)
  return 2 * array.nbytes / seconds_of(lambda: add(array))
