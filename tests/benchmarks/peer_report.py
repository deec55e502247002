"""What the two frameworks' rounds come to: the figures and a table."""

from __future__ import annotations

import os
import statistics
from typing import Any

from peer_worker import Answer, Job

FRAMEWORKS = ('exgan', 'torch')
# Of the first step's metrics, from one framework to the other. With TF32 or
# bfloat16 these sums of few pictures are far from exact.
_TOLERANCES = {'float32': 1e-3, 'tf32': 0.02, 'bfloat16': 0.2}

Figures = dict[str, Any]


def figures_of(job: Job, tried: list[Figures]) -> Figures:
  """What is written: of each framework its best batch size.

  Args:
    job: what was measured.
    tried: at each batch size what the processes said at first, their images a
      second and seconds a painted picture, a number a round.

  Raises:
    MemoryError: there is no batch size that fits.
  """
  best = {}
  for name in FRAMEWORKS:
    fitting = [each for each in tried if name in each['rates']]
    if not fitting:
      raise MemoryError(f'no batch size fits into the memory for {name}')
    best[name] = max(
      fitting, key=lambda each: statistics.median(each['rates'][name])
    )
  rates = {name: best[name]['rates'][name] for name in FRAMEWORKS}
  said = {name: best[name]['said'][name] for name in FRAMEWORKS}
  ratios = _ratios(rates['exgan'], rates['torch'])
  # A picture at a time is the same whatever the batch size was.
  whole = next(
    (each for each in tried if len(each['inference']) == 2), best['exgan']
  )
  inference = {
    name: 1e3 * statistics.median(each)
    for name, each in whole['inference'].items()
  }
  figures = {
    'device': said['torch']['device'],
    'cores': len(os.sched_getaffinity(0)),
    **job.config,
    'batch_size': best['exgan']['batch_size'],
    'torch_batch_size': best['torch']['batch_size'],
    'exgan_images_per_second': statistics.median(rates['exgan']),
    'torch_images_per_second': statistics.median(rates['torch']),
    'ratio': statistics.median(ratios),
    'ratio_per_round': ratios,
  }
  if len(inference) == 2:
    figures |= {
      'exgan_inference_ms': inference['exgan'],
      'torch_inference_ms': inference['torch'],
      'inference_ratio': inference['torch'] / inference['exgan'],
      'inference_ratio_per_round': _ratios(
        whole['inference']['torch'], whole['inference']['exgan']
      ),
    }
  return figures | {
    'metrics_difference': _difference(said['exgan'], said['torch'])
    if best['exgan'] is best['torch']
    else None,
    'compile_seconds': {k: v['compile_seconds'] for k, v in said.items()},
    'torch_compiled': said['torch']['compiled'],
    'torch_variants': said['torch']['variants'],
    'torch_inference_compiled': said['torch']['inference_compiled'],
    'torch_inference_variants': said['torch']['inference_variants'],
    'versions': {k: v['version'] for k, v in said.items()},
    'tried': [_summary(each) for each in tried],
  }


def _ratios(above: list[float], below: list[float]) -> list[float]:
  return [a / b for a, b in zip(above, below, strict=True)]


def _difference(exgan: Answer, torch: Answer) -> float:
  """The largest of the first step's metrics, relative or of one in a hundred.

  A mean logit may be near 0.
  """
  return max(
    abs(value - torch['metrics'][name]) / max(abs(value), 1e-2)
    for name, value in exgan['metrics'].items()
  )


def _summary(measured: Figures) -> Figures:
  """Rates at one batch size; None where it does not fit into memory."""
  rates = measured['rates']
  return {
    'batch_size': measured['batch_size'],
    **{
      f'{name}_images_per_second': statistics.median(rates[name])
      if name in rates
      else None
      for name in FRAMEWORKS
    },
  }


def show(figures: Figures) -> str:
  """Prints a table; returns why it means nothing, if so."""
  print(
    f'{figures["device"]}, {figures["cores"]} cores, {figures["preset"]} '
    f'{figures["size"]} {figures["resolution"]} px, {figures["compute_dtype"]}'
  )
  print(f'{"":24}{"exgan":>10}{"torch":>10}{"ratio":>8}  ratio by round')
  for each in figures['tried']:
    rates = [each[f'{name}_images_per_second'] for name in FRAMEWORKS]
    shown = ''.join(f'{rate:10.2f}' if rate else f'{"-":>10}' for rate in rates)
    name = f'batch of {each["batch_size"]}, images/s'
    print(f'{name:24}{shown}')
  for text, name, ratio in (
    ('best, images/s', 'images_per_second', 'ratio'),
    ('one picture, ms', 'inference_ms', 'inference_ratio'),
  ):
    if ratio in figures:
      shown = ''.join(f'{figures[f"{k}_{name}"]:10.2f}' for k in FRAMEWORKS)
      rounds = ' '.join(f'{each:.2f}' for each in figures[f'{ratio}_per_round'])
      print(f'{text:24}{shown}{figures[ratio]:8.2f}  {rounds}')
  load = ' and '.join(f'{each:.1f}' for each in figures['load_average'])
  print(f'load average {load} before and after, this included after')
  shown = ''.join(f'{figures["compile_seconds"][k]:10.1f}' for k in FRAMEWORKS)
  print(f'{"compilation, s":24}{shown}')
  for what in ('torch_variants', 'torch_inference_variants'):
    for each in figures[what]:
      seconds = each.get('seconds')
      found = f'{1e3 * seconds:.1f} ms' if seconds else each['failed']
      print(f'{what.replace("_", " ")}: {each["variant"]} {found}')
  dtype, difference = figures['compute_dtype'], figures['metrics_difference']
  cuda = figures['device'] != 'cpu'
  allowed = _TOLERANCES['tf32' if cuda and dtype == 'float32' else dtype]
  if difference is None:
    return ''
  print(f'metrics of the first step differ by {difference:.1e}')
  if difference < allowed:
    return ''
  return f'not the same step: metrics may differ by {allowed:.0e}'
