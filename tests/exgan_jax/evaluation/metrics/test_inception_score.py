"""The Inception Score by hand and by torch-fidelity."""

import numpy as np
import pytest

from exgan_jax.evaluation.metrics.inception_score import (
  inception_score,
  shuffled,
)


def test_of_two_splits_by_hand():
  # One split of one thing: 1. One of two, for sure: 2.
  logits = np.array([[0, -1e4], [0, -1e4], [0, -1e4], [-1e4, 0]])
  mean, deviation = inception_score(logits, splits=2)
  assert mean == pytest.approx(1.5) and deviation == pytest.approx(0.5)


# What torch-fidelity 0.4.0 gives for these logits (isc_features_to_metric,
# splits=10, shuffle=False).
@pytest.mark.parametrize(
  ('count', 'mean', 'deviation'),
  [
    (100, 6.939980749407812, 0.498788695985755),
    (1003, 21.52918636755863, 0.845268136067327),
  ],
)
def test_agrees_with_torch_fidelity(count, mean, deviation):
  rng = np.random.default_rng(0)
  logits = {n: 3 * rng.normal(size=(n, 1008)) for n in (100, 1003)}[count]
  found = inception_score(logits.astype(np.float32))
  np.testing.assert_allclose(found, (mean, deviation), rtol=1e-9)


def test_shuffled_is_the_same_every_time_and_not_as_it_was():
  logits = np.arange(60.0)[:, None]
  one, other = shuffled(logits), shuffled(logits)
  np.testing.assert_array_equal(one, other)
  assert sorted(one[:, 0]) == list(range(60)) and (one != logits).any()


def test_people_one_after_the_other_would_score_lower():
  # Ten people of ten pictures, each person of a class of their own.
  logits = 9 * np.repeat(np.eye(10), 10, axis=0)
  assert inception_score(logits)[0] == pytest.approx(1, abs=1e-9)
  assert inception_score(shuffled(logits))[0] > 4
