"""Formats a plan as text."""

from __future__ import annotations

from exgan_jax.perf import tpus
from exgan_jax.perf.plan import Plan


def format_plan(plan: Plan) -> str:
  """All that a plan says, and the table of its sweep."""
  parts = [_head(plan), _memory(plan), _network(plan), _time(plan)]
  if plan.sweep:
    parts.append(_sweep(plan))
  return '\n\n'.join('\n'.join(lines) for lines in parts)


def _head(plan: Plan) -> list[str]:
  each = plan.batch_size // plan.num_devices
  copies = f', {plan.fsdp} chips share a state' if plan.fsdp > 1 else ''
  return [
    f'{plan.preset}, {plan.size}, {plan.resolution} px, {plan.compute_dtype},'
    f' on {plan.topology}: {_chips(plan.num_devices)}',
    f'batch {plan.batch_size:,}: {each:,} pictures per chip{copies};'
    f' {plan.flops_per_step / 1e12:,.1f} TFLOP per step',
    f'compiled by libtpu {plan.versions["libtpu"]} in'
    f' {plan.planning_seconds:.0f} s; nothing was run',
  ]


def _memory(plan: Plan) -> list[str]:
  sizes = plan.bytes_per_device
  whole = _gib(plan.hbm_bytes)
  state = f'the training state is {_gib(sizes["state"])} of it, unpadded'
  lines = [
    f'memory of a chip: {_gib(sizes["peak"])} of {whole} GiB,'
    f' {"fits" if plan.fits else "DOES NOT FIT"}',
    _row('arguments', _gib(sizes['arguments']), state),
    _row('outputs', _gib(sizes['outputs']), 'not in place of an argument'),
    _row('temporaries', _gib(sizes['temporaries']), ''),
  ]
  if sizes['code'] is not None:
    lines.append(
      _row('machine code', _gib(sizes['code']), 'not in the sum above')
    )
  if plan.refused:
    lines.append(f'  the compiler: {plan.refused}')
  return lines


def _network(plan: Plan) -> list[str]:
  lines = ['network, per chip and step:']
  for found in plan.collectives:
    times = f'{found.count} among {found.devices} chips'
    size = f'{found.bytes / 2**20:.3f}'
    lines.append(_row(found.kind, size, f'MiB, {times}'))
  return lines if plan.collectives else ['network: nothing crosses it']


def _time(plan: Plan) -> list[str]:
  chip = tpus.CHIPS[tpus.parse(plan.topology)[0]]
  flops = plan.flops_per_device / 1e12
  traffic = plan.hbm_traffic_per_device / 1e9
  sources = {
    'compute': f'{flops:.3f} TFLOP at {chip.peak_flops / 1e12:.0f} TFLOP/s'
    ' (bfloat16)',
    'memory': f'{traffic:.2f} GB at {chip.hbm_bandwidth / 1e9:.0f} GB/s',
    'network': f'rings over all links, {chip.link_bandwidth / 1e9:.0f} GB/s',
  }
  lines = ["time of a step, NOT MEASURED: each part alone at the chip's rate"]
  for part, source in sources.items():
    value = f'{1e3 * plan.roofline[part]:.2f}'
    lines.append(_row(part, value, f'ms: {source}'))
  seconds = plan.compiler_seconds_per_step
  if seconds is not None:
    value = f'{1e3 * seconds:.2f}'
    lines.append(_row('all', value, "ms: the compiler's own estimate"))
  if plan.compute_dtype == 'float32':
    lines.append('  (JAX lets TPUs multiply float32 in bfloat16, too)')
  if not plan.fits:
    return lines
  lines.append(
    f'at most {plan.images_per_second_estimate:,.0f} pictures per second on all'
    ' chips, by the slowest of these'
  )
  if plan.images:
    lines.append(
      f'{plan.images:,} pictures: {plan.steps:,} steps,'
      f' {plan.hours:.2f} hours or more'
    )
  return lines


def _sweep(plan: Plan) -> list[str]:
  each = plan.batch_size // plan.num_devices
  lines = [
    f'more chips, {each:,} pictures on each:',
    '  chips  topology       batch   GiB  TFLOP   MiB network  ms step'
    '  pictures/s  a chip',
  ]
  for one in plan.sweep:
    sent = sum(found.bytes for found in one.collectives) / 2**20
    row = (
      f'  {one.num_devices:5}  {one.topology:11}  {one.batch_size:6}'
      f'  {_gib(one.bytes_per_device["peak"]):>4}'
      f'  {one.flops_per_device / 1e12:5.2f}  {sent:12.3f}'
    )
    if rate := one.images_per_second_estimate:
      seconds = one.batch_size / rate
      row += (
        f'  {1e3 * seconds:7.2f}  {rate:10,.0f}  {rate / one.num_devices:6,.1f}'
      )
    else:
      row += '  does not fit'
    lines.append(row)
  lines.append(
    '  GiB, TFLOP and MiB of one chip; times and rates at best, as above'
  )
  return lines


def _row(name: str, value: str, text: str) -> str:
  return f'  {name:18} {value:>9} {text}'.rstrip()


def _chips(count: int) -> str:
  return '1 chip' if count == 1 else f'{count} chips'


def _gib(size: int | None) -> str:
  return '?' if size is None else f'{size / 2**30:.2f}'
