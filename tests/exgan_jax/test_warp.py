"""Warps against a loop over pixels in complex numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax import warp

HEIGHT, WIDTH = 20, 30
PLAIN = ((7.0, 9.0), (16.0, 9.0))
_onto_eyes = jax.jit(warp.onto_eyes)


def _pictures(count=1):
  rng = np.random.default_rng(0)
  return rng.uniform(0.5, 1, (count, HEIGHT, WIDTH, 3)).astype(np.float32)


def _warp(image, eyes, target_eyes):
  eyes, target_eyes = jnp.float32([eyes]), jnp.float32([target_eyes])
  return np.asarray(_onto_eyes(image[None], eyes, target_eyes)[0])


def _loop(image, eyes, target_eyes):
  """The same for one picture; a place (x, y) is the number x + iy."""
  first, second = (complex(*eye) for eye in eyes)
  to_first, to_second = (complex(*eye) for eye in target_eyes)
  turn = (second - first) / (to_second - to_first)
  framed = np.zeros((HEIGHT + 2, WIDTH + 2, 3))
  framed[1:-1, 1:-1] = image
  result = np.zeros(image.shape)
  for row in range(HEIGHT):
    for column in range(WIDTH):
      place = first + turn * (complex(column, row) - to_first)
      x, y = place.real + 1, place.imag + 1
      if not (0 <= x < WIDTH + 1 and 0 <= y < HEIGHT + 1):
        continue
      i, j = int(y), int(x)
      down, across = y - i, x - j
      above = (1 - across) * framed[i, j] + across * framed[i, j + 1]
      below = (1 - across) * framed[i + 1, j] + across * framed[i + 1, j + 1]
      result[row, column] = (1 - down) * above + down * below
  return result


@pytest.mark.parametrize('jit', [False, True])
def test_eyes_that_coincide_change_nothing(jit):
  image, eyes = _pictures(2), jnp.float32([PLAIN, ((7.5, 8.25), (16.0, 11.5))])
  got = (_onto_eyes if jit else warp.onto_eyes)(image, eyes, eyes)
  np.testing.assert_array_equal(got, image)


@pytest.mark.parametrize('dx, dy', [(3, 0), (0, -4), (-5, 2), (40, 0)])
def test_whole_pixels_are_shifted_exactly(dx, dy):
  image = _pictures()[0]
  target = [(x + dx, y + dy) for x, y in PLAIN]
  expected = np.zeros_like(image)
  for row in range(HEIGHT):
    for column in range(WIDTH):
      if 0 <= row - dy < HEIGHT and 0 <= column - dx < WIDTH:
        expected[row, column] = image[row - dy, column - dx]
  np.testing.assert_array_equal(_warp(image, PLAIN, target), expected)


TARGETS = {
  'a quarter turn': [(12, 5), (12, 14)],
  'a quarter turn back': [(12, 14), (12, 5)],
  'upside down': [(16, 9), (7, 9)],
  'twice as large': [(6, 8), (24, 8)],
  'half as large': [(10, 8), (14.5, 8)],
  'turned, scaled and moved': [(5.3, 11.2), (17.9, 7.4)],
}


@pytest.mark.parametrize('target', TARGETS.values(), ids=TARGETS)
def test_agrees_with_a_loop_over_pixels(target):
  image = _pictures()[0]
  expected = _loop(image, PLAIN, target)
  np.testing.assert_allclose(_warp(image, PLAIN, target), expected, atol=2e-5)


def test_a_quarter_turn_of_a_square():
  image = np.random.default_rng(0).random((9, 9, 1), dtype=np.float32)
  got = _warp(image, [(2, 4), (6, 4)], [(4, 2), (4, 6)])  # The right eye down.
  np.testing.assert_array_equal(got, np.rot90(image, -1))


@pytest.mark.parametrize('target', TARGETS.values(), ids=TARGETS)
def test_eyes_land_where_they_should(target):
  rows, columns = np.mgrid[:HEIGHT, :WIDTH]
  # One channel an eye, bright about it; then looked at in the warped picture.
  dots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in PLAIN]
  got = _warp(np.stack(dots, -1).astype(np.float32), PLAIN, target)
  for eye, (x, y) in enumerate(target):
    weight = np.maximum(got[..., eye] - 0.5, 0)
    centre = [(weight * at).sum() / weight.sum() for at in (columns, rows)]
    np.testing.assert_allclose(centre, (x, y), atol=0.1)


@pytest.mark.parametrize(
  'eyes, target',
  [
    ([(7, 9), (7, 9)], [(10, 8), (15, 8)]),
    ([(7, 9), (16, 9)], [(10, 8), (10, 8)]),
    ([(7, 9), (7, 9)], [(10, 8), (10, 8)]),
    ([(7, 9), (7.5, 9)], [(10, 8), (10, 8.5)]),
  ],
  ids=['of the picture', 'of the target', 'both', 'too near'],
)
def test_eyes_at_one_place_only_move_the_picture(eyes, target):
  image = _pictures()[0]
  expected = np.zeros_like(image)
  expected[:-1, 3:] = image[1:, :-3]
  np.testing.assert_array_equal(_warp(image, eyes, target), expected)


def test_pictures_of_a_batch_do_not_mix():
  images = _pictures(3)
  eyes = [PLAIN, [(5, 6), (15, 8)], [(8, 8), (8, 8)]]
  targets = [TARGETS['upside down'], [(7, 9), (17, 7)], [(8, 8), (15, 3)]]
  got = _onto_eyes(images, jnp.float32(eyes), jnp.float32(targets))
  expected = [_warp(*each) for each in zip(images, eyes, targets, strict=True)]
  np.testing.assert_allclose(got, expected, atol=1e-6)
