import jax
import numpy as np

from exgan_jax.evaluation import metrics
from exgan_jax.evaluation.metrics import iris

# L*, a*, b* of two colors and their distance: the supplementary test data of
# Sharma, Wu and Dalal 2005, all 34 rows.
SHARMA = np.array(
  [
    (50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425),
    (50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615),
    (50, 2.8361, -74.0200, 50, 0, -82.7485, 3.4412),
    (50, -1.3802, -84.2814, 50, 0, -82.7485, 1.0000),
    (50, -1.1848, -84.8006, 50, 0, -82.7485, 1.0000),
    (50, -0.9009, -85.5211, 50, 0, -82.7485, 1.0000),
    (50, 0, 0, 50, -1, 2, 2.3669),
    (50, -1, 2, 50, 0, 0, 2.3669),
    (50, 2.4900, -0.0010, 50, -2.4900, 0.0009, 7.1792),
    (50, 2.4900, -0.0010, 50, -2.4900, 0.0010, 7.1792),
    (50, 2.4900, -0.0010, 50, -2.4900, 0.0011, 7.2195),
    (50, 2.4900, -0.0010, 50, -2.4900, 0.0012, 7.2195),
    (50, -0.0010, 2.4900, 50, 0.0009, -2.4900, 4.8045),
    (50, -0.0010, 2.4900, 50, 0.0010, -2.4900, 4.8045),
    (50, -0.0010, 2.4900, 50, 0.0011, -2.4900, 4.7461),
    (50, 2.5, 0, 50, 0, -2.5, 4.3065),
    (50, 2.5, 0, 73, 25, -18, 27.1492),
    (50, 2.5, 0, 61, -5, 29, 22.8977),
    (50, 2.5, 0, 56, -27, -3, 31.9030),
    (50, 2.5, 0, 58, 24, 15, 19.4535),
    (50, 2.5, 0, 50, 3.1736, 0.5854, 1.0000),
    (50, 2.5, 0, 50, 3.2972, 0, 1.0000),
    (50, 2.5, 0, 50, 1.8634, 0.5757, 1.0000),
    (50, 2.5, 0, 50, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
  ],
  np.float64,
)
SIDE = 64
BROWN, BLUE = np.array([(84, 50, 26), (84, 132, 186)]) / 255
GREEN = np.array([128, 230, 26]) / 255
# Of the left and the right eye; neither on a pixel.
IRISES = np.array([[18.3, 30.6, 7.5], [45.8, 33.2, 8.0]], np.float32)

_ciede2000 = iris.ciede2000
_sums = jax.jit(metrics.color_sums)


def _sums_of(pictures, irises):
  levels = np.round(255 * pictures).astype(np.uint8)
  return np.asarray(_sums(levels, metrics.iris_weights(irises, SIDE, SIDE)))


def _iris_color(pictures, irises):
  return iris.color(_sums_of(pictures, irises))


def _delta_e(original, result, irises):
  return metrics.color_distance(
    *(_sums_of(x, irises) for x in (original, result))
  )


def _radii(x, y, radius):
  """How far each pixel is from an iris's center, across and down, in radii."""
  rows, columns = np.mgrid[:SIDE, :SIDE]
  return (columns - x) / radius, (rows - y) / radius


def _eyes(left, right):
  """A white picture with two discs, each a third wider than its iris."""
  picture = np.ones((SIDE, SIDE, 3), np.float32)
  for place, color in zip(IRISES, (left, right), strict=True):
    picture[np.hypot(*_radii(*place)) < 4 / 3] = color
  return picture


def test_ciede2000_agrees_with_the_published_pairs():
  first, second, expected = SHARMA[:, :3], SHARMA[:, 3:6], SHARMA[:, 6]
  # To the four printed places, and the same both ways.
  for pair in ((first, second), (second, first)):
    np.testing.assert_allclose(_ciede2000(*pair), expected, atol=5.1e-5)


def test_srgb_to_lab_of_known_colors():
  known = {
    (1.0, 1.0, 1.0): (100, 0, 0),
    (0.0, 0.0, 0.0): (0, 0, 0),
    (0.5, 0.5, 0.5): (53.389, 0, 0),
    (1.0, 0.0, 0.0): (53.241, 80.092, 67.203),
    (0.0, 1.0, 0.0): (87.735, -86.183, 83.179),
    (0.0, 0.0, 1.0): (32.297, 79.188, -107.860),
    # On the straight parts of both curves.
    (0.02, 0.03, 0.01): (1.848, -1.376, 1.695),
  }
  got = iris.srgb_to_lab(np.array(list(known)))
  np.testing.assert_allclose(got, list(known.values()), atol=2e-3)


def test_iris_color_needs_only_the_sides():
  picture = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)
  for place in IRISES:
    across, down = _radii(*place)
    picture[(np.abs(across) < 2) & (np.abs(down) < 0.95)] = BLUE
  got = _iris_color(picture[None], IRISES[None])[0]
  np.testing.assert_allclose(got, [BLUE, BLUE], atol=2e-3)


def test_iris_color_is_taken_evenly_about_the_center():
  rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
  ramps = np.stack([columns, rows, np.full_like(rows, 255)], axis=-1) / 255
  got = 255 * _iris_color(ramps[None], IRISES[None])[0]
  np.testing.assert_allclose(got[:, :2], IRISES[:, :2], atol=0.02)
  np.testing.assert_allclose(got[:, 2], 255, rtol=1e-6)


def test_iris_color_leaves_out_pupil_rim_and_lids():
  picture = _eyes(BLUE, BLUE)
  for place in IRISES:
    across, down = _radii(*place)
    far = np.hypot(across, down)
    picture[(far < 0.3) | ((far > 0.97) & (far < 1.1))] = 0.0
    picture[(np.abs(down) > 0.7) & (far < 2)] = (0.9, 0.7, 0.6)
  got = _iris_color(picture[None], IRISES[None])[0]
  np.testing.assert_allclose(got, [BLUE, BLUE], rtol=0.06)


def test_delta_e_of_equal_pictures_is_zero():
  rng = np.random.default_rng(0)
  pictures = rng.random((2, SIDE, SIDE, 3), dtype=np.float32)
  irises = np.stack([IRISES, IRISES[::-1]])
  got = _delta_e(pictures, pictures, irises)
  np.testing.assert_array_equal(got, np.zeros((2, 2)))


def test_delta_e_is_of_each_eye_and_nan_where_the_iris_is_unknown():
  original, result = _eyes(BROWN, BROWN), _eyes(BROWN, BLUE)
  irises = np.stack([IRISES, np.full_like(IRISES, np.nan)])
  got = _delta_e(np.stack([original] * 2), np.stack([result] * 2), irises)
  # 42.91 is the distance of the two colors themselves.
  np.testing.assert_allclose(got[0], [0, 42.91], atol=0.1)
  assert np.isnan(got[1]).all()
