"""Compiles a training step with the TPU's compiler, without a TPU.

libtpu's compiler needs no TPU, but environment variables that must be set
before JAX starts, and it may abort the process, so it runs in a subprocess.
Nine tenths of its time go into machine code, which a plan does not need: the
subprocess is stopped once the optimized program and the buffer assignment have
been written.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh

from exgan_jax import config as config_lib
from exgan_jax import files
from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.perf import hlo, hlo_costs
from exgan_jax.runtime import sharding
from exgan_jax.training import state
from exgan_jax.training.step_program import lower_step

logger = logging.getLogger(__name__)

# libtpu looks for TPUs, for other hosts, for a cloud's metadata and for itself
# in other processes; it writes logs and a lock into /tmp. And what JAX has in
# its cache would not be compiled.
_ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'JAX_ENABLE_COMPILATION_CACHE': '0',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_WORKER_ID': '0',
  'TPU_LOG_DIR': 'disabled',
  'TPU_STDERR_LOG_LEVEL': '4',
  'TPU_MIN_LOG_LEVEL': '4',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}
_ANSWER = 'answer.json'
# What the compiler writes down, the last one when the others are complete.
_PROGRAM = '*.after_optimizations.txt'
_ALLOCATIONS = '*.after_optimizations-buffer-assignment.txt'
_LAST = '*.after_optimizations_after_buffer_assignment.txt'


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A step on one of the devices.

  Attributes:
    devices: how many there are.
    refused: why the compiler does not go on: its words about the memory that
      is lacking; or ''.
    bytes: of the HBM: `arguments` (`state` and a part of the batch, padded as
      they lie there; `state` alone is unpadded), `outputs` that do not take
      their place, `temporaries`, and `peak`, all that the compiler reserves.
    code_bytes: of the machine code, which comes on top; None without it.
    flops: floating-point operations.
    hbm_traffic: bytes read from and written to the HBM.
    bytes_accessed: the compiler's count of bytes read and written, in whatever
      memory; None without machine code.
    collectives: what crosses the network.
    compiler_seconds: the compiler's estimate of its time; None without machine
      code, or where it has none.
  """

  devices: int
  refused: str
  bytes: dict[str, int]
  code_bytes: int | None
  flops: float
  hbm_traffic: int
  bytes_accessed: float | None
  collectives: list[hlo_costs.Collective]
  compiler_seconds: float | None


def compile_step(
  config: Config, topology: str, complete: bool = False
) -> Compiled:
  """Compiles the step that `train` runs, after its warm-up.

  Args:
    config: of the run.
    topology: chips, as in `v5e:16x16`.
    complete: wait for the machine code, too: some ten times as long.

  Raises:
    InputError: libtpu is not installed, knows no such topology or fails, or
      the configuration does not go with the topology.
  """
  if importlib.util.find_spec('libtpu') is None:
    raise InputError(
      "the TPU's compiler is not installed: pip install 'exgan_jax[plan]'"
      ' in a separate environment'
    )
  logger.info('compiling for %s', topology)
  with tempfile.TemporaryDirectory(prefix='exgan-plan-') as folder:
    request = {
      'fields': dataclasses.asdict(config),
      'topology': topology,
      'complete': complete,
      'folder': folder,
    }
    done = subprocess.run(
      [sys.executable, '-m', 'exgan_jax.perf.tpu_compiler'],
      input=json.dumps(request), env=os.environ | _ENVIRONMENT,
      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
      check=False,
    )  # fmt: skip
    path = pathlib.Path(folder, _ANSWER)
    if not path.exists():
      raise _failure(done)
    answer = json.loads(path.read_text())
  if 'error' in answer:
    raise InputError(answer['error'])
  collectives = [hlo_costs.Collective(**c) for c in answer.pop('collectives')]
  return Compiled(collectives=collectives, **answer)


def _failure(done: subprocess.CompletedProcess) -> Exception:
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  if done.returncode > 0:
    return RuntimeError(done.stderr)
  reason = next((line for line in lines if line[0] == 'F'), (lines or [''])[-1])
  return InputError(f'the TPU compiler crashed: {reason}')


def _main() -> None:
  request = json.load(sys.stdin)
  config = config_lib.make(**request.pop('fields'))
  folder = pathlib.Path(request.pop('folder'))
  try:
    answer = dataclasses.asdict(_compile(config, folder=folder, **request))
  except InputError as error:
    answer = {'error': str(error)}
  files.write_json(folder / _ANSWER, answer)
  # In the middle of the machine code, as a rule.
  os._exit(0)


def _compile(
  config: Config, topology: str, complete: bool, folder: pathlib.Path
) -> Compiled:
  mesh = sharding.make_mesh(config.batch_size, config.fsdp, _devices(topology))
  lowered = lower_step(config, mesh)
  options: dict[str, str | bool] = {
    'xla_dump_to': str(folder),
    'xla_dump_hlo_as_text': True,
  }
  pool = concurrent.futures.ThreadPoolExecutor()
  job = pool.submit(lowered.compile, options)
  while not job.done() and (complete or not list(folder.glob(_LAST))):
    concurrent.futures.wait([job], timeout=0.1)
  compiled, refused = None, ''
  if job.done():
    try:
      compiled = job.result()
    except jax.errors.JaxRuntimeError as error:
      refused = _reason(error)
      if not _is_out_of_hbm(error) or not list(folder.glob(_ALLOCATIONS)):
        raise InputError(f'the TPU compiler: {refused}') from error
  text, allocations = _written(folder, _PROGRAM), _written(folder, _ALLOCATIONS)
  program = hlo.parse(text)
  found = Compiled(
    devices=mesh.size,
    refused=refused,
    bytes={
      **hlo_costs.hbm_bytes(allocations),
      'state': _state_bytes(config, mesh),
    },
    code_bytes=None,
    flops=hlo_costs.flops(text),
    hbm_traffic=hlo_costs.hbm_traffic(program),
    bytes_accessed=None,
    collectives=hlo_costs.collectives(program),
    compiler_seconds=None,
  )
  if not (complete and compiled):
    return found
  cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
  if cost is None or memory is None:
    return found
  return dataclasses.replace(
    found,
    code_bytes=memory.generated_code_size_in_bytes,
    bytes_accessed=cost['bytes accessed'],
    compiler_seconds=hlo_costs.optimal_seconds(cost, program),
  )


def _written(folder: pathlib.Path, pattern: str) -> str:
  """What the compiler has written down.

  Raises:
    InputError: nothing of that name.
  """
  paths = sorted(folder.glob(pattern))
  if not paths:
    version = importlib.metadata.version('libtpu')
    raise InputError(f'libtpu {version} does not write {pattern} down')
  return paths[-1].read_text()


def _devices(topology: str) -> list[Any]:
  """Devices to compile for.

  Raises:
    InputError: there are no such chips.
  """
  chip, _, layout = topology.partition(':')
  options: dict[str, Any] = {}
  if chip == 'v4':
    # Both cores of a chip are one device, as on the TPUs themselves.
    options['chip_config_name'] = 'megacore'
  if set(layout.split('x')) == {'1'}:
    options['chips_per_host_bounds'] = (1, 1, 1)
  try:
    return topologies.get_topology_desc(
      topology, platform='tpu', **options
    ).devices
  except jax.errors.JaxRuntimeError as error:
    raise InputError(f'--topology {topology}: {_reason(error)}') from error


def _state_bytes(config: Config, mesh: Mesh) -> int:
  return sum(
    jnp.dtype(x.dtype).itemsize * math.prod(x.sharding.shard_shape(x.shape))
    for x in jax.tree.leaves(state.abstract_state(config, mesh))
  )


def _is_out_of_hbm(error: Exception) -> bool:
  text = str(error)
  return text.startswith('RESOURCE_EXHAUSTED') and 'hbm' in text.lower()


def _reason(error: Exception) -> str:
  """The first line of what XLA says, without its code."""
  line = str(error).strip().splitlines()[0]
  return re.sub(r'^[A-Z_]+: ', '', line)


if __name__ == '__main__':
  _main()
