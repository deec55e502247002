"""MS-SSIM against other libraries and against its textbook form."""

import json
import pathlib
import runpy

import jax
import numpy as np
import pytest

from exgan_jax.evaluation import metrics

_SCRIPT = runpy.run_path(
  str(pathlib.Path(__file__).with_name('make_ms_ssim_expected.py'))
)
_KINDS = _SCRIPT['KINDS']
_EXPECTED = json.loads(_SCRIPT['EXPECTED'].read_text())
_distance = jax.jit(
  metrics.ms_ssim_distance_per_image, static_argnames='variant'
)


def _formula_pictures(height, width):
  """Returns originals and results of all kinds, float32 [4, H, W, 3]."""
  pairs = [_SCRIPT['pictures'](kind, height, width) for kind in _KINDS]
  pairs = np.array(pairs, np.float32) / np.float32(255)
  return pairs[:, 0], pairs[:, 1]


def _reference_shrinking(a, b):
  """The textbook formula in float64, with whole windows, for one picture."""
  a, b = a.astype(np.float64), b.astype(np.float64)
  value = 1.0
  weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
  for scale, weight in enumerate(weights):
    size = min(11, *a.shape[:2])
    sigma = 1.5 * size / 11
    grid = np.arange(size) - (size - 1) / 2
    window = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * sigma**2))
    window /= window.sum()

    def mean(x, window=window):
      views = np.lib.stride_tricks.sliding_window_view(
        x, window.shape, axis=(0, 1)
      )
      return (views * window).sum((-1, -2))

    var_a, var_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    covariance = mean(a * b) - mean(a) * mean(b)
    term = (2 * covariance + 0.03**2) / (var_a + var_b + 0.03**2)
    if scale == len(weights) - 1:
      product = 2 * mean(a) * mean(b) + 0.01**2
      term = term * product / (mean(a) ** 2 + mean(b) ** 2 + 0.01**2)
    value *= max(term.mean(), 0) ** weight
    rows, columns = a.shape[:2]
    a, b = (
      np.pad(x, ((0, rows % 2), (0, columns % 2), (0, 0)), mode='edge')
      for x in (a, b)
    )
    a, b = (
      (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
      for x in (a, b)
    )
  return 1 - value


@pytest.mark.parametrize('row', _EXPECTED, ids=lambda row: str(row['size']))
def test_standard_agrees_with_stored_values(row):
  distances = _distance(*_formula_pictures(*row['size']), variant='standard')
  assert distances.shape == (4,) and distances.dtype == np.float32
  expected = [row['distances'][kind] for kind in _KINDS]
  np.testing.assert_allclose(distances, expected, atol=3e-6)


def test_standard_agrees_with_pytorch_msssim():
  torch = pytest.importorskip('torch')
  pytorch_msssim = pytest.importorskip('pytorch_msssim')
  rng = np.random.default_rng(0)
  a = rng.random((4, 176, 176, 3), dtype=np.float32)
  noise = rng.standard_normal(a.shape, dtype=np.float32)
  b = np.clip(a + noise / 10, 0, 1)
  expected = pytorch_msssim.ms_ssim(
    *(torch.tensor(p).permute(0, 3, 1, 2).double() for p in (a, b)),
    data_range=1.0,
    size_average=False,
  )
  np.testing.assert_allclose(
    _distance(a, b, variant='standard'), 1 - expected.numpy(), atol=1e-6
  )


@pytest.mark.parametrize('size', [(128, 128), (64, 64), (63, 90), (12, 9)])
def test_shrinking_agrees_with_numpy(size):
  a, b = _formula_pictures(*size)
  np.testing.assert_allclose(
    _distance(a, b, variant='shrinking'),
    [_reference_shrinking(*pair) for pair in zip(a, b, strict=True)],
    atol=1e-6,
  )


def test_variants_differ_in_the_mean_over_channels():
  a, b = _formula_pictures(176, 176)
  negative = _KINDS.index('negative')
  standard = _distance(a, b, variant='standard')[negative]
  assert standard == pytest.approx(1 / 3, abs=1e-6)
  shrinking = _distance(a, b, variant='shrinking')[negative]
  assert abs(shrinking - standard) > 0.05


@pytest.mark.parametrize(
  'variant, size', [('standard', 176), ('shrinking', 64), ('shrinking', 5)]
)
def test_equal_and_constant_pictures(variant, size):
  a = np.random.default_rng(0).random((4, size, size, 3), dtype=np.float32)
  a[1], a[2], a[3] = 0.0, 1.0, 0.3
  np.testing.assert_allclose(_distance(a, a, variant=variant), 0, atol=1e-6)
  b = a[[3, 2, 1, 0]]  # noise against gray, white against black, and back
  distance = np.asarray(_distance(a, b, variant=variant))
  assert (distance > 0.1).all() and (distance <= 1).all()


def test_opposite_contrast_is_clamped():
  a = np.random.default_rng(0).random((4, 64, 64, 3), dtype=np.float32)
  distance = _distance(a, 1 - a, variant='shrinking')
  np.testing.assert_allclose(distance, 1, atol=1e-6)


def test_small_distances_keep_their_digits():
  a, _ = _formula_pictures(64, 64)
  b = a + np.float32(2.0**-12) * (a > 0.5)
  distance = _distance(a, b, variant='shrinking')[0]
  expected = _reference_shrinking(a[0], b[0])
  assert 0 < expected < 1e-5
  assert distance == pytest.approx(expected, rel=1e-3)


def test_variant_by_resolution():
  names = [metrics.ms_ssim_variant(size) for size in (64, 160, 161, 256)]
  assert names == ['shrinking', 'shrinking', 'standard', 'standard']
