"""The Inception Score by hand, by torch-fidelity, and as a state."""

import numpy as np
import pytest

from exgan_jax.metrics.inception_score import ClassScores, inception_score


def test_of_nothing_in_particular_is_one():
  mean, deviation = inception_score(np.zeros((50, 7)))
  assert mean == pytest.approx(1) and deviation == pytest.approx(0, abs=1e-12)


def test_of_certain_and_different_things_is_their_number():
  # In every split of ten pictures, five classes twice each.
  logits = np.full((100, 5), -1e4)
  logits[np.arange(100), np.arange(100) % 5] = 0
  mean, deviation = inception_score(logits)
  assert mean == pytest.approx(5) and deviation == pytest.approx(0, abs=1e-9)


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


def _state(logits, names):
  return ClassScores.from_values(logits, np.ones(len(logits), bool), names)


def test_does_not_depend_on_batches_or_order():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(60, 20)).astype(np.float32)
  names = [f'picture {i}' for i in range(60)]
  whole = _state(logits, names).compute()
  order = rng.permutation(60)
  state = ClassScores()
  for part in np.array_split(order, 7):
    state = state.merge(_state(logits[part], [names[i] for i in part]))
  assert state.compute() == whole
  # The order is shuffled: as they are, neighbours may be alike.
  assert whole != inception_score(logits)


def test_counts_only_what_counts():
  logits = np.eye(24, dtype=np.float32)
  counted = np.arange(24) % 2 == 0
  names = [str(i) for i in range(12)]
  state = ClassScores.from_values(
    np.where(counted[:, None], logits, np.nan), counted, names
  )
  assert np.isfinite(state.compute()).all()
  with pytest.raises(ValueError, match='12 pictures and 11 names'):
    ClassScores.from_values(logits, counted, names[1:])
  assert _state(logits[:9], names[:9]).compute() is None
