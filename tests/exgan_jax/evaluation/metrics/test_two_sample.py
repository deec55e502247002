"""The classifier: what it can tell, and that it must not know the people."""

import numpy as np

from exgan_jax.evaluation.metrics import two_sample

PEOPLE = 24


def _crops(seed=0):
  """Crops of people with a color each, two pictures of each person."""
  rng = np.random.default_rng(seed)
  colors = np.repeat(rng.integers(40, 200, (PEOPLE, 3)), 2, axis=0)
  noise = rng.integers(-30, 30, (2 * PEOPLE, 2, 2, 32, 32, 3))
  crops = colors[:, None, None, None, None, :] + noise
  return crops.astype(np.uint8), np.repeat(np.arange(PEOPLE), 2)


def test_what_is_alike_cannot_be_told_and_a_smear_can():
  crops, people = _crops()
  there = np.ones((len(crops), 2), bool)
  alike = two_sample.accuracies(crops, there, people)
  # Four deviations of 96 guesses about pairs.
  assert abs(alike.mean() - 0.5) < 4 * np.sqrt(0.25 / 96)
  smear = crops[:, :, 1]
  crops[:, :, 1] = smear.mean(axis=(2, 3), keepdims=True).astype(np.uint8)
  found = two_sample.accuracies(crops, there, people)
  assert found.mean() > 0.9
  np.testing.assert_array_equal(
    found, two_sample.accuracies(crops, there, people)
  )


def test_a_picture_without_holes_has_no_value_and_few_people_have_none():
  crops, people = _crops()
  there = np.ones((len(crops), 2), bool)
  there[3] = False
  there[5, 1] = False
  found = two_sample.accuracies(crops, there, people)
  assert np.isnan(found[3]) and np.isnan(found).sum() == 1
  assert two_sample.accuracies(crops, there, people % 7) is None
