"""The verification AUC by hand and by comparing all pairs."""

import numpy as np
import pytest

from exgan_jax.evaluation import metrics
from exgan_jax.evaluation.metrics import verification


def _ranks(codes, identities):
  """How often a pair of one person is more alike, by comparing all pairs."""
  unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
  same, other = [], []
  for i, one in enumerate(unit):
    for j in range(i):
      kind = same if identities[i] == identities[j] else other
      kind.append(one @ unit[j])
  larger = [(s > o) + 0.5 * (s == o) for s in same for o in other]
  return sum(larger) / len(larger)


def _noisy_people(people, pictures, noise, seed=0):
  rng = np.random.default_rng(seed)
  codes = np.repeat(rng.standard_normal((people, 8)), pictures, axis=0)
  codes = codes + noise * rng.standard_normal(codes.shape)
  names = [f'p{i}' for i in range(people) for _ in range(pictures)]
  order = rng.permutation(len(names))
  return codes[order].astype(np.float32), [names[i] for i in order]


def test_by_hand():
  angles = np.radians([0, 40, 50, 130])
  codes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  codes *= [[1], [5], [0.2], [3]]  # Lengths do not matter.
  # Of one person 40 and 80 degrees, of two 50, 130, 10 and 90.
  assert metrics.verification_auc(codes, list('aabb')) == 5 / 8


@pytest.mark.parametrize('code', [0.0, 1.0])
def test_equal_codes_are_guessing(code):
  codes = np.full((6, 4), code, np.float32)
  assert metrics.verification_auc(codes, list('aabbcc')) == 0.5


@pytest.mark.parametrize('noise', [0.3, 1.0, 3.0])
def test_agrees_with_comparing_all_pairs(noise):
  codes, names = _noisy_people(9, 4, noise)
  expected = _ranks(codes.astype(np.float64), names)
  assert 0.5 < expected < 1
  got = metrics.verification_auc(codes, names)
  assert got == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize('block', [1, 7, 35, 36])
def test_blocks_change_nothing(block, monkeypatch):
  codes, names = _noisy_people(9, 4, 1.0)
  whole = metrics.verification_auc(codes, names)
  monkeypatch.setattr(verification, '_BLOCK', block)
  # But the last digits of a cosine, which may fall into the next bin.
  assert metrics.verification_auc(codes, names) == pytest.approx(
    whole, abs=1e-4
  )


@pytest.mark.parametrize('names', ['', 'a', 'aaaa', 'abcd'])
def test_without_pairs_of_both_kinds_there_is_none(names):
  codes = np.ones((len(names), 4), np.float32)
  assert metrics.verification_auc(codes, list(names)) is None


def test_a_code_that_is_not_finite_shows():
  codes = np.asarray([[1.0, 0.0], [np.nan, 0.0], [0.0, 1.0]])
  assert np.isnan(verification.verification_auc(codes, ['a', 'a', 'b']))
