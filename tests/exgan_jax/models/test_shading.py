"""Hole filling against a direct solution, and Gaussian blur."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg

from exgan_jax.models import shading

SIDE = 32


def _filled(values, known):
  """Of one picture [h, w] and its mask."""
  got = shading.fill_holes(
    jnp.float32(values)[None, ..., None], jnp.float32(known)[None, ..., None]
  )
  return np.asarray(got)[0, ..., 0]


def _two_holes():
  known = np.ones((SIDE, SIDE))
  known[8:20, 3:14] = known[10:18, 18:29] = 0
  return known


def _solved(values, known):
  """Solves the linear system: each unknown is the mean of its neighbors."""
  height, width = known.shape
  index = np.arange(height * width).reshape(height, width)
  padded = np.pad(index, 1, mode='edge')
  matrix = scipy.sparse.eye(height * width, format='lil')
  right = np.where(known > 0, values, 0).reshape(-1).copy()
  for row, column in zip(*np.nonzero(known == 0), strict=True):
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
      matrix[index[row, column], padded[row + dy, column + dx]] -= 0.25
  solved = scipy.sparse.linalg.spsolve(matrix.tocsr(), right)
  return solved.reshape(height, width)


@pytest.mark.parametrize('value', [0.0, -0.7, 250.0])
def test_constants_are_kept(value):
  known = _two_holes()
  got = _filled(np.where(known > 0, value, np.nan), known)
  np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('where', ['inside', 'at the edge', 'large'])
@pytest.mark.parametrize('sigma', [1, 4])
def test_agrees_with_a_direct_solution(where, sigma):
  # Rough and smooth differences of two photographs.
  noise = np.random.default_rng(0).normal(size=(SIDE, SIDE))
  values = scipy.ndimage.gaussian_filter(noise, sigma)
  values /= np.abs(values).max()
  known = _two_holes()
  if where == 'at the edge':
    known[:6, 20:] = 0
  elif where == 'large':
    known[6:27, 5:26] = 0
  expected = _solved(values, known)
  # Coarse to fine with a fixed number of sweeps: two gray levels of 255.
  np.testing.assert_allclose(_filled(values, known), expected, atol=2 / 128)


def test_zero_if_nothing_is_known():
  got = _filled(np.full((SIDE, SIDE), np.nan), np.zeros((SIDE, SIDE)))
  np.testing.assert_array_equal(got, 0)


@pytest.mark.parametrize('shape', [(2, 2), (6, 10), (5, 7), (1, 8)])
def test_any_size(shape):
  known = np.ones(shape)
  known[0, 0] = 0
  np.testing.assert_allclose(_filled(np.full(shape, 3.0), known), 3, rtol=1e-6)


def test_pictures_and_channels_are_independent():
  values = np.random.default_rng(0).random((2, SIDE, SIDE, 2), np.float32)
  known = np.stack([_two_holes(), _two_holes()[::-1]])[..., None]
  got = shading.fill_holes(jnp.asarray(values), jnp.float32(known))
  for i in range(2):
    for c in range(2):
      alone = _filled(values[i, ..., c], known[i, ..., 0])
      np.testing.assert_allclose(got[i, ..., c], alone, atol=1e-6)


@pytest.mark.parametrize('sigma', [0.5, 3.0, 12.0])
def test_blur_is_a_normalized_gaussian(sigma):
  image = np.random.default_rng(0).random((1, 12, 17, 2), np.float32)
  got = np.asarray(shading.blur(jnp.asarray(image), sigma))
  expected = image[0].astype(np.float64)
  for axis in (0, 1):
    count = expected.shape[axis]
    apart = np.arange(count)[:, None] - np.arange(count)
    weights = np.exp(-(apart**2) / (2 * sigma**2))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.moveaxis(
      np.tensordot(weights, expected, axes=(1, axis)), 0, axis
    )
  np.testing.assert_allclose(got[0], expected, atol=1e-5)
  constant = shading.blur(jnp.full((1, 12, 17, 1), 7.0), sigma)
  np.testing.assert_allclose(constant, 7.0, rtol=1e-5)
