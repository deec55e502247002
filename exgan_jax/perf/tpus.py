"""What is published of TPUs, and how fast that lets a program be.

The figures are of https://docs.cloud.google.com/tpu/docs/v4, .../v5e, .../v5p
and .../v6e. The links' bandwidth is half of the one given there for both
directions; v4's is that of six links of 50 GB/s: Jouppi et al. 2023, "TPU v4:
An Optically Reconfigurable Supercomputer", arXiv:2304.01433.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from exgan_jax.errors import InputError
from exgan_jax.perf.hlo_costs import Collective

# They pass on what they have; the others are rings.
_DIRECT = ('collective-permute', 'collective-broadcast', 'send')


@dataclasses.dataclass(frozen=True)
class Chip:
  """What its maker says of a chip.

  Attributes:
    hbm_bytes: of its memory.
    hbm_bandwidth: of that, in bytes a second.
    peak_flops: bfloat16 operations a second. Unless told otherwise JAX
      multiplies float32 matrices in bfloat16, too, on TPUs.
    link_bandwidth: bytes a second that it can send to its neighbours, over
      all links.
    dimensions: of the torus that the links make.
  """

  hbm_bytes: int
  hbm_bandwidth: float
  peak_flops: float
  link_bandwidth: float
  dimensions: int


CHIPS = {
  'v4': Chip(32 * 2**30, 1200e9, 275e12, 300e9, 3),
  'v5e': Chip(16 * 2**30, 819e9, 197e12, 200e9, 2),
  'v5p': Chip(95 * 2**30, 2765e9, 459e12, 600e9, 3),
  'v6e': Chip(32 * 2**30, 1600e9, 918e12, 400e9, 2),
}


def parse(topology: str) -> tuple[str, int]:
  """The chip of a topology, and how many there are.

  Raises:
    InputError: it is not written like one, or of an unknown chip.
  """
  match = re.fullmatch(r'(\w+):(\d+(?:x\d+)+)', topology)
  chip, layout = match.groups() if match else ('', '0')
  count = math.prod(map(int, layout.split('x')))
  if not count or chip not in CHIPS:
    raise InputError(
      f'--topology {topology!r}: must look like v5e:16x16, with one of'
      f' {", ".join(CHIPS)}'
    )
  return chip, count


def topology_of(chip: str, count: int) -> str:
  """A number of chips, as nearly a square or a cube as there is.

  Raises:
    InputError: it is not a power of two.
  """
  power = count.bit_length() - 1
  if count < 1 or count != 2**power:
    raise InputError(f'--sweep takes powers of two: {count} is none')
  dimensions = CHIPS[chip].dimensions
  powers = [(power + i) // dimensions for i in range(dimensions)]
  # The four chips of a host lie in one plane.
  if powers == [0, 1, 1]:
    powers.reverse()
  return f'{chip}:' + 'x'.join(str(2**p) for p in powers)


def roofline(
  chip: Chip, flops: float, traffic: float, collectives: Sequence[Collective]
) -> dict[str, float]:
  """Seconds that each part of a program takes at best, if it had no other.

  Args:
    chip: that runs it.
    flops: of one chip.
    traffic: bytes between one chip and its memory.
    collectives: of one chip.

  Returns:
    `compute`, at the peak; `memory`, at the memory's bandwidth; and `network`,
    over all links.
  """
  sent = sum(_sent(collective) for collective in collectives)
  return {
    'compute': flops / chip.peak_flops,
    'memory': traffic / chip.hbm_bandwidth,
    'network': sent / chip.link_bandwidth,
  }


def _sent(collective: Collective) -> float:
  """Bytes that a chip sends."""
  if collective.kind in _DIRECT:
    return collective.bytes
  # In a ring it passes on all parts of an array but one, and what is summed
  # goes round a second time, to tell the sums.
  rounds = 2 if collective.kind == 'all-reduce' else 1
  return rounds * collective.bytes * (1 - 1 / collective.devices)
