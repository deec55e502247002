"""Sharpness and spectrum of holes, against NumPy and known waves."""

import numpy as np
import pytest

from exgan_jax.evaluation import metrics
from exgan_jax.models import masks


def _mask(*boxes):
  mask = np.zeros((1, 64, 80, 1), bool)
  for left, top, right, bottom in boxes:
    mask[0, top:bottom, left:right] = True
  return mask


MASK = _mask((5, 10, 35, 40), (42, 12, 74, 44))


def _spectrum(truth, painted, mask):
  boxes, there = masks.hole_boxes(mask)
  found = metrics.spectrum(truth, painted, boxes, there)
  return {name: float(ratio[0]) for name, ratio in found.items()}


def test_sharpness_agrees_with_numpy():
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (2, 1, 64, 80, 3), np.uint8)
  # Two pixels inside; the last row and column have no next neighbor there.
  inside = np.zeros((64, 80), bool)
  inside[12:38, 7:33] = inside[14:42, 44:72] = True
  energies = []
  for picture in pictures.astype(float):
    down, across = (np.diff(picture[0].mean(axis=-1), axis=i) for i in (0, 1))
    square = down[:, :-1] ** 2 + across[:-1] ** 2
    energies.append(square[inside[:-1, :-1]].sum())
  found = metrics.sharpness(*pictures, MASK)
  assert found[0] == pytest.approx(energies[1] / energies[0], rel=1e-5)
  # What is outside of the hole does not matter.
  changed = np.where(MASK, pictures[1], 0)
  assert metrics.sharpness(pictures[0], changed, MASK)[0] == found[0]


def _waves(coarse, fine):
  """Gray waves of 1/16 and 3/8 cycles per pixel."""
  x = np.arange(80)[None, :]
  wave = 128 + coarse * np.sin(2 * np.pi * x / 16)
  wave = wave + fine * np.sin(2 * np.pi * x * 3 / 8)
  picture = np.broadcast_to(wave[..., None], (64, 80, 3))
  return np.rint(picture).astype(np.uint8)[None]


@pytest.mark.parametrize(
  ('coarse', 'fine', 'low', 'high'),
  [(40, 40, 1, 1), (40, 20, 1, 0.25), (20, 40, 0.25, 1), (20, 20, 0.25, 0.25)],
)
def test_each_band_has_its_waves(coarse, fine, low, high):
  found = _spectrum(_waves(40, 40), _waves(coarse, fine), MASK)
  assert found == pytest.approx({'low': low, 'high': high}, abs=0.02)


def test_nothing_to_compare_is_nan():
  flat, wave = np.full((1, 64, 80, 3), 9, np.uint8), _waves(40, 40)
  for truth, mask in ((flat, MASK), (wave, _mask())):
    assert np.isnan(metrics.sharpness(truth, wave, mask)[0])
    assert all(np.isnan(x) for x in _spectrum(truth, wave, mask).values())
