"""Plans training on TPUs without having them: memory, network, time.

The real TPU compiler compiles the step that `exgan train` runs. Times are not
measured: they are lower bounds from the chips' published figures, and the
compiler's own estimate on request.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import pathlib
import time
from collections.abc import Sequence

from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.files import check_output
from exgan_jax.perf import tpus
from exgan_jax.perf.hlo_costs import Collective
from exgan_jax.perf.tpu_compiler import compile_step

PACKAGES = ('exgan_jax', 'jax', 'jaxlib', 'flax', 'libtpu')


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is known of a step before it is run; the fields of plan.json.

  Attributes:
    preset: of the configuration, as the next four.
    size: of its networks.
    resolution: side of the pictures in pixels.
    compute_dtype: of the arithmetic.
    fsdp: how many chips share a copy of the state.
    topology: the chips, as in `v5e:16x16`.
    num_devices: how many they are.
    batch_size: pictures per step, over all of them.
    fits: whether `bytes_per_device['peak']` is within `hbm_bytes`, and the
      compiler agrees.
    refused: what the compiler says if it does not.
    hbm_bytes: memory of a chip.
    bytes_per_device: of that, for `arguments` (state and batch), `outputs`,
      `temporaries` and, all together, `peak`, padded as they lie there; the
      unpadded `state`; and the machine code, `code`, besides, if known.
    flops_per_step: floating-point operations of all chips together.
    flops_per_device: of one of them.
    hbm_traffic_per_device: bytes per step between a chip and its memory.
    bytes_accessed_per_device: bytes per step in any memory, as counted by the
      compiler; None without machine code.
    collectives: what crosses the network in a step, of one chip.
    compiler_seconds_per_step: the compiler's estimate; None as above.
    roofline_seconds_per_step: the largest part of `roofline`.
    roofline: seconds per step of nothing but `compute`, at the peak for
      bfloat16; `memory`, the traffic at the memory's bandwidth; `network`,
      the messages in rings over all links. No run can be faster than any.
    images_per_second_estimate: of all chips, at most: the batch in the larger
      of the two times above; None if it does not fit.
    images: how many pictures are to be trained on, if that was said.
    steps: that this takes.
    hours: that these take, at least.
    planning_seconds: that the compiler took here.
    skipped: why a field is None.
    versions: of the packages.
    sweep: plans for other numbers of chips, as many pictures on each.
  """

  preset: str
  size: str
  resolution: int
  compute_dtype: str
  fsdp: int
  topology: str
  num_devices: int
  batch_size: int
  fits: bool
  refused: str
  hbm_bytes: int
  bytes_per_device: dict[str, int | None]
  flops_per_step: float
  flops_per_device: float
  hbm_traffic_per_device: int
  bytes_accessed_per_device: float | None
  collectives: list[Collective]
  compiler_seconds_per_step: float | None
  roofline_seconds_per_step: float
  roofline: dict[str, float]
  images_per_second_estimate: float | None
  images: int | None
  steps: int | None
  hours: float | None
  planning_seconds: float
  skipped: dict[str, str]
  versions: dict[str, str]
  sweep: list[Plan] = dataclasses.field(default_factory=list)

  def save(self, path: str | pathlib.Path) -> None:
    """Writes plan.json, whole or not at all, making its folder.

    Raises:
      OSError: it cannot be written.
    """
    files.write_json(path, self)


def plan(
  config: Config,
  topology: str,
  *,
  complete: bool = False,
  images: int | None = None,
  sweep: Sequence[int] = (),
  output: str | pathlib.Path | None = None,
) -> Plan:
  """Compiles a training step for TPUs and says what it needs.

  Args:
    config: of the run; its data and folders are not looked at.
    topology: the chips, as in `v5e:16x16`.
    complete: let the compiler finish its machine code, which takes some ten
      times as long, for its own estimate of the time.
    images: how many pictures are to be trained on, to tell how long it takes.
    sweep: numbers of chips of the same kind, each to be planned as well, with
      as many pictures on each chip.
    output: where to write the plan as JSON, if anywhere.

  Raises:
    InputError: libtpu is not installed or knows no such topology, the batch or
      the copies of the state cannot be divided among the chips, or `output`
      cannot be written.
  """
  if output is not None:
    check_output(output, 'topology')
  if images is not None and images < 1:
    raise InputError('--images must be at least 1')
  chip, count = tpus.parse(topology)
  _check_divides(config, count)
  others = []
  for number in sweep:
    size = config.batch_size // count * number
    other = dataclasses.replace(config, batch_size=size)
    _check_divides(other, number)
    others.append((other, tpus.topology_of(chip, number)))
  result = _plan(config, topology, complete, images)
  found = [
    result if other[1] == topology else _plan(*other, complete, images)
    for other in others
  ]
  result = dataclasses.replace(result, sweep=found)
  if output is not None:
    result.save(output)
  return result


def _check_divides(config: Config, count: int) -> None:
  if not count or config.batch_size % count:
    raise InputError(
      f'--batch-size {config.batch_size} is not a multiple of {count} chips'
    )
  if count % config.fsdp:
    raise InputError(f'--fsdp {config.fsdp} does not divide {count} chips')


def _plan(
  config: Config, topology: str, complete: bool, images: int | None
) -> Plan:
  chip = tpus.CHIPS[tpus.parse(topology)[0]]
  start = time.monotonic()
  compiled = compile_step(config, topology, complete)
  bounds = tpus.roofline(
    chip, compiled.flops, compiled.hbm_traffic, compiled.collectives
  )
  bound = max(bounds.values())
  seconds = max(bound, compiled.compiler_seconds or 0.0)
  needed = compiled.bytes['peak'] + (compiled.code_bytes or 0)
  fits = not compiled.refused and needed <= chip.hbm_bytes
  estimate = config.batch_size / seconds if fits else None
  steps = -(-images // config.batch_size) if images else None
  uncertain = {
    'bytes_accessed_per_device': compiled.bytes_accessed,
    'compiler_seconds_per_step': compiled.compiler_seconds,
    'images_per_second_estimate': estimate,
  }
  why = 'the compiler has none'
  if not fits:
    why = 'the step does not fit'
  elif not complete:
    why = 'known with the machine code only: --complete'
  return Plan(
    preset=config.preset,
    size=config.size,
    resolution=config.resolution,
    compute_dtype=config.compute_dtype,
    fsdp=config.fsdp,
    topology=topology,
    num_devices=compiled.devices,
    batch_size=config.batch_size,
    fits=fits,
    refused=compiled.refused,
    hbm_bytes=chip.hbm_bytes,
    bytes_per_device={**compiled.bytes, 'code': compiled.code_bytes},
    flops_per_step=compiled.flops * compiled.devices,
    flops_per_device=compiled.flops,
    hbm_traffic_per_device=compiled.hbm_traffic,
    collectives=compiled.collectives,
    roofline_seconds_per_step=bound,
    roofline=bounds,
    images=images,
    steps=steps,
    hours=steps * seconds / 3600 if steps and fits else None,
    planning_seconds=time.monotonic() - start,
    bytes_accessed_per_device=compiled.bytes_accessed,
    compiler_seconds_per_step=compiled.compiler_seconds,
    images_per_second_estimate=estimate,
    skipped={name: why for name, value in uncertain.items() if value is None},
    versions={name: importlib.metadata.version(name) for name in PACKAGES},
  )
