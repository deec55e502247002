"""Measures the training step on this machine against the device's limits.

Two bounds are given: operations divided by the measured rate of large matrix
products, and bytes divided by the measured memory bandwidth.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib.metadata
import itertools
import math
import os
import pathlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.data import train_batches
from exgan_jax.errors import InputError
from exgan_jax.files import check_output
from exgan_jax.models.networks import Params, init_params, make_encoder
from exgan_jax.perf import device_rates, profiling
from exgan_jax.runtime import sharding
from exgan_jax.training import step_program
from exgan_jax.training.state import TrainState, abstract_state, create_state
from exgan_jax.training.step import Step

PACKAGES = ('exgan_jax', 'jax', 'jaxlib', 'flax')
# Of a group of steps that is timed as one: waiting costs time, too.
SHORTEST_GROUP = 0.1
FEWEST_GROUPS = 5
PROFILED_STEPS = 3


@dataclasses.dataclass(frozen=True)
class Bench:
  """What was measured; the fields of bench.json.

  Rates are those of all devices together.

  Attributes:
    device: what JAX calls it.
    num_devices: how many there are.
    preset: of the configuration, as the next four.
    size: of its networks.
    resolution: side of the pictures in pixels.
    compute_dtype: of the arithmetic.
    batch_size: pictures per step, over all devices.
    images_per_second: of the step alone, its batch on the device already.
    step_ms_median: of groups of steps, each long enough to be timed.
    step_ms_quartiles: the first and third of the same.
    steps: that were timed.
    dispatch_ms_median: until a call of the step returns; the device works on.
    trace_seconds: to make the program.
    compile_seconds: to compile it.
    flops_per_step: of the program as written, before any optimisation.
    tflops_per_second: 1e12 of these a second.
    peak_tflops_per_second: the same in products of large matrices.
    peak_fraction: the ratio of the two.
    bytes_per_step: that the compiled operations read and write.
    gigabytes_per_second: 1e9 of these a second.
    peak_gigabytes_per_second: the same in adding to a large array.
    roofline_ms: time of a step if there were nothing but its `compute`, or
      nothing but its `memory`, at those rates.
    peak_memory_bytes: of one device; by the compiler where the device does not
      tell.
    input_images_per_second: pairs that are read and decoded, and no training.
    train_images_per_second: both together, as `exgan train` does it.
    operations: what the profile found the longest, if one was made.
    skipped: why a field is None.
    versions: of the packages.
  """

  device: str
  num_devices: int
  preset: str
  size: str
  resolution: int
  compute_dtype: str
  batch_size: int
  images_per_second: float
  step_ms_median: float
  step_ms_quartiles: tuple[float, float]
  steps: int
  dispatch_ms_median: float
  trace_seconds: float
  compile_seconds: float
  flops_per_step: float
  tflops_per_second: float
  peak_tflops_per_second: float
  peak_fraction: float
  bytes_per_step: float
  gigabytes_per_second: float
  peak_gigabytes_per_second: float
  roofline_ms: dict[str, float]
  peak_memory_bytes: int
  input_images_per_second: float | None
  train_images_per_second: float | None
  operations: list[profiling.Operation]
  skipped: dict[str, str]
  versions: dict[str, str]

  def save(self, path: str | pathlib.Path) -> None:
    """Writes bench.json, whole or not at all, making its folder.

    Raises:
      OSError: it cannot be written.
    """
    files.write_json(path, self)


def bench(
  config: Config,
  *,
  seconds: float = 10.0,
  profile: str | pathlib.Path | None = None,
  output: str | pathlib.Path | None = None,
) -> Bench:
  """Times the step that `exgan train` runs, after its warm-up.

  Args:
    config: of the run; without a `data_dir` the input is not timed.
    seconds: that each rate is measured for.
    profile: a folder for a trace of a few steps, if one is to be made.
    output: where to write the figures as JSON, if anywhere.

  Raises:
    InputError: the devices do not divide the batch, the data set is not there,
      `seconds` is not positive, or `output` cannot be written.
  """
  if not (math.isfinite(seconds) and seconds > 0):
    raise InputError('--seconds must be positive')
  if output is not None:
    check_output(output, 'step_ms_median')
  mesh = sharding.make_mesh(config.batch_size, config.fsdp)
  # First, so that a wrong folder is reported at once.
  batches = train_batches.train_batches(config) if config.data_dir else None
  program = _compile(config, mesh)
  state = create_state(config, mesh, _any_encoder(config))
  batch = sharding.to_device(random_batch(config), mesh)
  state, timing = time_steps(program.steps, state, batch, seconds)
  operations: list[profiling.Operation] = []
  if profile is not None:
    with profiling.traced(profile, PROFILED_STEPS) as operations:
      state = _run(program.steps, state, [batch] * PROFILED_STEPS)
  rates: dict[str, float | None] = dict.fromkeys(
    ('input_images_per_second', 'train_images_per_second')
  )
  if batches is not None:
    rates |= _rates_of_input(
      config, mesh, program.steps, state, batches, seconds
    )
  result = _result(config, mesh, program, timing, rates, operations)
  if output is not None:
    result.save(output)
  return result


@dataclasses.dataclass(frozen=True)
class Program:
  """Compiled steps and the compiler's figures, means over a cycle.

  Attributes:
    steps: a cycle of steps: of several, the last computes the gradient penalty.
    flops: per step, over all devices.
    bytes: the same.
    memory: most bytes per device.
    trace_seconds: for all programs.
    compile_seconds: the same.
  """

  steps: list[Step]
  flops: float
  bytes: float
  memory: int
  trace_seconds: float
  compile_seconds: float


@dataclasses.dataclass(frozen=True)
class Timing:
  """Times of a step in seconds."""

  median: float
  quartiles: tuple[float, float]
  dispatch: float
  steps: int


def _compile(config: Config, mesh: Mesh) -> Program:
  programs: dict[bool, Step] = {}
  figures: dict[str, float] = collections.defaultdict(float)
  memory = 0
  for penalized, share in step_program.shares(config).items():
    start = time.perf_counter()
    traced = step_program.jitted_step(config, mesh, penalized).trace(
      abstract_state(config, mesh), step_program.abstract_batch(config, mesh)
    )
    lowered = traced.lower()
    middle = time.perf_counter()
    compiled = lowered.compile()
    figures['trace_seconds'] += middle - start
    figures['compile_seconds'] += time.perf_counter() - middle
    figures['flops'] += share * flops(traced)
    accessed = compiled.cost_analysis()['bytes accessed']
    figures['bytes'] += share * accessed * mesh.size
    memory = max(memory, program_bytes(compiled))
    programs[penalized] = compiled
  steps = list(programs.values())
  if len(steps) > 1:
    plain, last = steps
    steps = [plain] * (config.gradient_penalty_every - 1) + [last]
  return Program(steps=steps, memory=memory, **figures)


def program_bytes(compiled: jax.stages.Compiled) -> int:
  """Returns the memory of a device that a program needs."""
  memory: Any = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )


def flops(traced: jax.stages.Traced) -> float:
  """Floating-point operations of a program as written, over all devices."""
  # The CPU program uses other forms of some operations.
  plain = traced.lower(lowering_platforms=('cuda',))
  return plain.cost_analysis()['flops']


def time_steps(
  steps: list[Step], state: TrainState, batch: dict[str, Any], seconds: float
) -> tuple[TrainState, Timing]:
  """Times cycles of steps on one batch for some seconds, at least a few groups.

  Returns:
    The state after the last one, and the times of one step.
  """
  state = _run(steps, state, [batch] * 2 * len(steps))
  start = time.perf_counter()
  state = _run(steps, state, [batch] * len(steps))
  cycles = math.ceil(SHORTEST_GROUP / (time.perf_counter() - start))
  group = cycles * len(steps)
  times: list[float] = []
  dispatches: list[float] = []
  begin = time.perf_counter()
  while len(times) < FEWEST_GROUPS or time.perf_counter() - begin < seconds:
    start = time.perf_counter()
    for step in steps * cycles:
      before = time.perf_counter()
      state, metrics = step(state, batch)
      dispatches.append(time.perf_counter() - before)
    jax.block_until_ready(metrics)
    times.append((time.perf_counter() - start) / group)
  first, median, third = statistics.quantiles(times, n=4)
  timing = Timing(
    median, (first, third), statistics.median(dispatches), group * len(times)
  )
  return state, timing


def _run(
  steps: list[Step], state: TrainState, batches: list[dict[str, Any]]
) -> TrainState:
  for step, batch in zip(itertools.cycle(steps), batches, strict=False):
    state, metrics = step(state, batch)
  jax.block_until_ready(metrics)
  return state


def _rates_of_input(
  config: Config, mesh: Mesh, steps: list[Step], state: TrainState,
  batches: Iterator[dict[str, np.ndarray]], seconds: float,
) -> dict[str, float]:  # fmt: skip
  """Rates of the input alone, and of input and step together."""
  for _ in range(2):
    next(batches)
  count, start = 0, time.perf_counter()
  while time.perf_counter() - start < seconds or count < 2:
    next(batches)
    count += 1
  alone = count * config.batch_size / (time.perf_counter() - start)

  count, start, last = 0, time.perf_counter(), None
  while time.perf_counter() - start < seconds or count < 2:
    for step in steps:
      state, metrics = step(state, sharding.to_device(next(batches), mesh))
      # As in training, the host is one step ahead.
      jax.block_until_ready(last)
      last, count = metrics, count + 1
  jax.block_until_ready(last)
  together = count * config.batch_size / (time.perf_counter() - start)
  return {
    'input_images_per_second': alone,
    'train_images_per_second': together,
  }


def _result(
  config: Config, mesh: Mesh, program: Program, timing: Timing,
  rates: dict[str, float | None], operations: list[profiling.Operation],
) -> Bench:  # fmt: skip
  device = mesh.devices.flat[0]
  peak = mesh.size * device_rates.matrix_rate(
    jnp.dtype(config.compute_dtype), device
  )
  bandwidth = mesh.size * device_rates.memory_rate(device)
  told = (device.memory_stats() or {}).get('peak_bytes_in_use')
  return Bench(
    device=device_name(device),
    num_devices=mesh.size,
    preset=config.preset,
    size=config.size,
    resolution=config.resolution,
    compute_dtype=config.compute_dtype,
    batch_size=config.batch_size,
    images_per_second=config.batch_size / timing.median,
    step_ms_median=1e3 * timing.median,
    step_ms_quartiles=(
      1e3 * timing.quartiles[0],
      1e3 * timing.quartiles[1],
    ),
    steps=timing.steps,
    dispatch_ms_median=1e3 * timing.dispatch,
    trace_seconds=program.trace_seconds,
    compile_seconds=program.compile_seconds,
    flops_per_step=program.flops,
    tflops_per_second=program.flops / timing.median / 1e12,
    peak_tflops_per_second=peak / 1e12,
    peak_fraction=program.flops / timing.median / peak,
    bytes_per_step=program.bytes,
    gigabytes_per_second=program.bytes / timing.median / 1e9,
    peak_gigabytes_per_second=bandwidth / 1e9,
    roofline_ms={
      'compute': 1e3 * program.flops / peak,
      'memory': 1e3 * program.bytes / bandwidth,
    },
    peak_memory_bytes=told or program.memory,
    operations=operations,
    skipped={
      name: 'no --data-dir' for name, value in rates.items() if value is None
    },
    versions={name: importlib.metadata.version(name) for name in PACKAGES},
    **rates,
  )


def device_name(device: jax.Device) -> str:
  """Returns the kind of device, or the number of usable CPU cores."""
  if device.platform != 'cpu':
    return device.device_kind
  return f'cpu, {len(os.sched_getaffinity(0))} cores'


def random_batch(config: Config) -> dict[str, np.ndarray]:
  """A batch as the input pipeline makes it, of noise, with eyes in place."""
  rng = np.random.default_rng(config.seed)
  side, count = config.resolution, config.batch_size

  def picture() -> np.ndarray:
    return rng.integers(0, 256, (count, side, side, 3), np.uint8)

  def eyes() -> np.ndarray:
    centres = np.array([[0.37, 0.45], [0.63, 0.45]])
    offsets = rng.uniform(-0.03, 0.03, (count, 2, 2))
    return (side * (centres + offsets)).astype(np.float32)

  def boxes() -> np.ndarray:
    return (side * rng.uniform(0.15, 0.35, (count, 2, 2))).astype(np.float32)

  def corners(centres: np.ndarray) -> np.ndarray:
    half = np.array([[-0.06, 0], [0.06, 0]] * 2) * side
    return (np.repeat(centres, 2, axis=1) + half).astype(np.float32)

  drawn = {
    'image': picture(),
    'reference': picture(),
    'eyes': eyes(),
    'boxes': boxes(),
    'reference_eyes': eyes(),
    'reference_boxes': boxes(),
    'is_self': np.arange(count) < round(config.self_reference * count),
    'valid': np.ones(count, bool),
  }
  for name in ('', 'reference_'):
    drawn[f'{name}corners'] = corners(drawn[f'{name}eyes'])
  return {name: drawn[name] for name in train_batches.batch_shapes(config)}


def _any_encoder(config: Config) -> Params | None:
  """An encoder for the code model; how fast it is does not depend on it."""
  if config.exemplar != 'code':
    return None
  return init_params(make_encoder(config), jax.random.key(config.seed))
