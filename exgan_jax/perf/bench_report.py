"""Formats the results of a benchmark as text."""

from __future__ import annotations

from exgan_jax.perf.bench import Bench


def format_bench(bench: Bench) -> str:
  """All that a bench says."""
  parts = [_head(bench), _step(bench), _rates(bench)]
  if bench.operations:
    parts.append(_operations(bench))
  return '\n\n'.join('\n'.join(lines) for lines in parts)


def _head(bench: Bench) -> list[str]:
  count = f', {bench.num_devices} of them' if bench.num_devices > 1 else ''
  return [
    f'{bench.preset}, {bench.size}, {bench.resolution} px,'
    f' {bench.compute_dtype}, batch {bench.batch_size}, on'
    f' {bench.device}{count}',
    f'traced in {bench.trace_seconds:.1f} s, compiled in'
    f' {bench.compile_seconds:.1f} s; JAX {bench.versions["jax"]}',
  ]


def _step(bench: Bench) -> list[str]:
  low, high = bench.step_ms_quartiles
  compute, memory = (bench.roofline_ms[k] for k in ('compute', 'memory'))
  gib = bench.peak_memory_bytes / 2**30
  return [
    f'step: {bench.step_ms_median:.2f} ms (median of {bench.steps:,} steps;'
    f' quartiles {low:.2f} and {high:.2f})',
    _row('compute', compute, f'{bench.flops_per_step / 1e12:.3f} TFLOP at the'
         f' {bench.peak_tflops_per_second:.2f} TFLOP/s of large matrices'),
    _row('memory', memory, f'{bench.bytes_per_step / 1e9:.2f} GB at the'
         f' {bench.peak_gigabytes_per_second:.1f} GB/s of large arrays'),
    _row('dispatch', bench.dispatch_ms_median, 'until the call returns'),
    f'  {bench.tflops_per_second:.3f} TFLOP/s reached,'
    f' {100 * bench.peak_fraction:.1f} % of that of large matrices;'
    f' {bench.gigabytes_per_second:.1f} GB/s',
    f'  {gib:.2f} GiB of memory per device at most',
  ]  # fmt: skip


def _row(name: str, milliseconds: float, note: str) -> str:
  return f'  {name:<10}{milliseconds:10.2f} ms  {note}'


def _rates(bench: Bench) -> list[str]:
  lines = ['pictures per second:', _rate('step', bench.images_per_second)]
  for name, field in (
    ('input', 'input_images_per_second'),
    ('both', 'train_images_per_second'),
  ):
    rate = getattr(bench, field)
    lines.append(
      f'  {name:<10}not timed: {bench.skipped[field]}'
      if rate is None
      else _rate(name, rate)
    )
  return lines


def _rate(name: str, rate: float) -> str:
  return f'  {name:<10}{rate:10,.1f}'


def _operations(bench: Bench) -> list[str]:
  return ['longest operations, ms per step and share of all:'] + [
    f'{found.ms_per_step:9.2f} {100 * found.share:5.1f} %  {found.name}'
    for found in bench.operations
  ]
