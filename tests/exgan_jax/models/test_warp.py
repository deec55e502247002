"""Similarities in complex numbers and by lstsq; sampling against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from exgan_jax.models import warp

HEIGHT, WIDTH = 20, 30
CORNERS = np.float32([(5, 9), (9, 9.5), (15, 9), (19, 8)])


def _similarity(source, target):
  return np.asarray(
    warp.similarity(jnp.float32([source]), jnp.float32([target]))[0]
  )


@pytest.mark.parametrize('degrees', [0, 30, 90, 200])
@pytest.mark.parametrize('scale', [0.3, 1.0, 7.0])
def test_a_similarity_is_found_exactly(degrees, scale):
  # A place (x, y) is the number x + iy.
  turn = scale * np.exp(1j * np.radians(degrees))
  z = turn * (CORNERS @ [1, 1j]) + (3 - 40j)
  found = _similarity(CORNERS, np.stack([z.real, z.imag], axis=-1))
  expected = [[turn.real, -turn.imag, 3], [turn.imag, turn.real, -40]]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


def test_a_similarity_is_the_least_squares_solution():
  random = np.random.default_rng(0)
  source, target = random.uniform(0, 50, (2, 4, 2)).astype(np.float32)
  x, y = source.T
  one, zero = np.ones(4), np.zeros(4)
  # x' = a x - b y + tx, then y' = a y + b x + ty.
  system = np.vstack(
    [np.stack([x, -y, one, zero], -1), np.stack([y, x, zero, one], -1)]
  )
  a, b, tx, ty = np.linalg.lstsq(system, target.T.reshape(-1))[0]
  np.testing.assert_allclose(
    _similarity(source, target), [[a, -b, tx], [b, a, ty]], rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize(
  'source, target',
  [
    ([(7, 9)] * 4, CORNERS),
    (CORNERS, [(7, 9)] * 4),
    ([(7, 9)] * 4, [(8, 2)] * 4),
    ([(7, 9), (7.5, 9), (7, 9), (7.5, 9)], CORNERS),
  ],
)
def test_coinciding_points_only_match_their_means(source, target):
  shift = np.mean(target, axis=0) - np.mean(source, axis=0)
  expected = np.hstack([np.eye(2), shift[:, None]])
  np.testing.assert_allclose(_similarity(source, target), expected, atol=1e-5)


def test_degenerate_points_have_finite_gradients():
  same = jnp.full((1, 4, 2), 7.0)

  def total(source):
    return warp.similarity(source, same).sum()

  assert np.isfinite(jax.grad(total)(same)).all()


def test_a_matrix_moves_points_of_any_shape():
  points = jnp.asarray(np.random.default_rng(0).random((2, 3, 5, 2)))
  matrix = jnp.asarray(np.random.default_rng(1).random((2, 2, 3)))
  moved = warp.apply(matrix, points)
  for i in range(2):
    expected = points[i] @ matrix[i, :, :2].T + matrix[i, :, 2][None, None]
    np.testing.assert_allclose(moved[i], expected, rtol=1e-5)


def _pictures(count=1):
  random = np.random.default_rng(0)
  return random.uniform(-1, 1, (count, HEIGHT, WIDTH, 3)).astype(np.float32)


def test_samples_equal_those_of_scipy():
  images = _pictures(2)
  # Includes pixel centers, the last pixel and positions far outside.
  places = np.random.default_rng(1).uniform(-9, 40, (2, 8, 9, 2))
  places[:, 0, :4] = [(0, 0), (WIDTH - 1, HEIGHT - 1), (5, 7), (-1e4, 1e4)]
  places = places.astype(np.float32)
  got = np.asarray(
    jax.jit(warp.sample)(jnp.asarray(images), jnp.asarray(places))
  )
  for image, found, at in zip(images, got, places, strict=True):
    for c in range(3):
      expected = scipy.ndimage.map_coordinates(
        image[..., c], [at[..., 1], at[..., 0]], order=1, mode='nearest'
      )
      np.testing.assert_allclose(found[..., c], expected, atol=2e-5)


def test_gradients_flow_to_positions():
  # The gradient of a plane is its slope, and zero outside the picture.
  plane = (2 * warp.grid(HEIGHT, WIDTH)[..., :1] - 3.0)[None]
  places = jnp.float32([[[[4.5, 6.25], [-8.0, 6.0]]]])
  slopes = jax.grad(lambda at: warp.sample(plane, at).sum())(places)
  np.testing.assert_allclose(slopes, [[[[2, 0], [0, 0]]]], atol=1e-5)


def test_inside():
  at = jnp.float32([[[[0, 0], [29, 19], [29.1, 19], [5, -0.1]]]])
  got = warp.inside(at, HEIGHT, WIDTH)
  np.testing.assert_array_equal(got[0, 0, :, 0], [1, 1, 0, 0])


def test_estimated_corners_are_on_the_line_of_the_eyes():
  eyes = jnp.float32([[[10, 20], [30, 20]], [[20, 10], [20, 30]]])
  corners = np.asarray(warp.corners_of_eyes(eyes))
  # Outer, inner, inner, outer, from left to right.
  along = corners[0, :, 0]
  assert (np.diff(along) > 0).all() and (corners[0, :, 1] == 20).all()
  assert along[0] < 10 < along[1] < 20 < along[2] < 30 < along[3]
  np.testing.assert_allclose(along + along[::-1], 40, rtol=1e-6)
  np.testing.assert_allclose(corners[1, :, ::-1] + [0, 0], corners[0])


def test_corners_are_known_if_all_are_known():
  corners = jnp.asarray(np.stack([CORNERS, CORNERS])).at[1, 2, 0].set(jnp.nan)
  known = warp.known_corners(corners)
  np.testing.assert_array_equal(known[:, 0, 0], [1, 0])
