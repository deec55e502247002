"""FID's two costs: Inception features and the trace of a matrix's root.

    python tests/benchmarks/inception.py [--output figures.json]

Features are compared with torch-fidelity's, from the same pictures and the same
random weights; the Fréchet distance with the textbook's formula over scipy's
`sqrtm`, from the same vectors. The two of each are timed in turn, with whatever
threads they take by themselves. PyTorch, torch-fidelity and scipy are needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from exgan_jax.evaluation import inception, inception_weights
from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance

ORACLE = (
  pathlib.Path(__file__).parents[1] / 'exgan_jax' / 'evaluation' / 'oracles'
)
NEEDED = ('torch', 'torch_fidelity', 'scipy')
FEATURE_TOLERANCE = 1e-5
DISTANCE_TOLERANCE = 1e-6

Figures = dict[str, Any]


def main() -> None:
  """Prints what it measures."""
  args = _arguments()
  missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
  if missing:
    _stop(f'not installed: {", ".join(missing)}')
  import torch

  threads, cores = torch.get_num_threads(), os.cpu_count()
  print(f'{cores} cores; {threads} PyTorch threads; {args.rounds} rounds')
  print(f'{"":24}{"theirs":>12}{"ours":>12}{"ratio":>8}  ratio by round')
  figures = {
    'cores': cores,
    'torch_threads': threads,
    'features': _features(args),
    'frechet': _frechet(args),
  }
  if args.output:
    pathlib.Path(args.output).write_text(json.dumps(figures, indent=2) + '\n')


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  for name, default, text in (
    ('pictures', 16, 'number of pictures'),
    ('side', 256, 'of a picture in pixels'),
    ('batch-size', 8, 'of both networks'),
    ('rounds', 3, 'timings of each'),
    ('dimensions', 2048, 'of a vector'),
    ('count', 4096, 'vectors in each of the two sets'),
  ):
    parser.add_argument(
      f'--{name}', type=_positive, default=default, help=f'{text} ({default})'
    )
  parser.add_argument('--output', help='JSON file for the figures')
  args = parser.parse_args()
  if args.pictures % args.batch_size:
    parser.error('--pictures is not a multiple of --batch-size')
  if args.count < 2:
    parser.error('--count is less than 2')
  return args


def _positive(text: str) -> int:
  if not text.isdecimal() or not int(text):
    raise argparse.ArgumentTypeError(f'{text} is not a positive whole number')
  return int(text)


def _features(args: argparse.Namespace) -> Figures:
  import torch

  oracle = _load_oracle()
  network = oracle.torch_fidelity_network()
  structure = nnx.graphdef(inception.abstract())
  apply = jax.jit(lambda state, x: nnx.merge(structure, state)(x))
  weights = oracle.weights(inception_weights.published_shapes())
  state = jax.device_put(inception_weights.parameters(weights))

  rng = np.random.default_rng(0)
  shape = (args.pictures, args.side, args.side, 3)
  pictures = rng.integers(0, 256, shape, np.uint8)
  batches = np.split(pictures, args.pictures // args.batch_size)
  # Each gets pictures in the order of axes that it takes.
  tensors = [
    torch.from_numpy(np.moveaxis(batch, -1, 1).copy()) for batch in batches
  ]

  def theirs(tensors):
    with torch.inference_mode():
      return np.concatenate([network(x)[0].numpy() for x in tensors])

  def ours(batches):
    found = [jax.device_get(apply(state, x)[0]) for x in batches]
    return np.concatenate(found)

  theirs(tensors[:1]), ours(batches[:1])  # Compiles, and fills the caches.
  times, (expected, found) = _in_turn(
    args.rounds, lambda: theirs(tensors), lambda: ours(batches)
  )
  error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
  if not error < FEATURE_TOLERANCE:
    _stop(f"features differ from torch-fidelity's by {error:.1e}")
  rates = [args.pictures / statistics.median(each) for each in times]
  ratios = _ratios(times)
  _print('features, pictures/s', rates, ratios)
  print(
    f'  N = {args.pictures} of {args.side} px, batches of {args.batch_size}; '
    f'features differ by {error:.1e}'
  )
  return {
    'pictures': args.pictures,
    'side': args.side,
    'batch_size': args.batch_size,
    'torch_fidelity_pictures_per_second': rates[0],
    'exgan_pictures_per_second': rates[1],
    'ratio': statistics.median(ratios),
    'ratios': ratios,
    'relative_difference': float(error),
  }


def _frechet(args: argparse.Namespace) -> Figures:
  import scipy.linalg

  rng = np.random.default_rng(0)
  shape = (args.dimensions, args.dimensions)
  mixes = [rng.normal(size=shape) / np.sqrt(args.dimensions) for _ in range(2)]
  # Far enough from each other that the distance is not a rounding error.
  sets = [
    rng.normal(size=(args.count, args.dimensions)) @ mix + shift
    for mix, shift in zip(mixes, (0.0, 0.1), strict=True)
  ]
  # Both start from what is collected batch by batch, ours from sums.
  moments = [(v.mean(axis=0), np.cov(v, rowvar=False)) for v in sets]
  counted = np.ones(args.count, bool)
  states = [Gaussian.from_values(vectors, counted) for vectors in sets]

  def theirs():
    (mean, covariance), (other_mean, other_covariance) = moments
    root = scipy.linalg.sqrtm(covariance @ other_covariance)
    difference = mean - other_mean
    return float(
      difference @ difference
      + np.trace(covariance)
      + np.trace(other_covariance)
      - 2 * np.trace(root).real
    )

  times, (expected, found) = _in_turn(
    args.rounds, theirs, lambda: frechet_distance(*states)
  )
  difference = found - expected
  # With fewer vectors than dimensions the textbook's root does not exist.
  is_full_rank = args.count > args.dimensions
  if is_full_rank and not abs(difference) < DISTANCE_TOLERANCE * abs(expected):
    _stop(f'distances {expected} (scipy) and {found} differ')
  seconds = [statistics.median(each) for each in times]
  ratios = _ratios(times)
  _print('Fréchet distance, s', seconds, ratios)
  print(
    f'  N = {args.count} x {args.dimensions}; {expected:.9f} and '
    f'{found:.9f}, difference {difference:.1e}'
  )
  return {
    'count': args.count,
    'dimensions': args.dimensions,
    'scipy_seconds': seconds[0],
    'exgan_seconds': seconds[1],
    'ratio': statistics.median(ratios),
    'ratios': ratios,
    'scipy_distance': expected,
    'exgan_distance': found,
  }


def _in_turn(
  rounds: int, theirs: Callable, ours: Callable
) -> tuple[tuple[list[float], list[float]], tuple[Any, Any]]:
  """Returns seconds of each by round, and what they last returned."""
  times = ([], [])
  results = [None, None]
  for _ in range(rounds):
    for i, function in enumerate((theirs, ours)):
      start = time.perf_counter()
      results[i] = function()
      times[i].append(time.perf_counter() - start)
  return times, tuple(results)


def _ratios(times: tuple[list[float], list[float]]) -> list[float]:
  return [a / b for a, b in zip(*times, strict=True)]


def _print(name: str, values: list[float], ratios: list[float]) -> None:
  numbers = ''.join(f'{value:12.2f}' for value in values)
  by_round = ' '.join(f'{ratio:.2f}' for ratio in ratios)
  print(f'{name:24}{numbers}{statistics.median(ratios):8.2f}  {by_round}')


def _load_oracle():
  path = ORACLE / 'random_inception.py'
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _stop(reason: str) -> None:
  print(f'{pathlib.Path(__file__).name}: {reason}', file=sys.stderr)
  sys.exit(2)


if __name__ == '__main__':
  main()
