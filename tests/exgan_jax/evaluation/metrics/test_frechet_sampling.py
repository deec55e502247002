"""The spread of the distance where the true one is known."""

import numpy as np
import pytest

from exgan_jax.evaluation.metrics.frechet import Gaussian, frechet_distance
from exgan_jax.evaluation.metrics.frechet_sampling import Target, deviation

SIZE = 8


def _gaussian(vectors):
  return Gaussian.from_values(vectors, np.ones(len(vectors), bool))


def _vectors(count, seed, shift=0.0):
  return np.random.default_rng(seed).normal(shift, 1, (count, SIZE))


@pytest.mark.parametrize('count', [5, 300])
def test_the_quick_distance_is_the_distance(count):
  real, made = _vectors(500, 0), 2 * _vectors(count, 1, 0.5)
  target = Target(_gaussian(real))
  assert target.distance(made) == pytest.approx(
    frechet_distance(_gaussian(real), _gaussian(made)), rel=1e-7
  )


def test_the_deviation_is_that_of_other_samples():
  target = Target(_gaussian(_vectors(50_000, 0)))
  distances = [
    target.distance(_vectors(400, seed, 0.3)) for seed in range(1, 101)
  ]
  found = np.mean(
    [
      deviation(target, _vectors(400, seed, 0.3), np.arange(400))
      for seed in (1, 2, 3, 4)
    ]
  )
  assert 0.7 < found / np.std(distances) < 1.4


def test_one_person_has_no_deviation():
  target = Target(_gaussian(_vectors(50, 0)))
  assert deviation(target, _vectors(20, 1), np.zeros(20, int)) is None
