"""Metrics of feature vectors, against other implementations."""

import numpy as np
import pytest

from exgan_jax.evaluation.metrics import neighbors, separability
from exgan_jax.evaluation.metrics.kernel_distance import kernel_distance


def _features(count, size, shift=0.1):
  rng = np.random.default_rng(0)
  real = rng.normal(size=(count, size)).astype(np.float32)
  return real, rng.normal(shift, 1.1, size=(count, size)).astype(np.float32)


def test_the_kernel_distance_is_that_of_torch_fidelity():
  # torch-fidelity 0.4.0's kid_features_to_metric with float64 features, 100
  # subsets of 1,000, and its default kernel and seed.
  found = kernel_distance(*_features(2400, 16))
  expected = 0.036920573338249336, 0.006022219611113655
  assert found == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_has_no_bias():
  values = []
  for seed in range(20):
    pair = np.random.default_rng(seed).normal(size=(2, 60, 8))
    values.append(kernel_distance(*pair)[0])
  assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(20)


def test_precision_and_recall_agree_with_brute_force(monkeypatch):
  monkeypatch.setattr(neighbors, '_BLOCK', 17)
  real, made = (x.astype(np.float64) for x in _features(60, 5, 0.5))

  def covered(vectors, by):
    inside = []
    for vector in vectors:
      hits = []
      for center in by:
        others = np.sort([np.linalg.norm(center - other) for other in by])
        hits.append(np.linalg.norm(center - vector) <= others[3])
      inside.append(any(hits))
    return np.mean(inside)

  expected = covered(made, real), covered(real, made)
  assert 0 < expected[0] < 1 and expected[0] != expected[1]
  assert neighbors.precision_and_recall(real, made) == expected


@pytest.mark.parametrize(('count', 'size'), [(300, 20), (60, 100)])
def test_the_separating_plane_is_the_minimum(count, size):
  real, made = _features(count, size, 0.3)
  weights = separability.separate(real, made)
  # Of a convex function: where the gradient is 0.
  x = np.concatenate([real, made]).astype(np.float64)
  x = np.concatenate([x, np.ones((2 * count, 1))], axis=1)
  y = np.repeat([1, -1], count)
  losses = np.maximum(0, 1 - y * (x @ weights))
  np.testing.assert_allclose(weights, 2 * x.T @ (y * losses), atol=1e-8)
  above = x @ weights > 0
  wrong = np.mean(above != (y > 0))
  u_ids, p_ids = separability.discriminative_scores(real, made)
  assert u_ids == pytest.approx(wrong, abs=1e-12)
  assert p_ids == np.mean((x @ weights)[count:] > (x @ weights)[:count])


def test_discriminative_scores_agree_with_scikit_learn():
  svm = pytest.importorskip('sklearn.svm')
  real, made = _features(300, 20, 0.3)
  machine = svm.LinearSVC(dual=False, tol=1e-12, max_iter=100_000)
  x, y = np.concatenate([real, made]), np.repeat([1, 0], 300)
  machine.fit(x.astype(np.float64), y)
  ours, theirs = (machine.decision_function(part) for part in (made, real))
  expected = 1 - machine.score(x, y), np.mean(ours > theirs)
  found = separability.discriminative_scores(real, made)
  assert found == pytest.approx(expected, abs=1e-6)
