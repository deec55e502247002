"""Reads the text that XLA prints of a compiled program.

A program is a set of named computations, an instruction a line:

    %sum = f32[8]{0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%add

It is that of one device. How a TPU's compiler laid an array out, and in which
of the chip's memories, stands behind its shape: `{1,0:T(8,128)S(1)}` is in
tiles of 8 x 128, in memory 1. Memory 0, the default, is the HBM.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_ARRAY = re.compile(r'([a-z]\w*)\[([^\[\]]*)\](?:\{([^{}]*)\})?')
_CALLEE = re.compile(
  r'\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.-]+)'
)
_CALLEES = re.compile(r'\b(?:branch|called)_computations=\{([^}]*)\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line.

  Attributes:
    name: of the result.
    shape: of the result, as it is printed.
    opcode: what is done.
    operands: what is between the opcode's parentheses.
    attributes: what follows them.
  """

  name: str
  shape: str
  opcode: str
  operands: str
  attributes: str


@dataclasses.dataclass(frozen=True)
class Program:
  """Computations by name; `entry` is where it starts, on `devices` devices."""

  computations: dict[str, list[Instruction]]
  entry: str
  devices: int


@dataclasses.dataclass(frozen=True)
class Array:
  """An array of a shape.

  Attributes:
    bytes: of its numbers.
    padded_bytes: of the tiles that hold them.
    is_in_hbm: if not in another of the chip's memories.
  """

  bytes: int
  padded_bytes: int
  is_in_hbm: bool


def parse(text: str) -> Program:
  """Reads a program.

  Raises:
    ValueError: it has no entry computation.
  """
  computations: dict[str, list[Instruction]] = {}
  entry: str = ''
  current: list[Instruction] | None = None
  for line in text.splitlines():
    if line.endswith('{') and (
      head := re.match(r'(ENTRY )?%([\w.-]+)|ENTRY ([\w.-]+)', line)
    ):
      name = head[2] or head[3]
      current = computations[name] = []
      entry = name if line.startswith('ENTRY') else entry
    elif line.startswith('}'):
      current = None
    elif current is not None and ' = ' in line:
      current.append(_instruction(line))
  if not entry:
    raise ValueError('the program has no entry computation')
  header = text.split('\n', 1)[0]
  counts = re.findall(r'\b(?:num_partitions|replica_count)=(\d+)', header)
  return Program(computations, entry, math.prod(map(int, counts)))


def executions(program: Program) -> dict[str, int]:
  """How often each computation runs, fused ones and reducers included.

  A loop's as often as it does, or once where that is not known; and every
  branch of a conditional.
  """
  times: collections.Counter[str] = collections.Counter()

  def run(name: str, count: int) -> None:
    times[name] += count
    # What a call is short for is not always printed.
    for instruction in program.computations.get(name, ()):
      for callee in _callees(instruction):
        repeats = 1
        if instruction.opcode == 'while':
          repeats = _trips(program, instruction)
        run(callee, count * repeats)

  run(program.entry, 1)
  return times


def scheduled(program: Program) -> Iterator[str]:
  """Names of computations whose instructions run one after the other."""
  waiting = [program.entry]
  while waiting:
    name = waiting.pop()
    yield name
    for instruction in program.computations[name]:
      if instruction.opcode in ('while', 'conditional', 'call'):
        waiting.extend(_callees(instruction))


def elements(shape: str) -> list[str]:
  """The shapes in a tuple; the tuples among them stay whole."""
  if not shape.startswith('('):
    return [shape]
  found, depth, start = [], 0, 1
  for i, letter in enumerate(shape):
    depth += (letter in '([{') - (letter in ')]}')
    if (letter == ',' and depth == 1) or (letter == ')' and depth == 0):
      found.append(shape[start:i].strip())
      start = i + 1
  return found


def arrays(shape: str) -> list[Array]:
  """All arrays of a shape, however deep in tuples."""
  return [
    _array(dtype, lengths, layout)
    for dtype, lengths, layout in _ARRAY.findall(shape)
  ]


@functools.cache
def _array(dtype: str, lengths: str, layout: str) -> Array:
  dimensions = [int(length) for length in re.findall(r'\d+', lengths)]
  order = [int(axis) for axis in re.findall(r'\d+', layout.split(':')[0])]
  from_minor = [dimensions[axis] for axis in order] or dimensions[::-1]
  if tile := re.search(r'T\(([\d,]+)\)', layout):
    sides = [int(side) for side in reversed(tile[1].split(','))]
    from_minor += [1] * (len(sides) - len(from_minor))
    for i, side in enumerate(sides):
      from_minor[i] = -(-from_minor[i] // side) * side
  # Tokens have no number in their name, and no bits.
  width = re.search(r'\d+', dtype)
  bits = 8 if dtype == 'pred' else int(width[0]) if width else 0
  return Array(
    bytes=math.prod(dimensions) * bits // 8,
    padded_bytes=math.prod(from_minor) * bits // 8,
    is_in_hbm=not re.search(r'S\([1-9]', layout),
  )


def _instruction(line: str) -> Instruction:
  name, rest = line.strip().removeprefix('ROOT ').split(' = ', 1)
  end = _closing(rest, 0) + 1 if rest[0] == '(' else rest.index(' ')
  shape, call = rest[:end], rest[end:].lstrip()
  opening = call.index('(')
  closing = _closing(call, opening)
  return Instruction(
    name.lstrip('%'), shape, call[:opening], call[opening + 1 : closing],
    call[closing + 1 :],
  )  # fmt: skip


def _closing(text: str, opening: int) -> int:
  """Index of the parenthesis that closes the one at an index."""
  depth = 0
  for match in re.compile(r'[()]').finditer(text, opening):
    depth += 1 if match[0] == '(' else -1
    if not depth:
      return match.start()
  raise ValueError(f'unbalanced parentheses: {text[:80]}')


def _callees(instruction: Instruction) -> list[str]:
  # They repeat what their start calls.
  if instruction.opcode in ('async-update', 'async-done'):
    return []
  several = ' '.join(_CALLEES.findall(instruction.attributes))
  names = _CALLEE.findall(instruction.attributes)
  return names + re.findall(r'[\w.-]+', several)


def _trips(program: Program, loop: Instruction) -> int:
  """How often a loop runs: as noted, or up to its condition's one constant."""
  noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
  if noted:
    return int(noted[1])
  names = re.findall(r'\bcondition=%?([\w.-]+)', loop.attributes)
  condition = program.computations[names[0]]
  limits = [i.operands for i in condition if i.opcode == 'constant']
  is_less = any('direction=LT' in i.attributes for i in condition)
  if is_less and len(limits) == 1 and limits[0].isdecimal():
    return int(limits[0])
  return 1
