"""What a compiled program costs: arithmetic, memory traffic, messages.

All is of one run of the program on one device.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re

import jax

from exgan_jax.perf import hlo
from exgan_jax.perf.hlo import Instruction, Program

_COLLECTIVES = (
  'all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all',
  'ragged-all-to-all', 'collective-permute', 'collective-broadcast', 'send',
)  # fmt: skip
# A TPU's reduce-scatter is printed as a computation of what it is made of.
_SCATTER = 'all-reduce-scatter'
# Nothing is moved by these; the last three do what is counted elsewhere.
_FREE = frozenset({
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast',
  'after-all', 'partition-id', 'replica-id', 'opt-barrier',
  'while', 'conditional', 'call',
})  # fmt: skip
# Joins slices that were fetched next to each other.
_FREE_CUSTOM_CALL = 'custom_call_target="ConcatBitcast"'


@dataclasses.dataclass(frozen=True)
class Collective:
  """Messages of one kind.

  Attributes:
    kind: name of the operation.
    devices: how many exchange them with each other.
    count: how many there are; a tuple is one message.
    bytes: of the whole arrays, without padding: what an all-reduce sums, an
      all-gather makes, a reduce-scatter is given.
  """

  kind: str
  devices: int
  count: int
  bytes: int


def collectives(program: Program) -> list[Collective]:
  """What crosses the network.

  Asynchronous operations count where they start. A TPU's compiler prints one
  that it overlaps with several others in each of them: what has one kind and
  one channel is one. Loops and conditionals count as in `hlo.executions`.
  """
  times = hlo.executions(program)
  found: dict[tuple, tuple[int, int, str, int]] = {}
  for name, instructions in program.computations.items():
    for index, instruction in enumerate(instructions):
      kind = instruction.opcode.removesuffix('-start')
      is_to_host = 'is_host_transfer=true' in instruction.attributes
      if kind not in _COLLECTIVES or is_to_host or not times[name]:
        continue
      devices = _group_size(program, instruction)
      size = _whole_bytes(instruction, devices)
      channel = re.search(r'\bchannel_id=(\d+)', instruction.attributes)
      key = (kind, channel[1]) if channel else (name, index)
      if name.startswith(_SCATTER) and kind == 'all-reduce':
        # These may all have the same channel.
        kind, key = 'reduce-scatter', (name, index)
      here = (times[name], times[name] * size, kind, devices)
      found[key] = max(here, found.get(key, here))
  totals: dict[tuple[str, int], tuple[int, int]] = collections.defaultdict(
    lambda: (0, 0)
  )
  for count, size, kind, devices in found.values():
    counts, sizes = totals[kind, devices]
    totals[kind, devices] = counts + count, sizes + size
  return [
    Collective(kind, devices, count, size)
    for (kind, devices), (count, size) in sorted(totals.items())
  ]


def hbm_traffic(program: Program) -> int:
  """Bytes that pass between a TPU chip and its HBM.

  Every operation reads its operands and writes its results once, padded to
  their tiles, as far as they lie in the HBM; what the compiler keeps on the
  chip is free. A loop counts once: those of a training step go through an
  array in slices.
  """
  return sum(
    _traffic(instruction, shapes)
    for name in hlo.scheduled(program)
    for shapes in [{i.name: i.shape for i in program.computations[name]}]
    for instruction in program.computations[name]
  )


def flops(text: str) -> float:
  """Floating-point operations of a program's text, as XLA counts them."""
  # What JAX's own `cost_analysis` calls, which takes no text.
  from jax._src.lib import _jax
  from jax._src.lib import hlo as hlo_lib

  module = hlo_lib.hlo_module_from_text(text)
  client = jax.devices('cpu')[0].client
  return _jax.hlo_module_cost_analysis(client, module)['flops']


def hbm_bytes(allocations: str) -> dict[str, int]:
  """Sums what the compiler's list of allocations says of the HBM.

  Returns:
    Bytes of `arguments`, `outputs` in places of their own, `temporaries`, and
    all together, `peak`.
  """
  found = dict.fromkeys(('arguments', 'outputs', 'temporaries'), 0)
  for size, kind in re.findall(
    r'^allocation \d+: size (\d+), (.*):$', allocations, re.MULTILINE
  ):
    if re.search(r'\bcolor [1-9]', kind):
      continue
    if re.search(r'\bparameter \d', kind):
      name = 'arguments'
    elif re.search(r'maybe-live-out|output shape', kind):
      name = 'outputs'
    else:
      name = 'temporaries'
    found[name] += int(size)
  return found | {'peak': sum(found.values())}


def optimal_seconds(cost: dict[str, float], program: Program) -> float | None:
  """The compiler's estimate of the time, None where it has none.

  It takes a custom call, of which it knows nothing, for -1 s. Those of a TPU's
  program join what was fetched in slices, which takes no time.

  Args:
    cost: what `cost_analysis` of the compiled program returns.
    program: the same program.
  """
  unknown = sum(
    instruction.opcode == 'custom-call'
    for name in hlo.scheduled(program)
    for instruction in program.computations[name]
  )
  seconds = cost.get('optimal_seconds', 0.0) + unknown
  return seconds if seconds > 0.0 else None


def _group_size(program: Program, instruction: Instruction) -> int:
  """How many devices take part in a collective, in each of its groups."""
  attributes = instruction.attributes
  if mesh := re.search(
    r'replica_groups=mesh\[([^\]]*)\][^{}]*\{([^}]*)\}', attributes
  ):
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
    parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
    return math.prod(int(part or sizes[axis]) for axis, part in parts)
  if iota := re.search(r'replica_groups=\[(\d+),(\d+)\]<=', attributes):
    return int(iota[2])
  if groups := re.search(r'replica_groups=\{\{([\d,]+)\}', attributes):
    return len(groups[1].split(','))
  return program.devices


def _whole_bytes(instruction: Instruction, devices: int) -> int:
  """Bytes of the arrays of a collective, before they are split or after."""
  kind = instruction.opcode.removesuffix('-start')
  shape = instruction.shape
  if kind == 'send':
    shape = hlo.elements(shape)[0]
  # What starts one has its operands, too, in front of its results.
  elif kind != instruction.opcode and kind != 'all-reduce':
    shape = hlo.elements(shape)[1]
  size = sum(array.bytes for array in hlo.arrays(shape))
  return size * (devices if kind == 'reduce-scatter' else 1)


def _traffic(instruction: Instruction, shapes: dict[str, str]) -> int:
  opcode = instruction.opcode
  if opcode in _FREE or opcode.endswith('-done'):
    return 0
  if _FREE_CUSTOM_CALL in instruction.attributes:
    return 0
  if opcode in ('copy-start', 'async-start', 'slice-start'):
    # From one memory to the other: as much is read as is written, though a
    # slice's operand is the whole array.
    ends = [
      hlo.arrays(element)[0] for element in hlo.elements(instruction.shape)[:2]
    ]
    moved = min(end.padded_bytes for end in ends)
    return moved * sum(end.is_in_hbm for end in ends)
  operands = re.findall(r'%([\w.-]+)', instruction.operands)
  return sum(
    array.padded_bytes
    for shape in [instruction.shape, *(shapes[name] for name in operands)]
    for array in hlo.arrays(shape)
    if array.is_in_hbm
  )
