"""Eyes of one photograph in another: geometry, light, depth and edges."""

import cv2
import drawn
import numpy as np
import pytest

from exgan_jax.photo import photograph, transplant
from exgan_jax.photo.transplant import FrameFields

# The eye corners of a flat world that photographs are taken of, where the
# distance of the outer corners is 100.
WORLD_CORNERS = np.array([(-50, 0), (-18, 0), (18, 0), (50, 0)], np.float64)
SIZE = (150, 220)


def _world(x, y):
  """Smooth colors of every place, between 0.2 and 0.8."""
  waves = [
    np.sin(x / 7) * np.cos(y / 9), np.sin((x + y) / 11), np.cos(x / 13 - y / 6)
  ]  # fmt: skip
  return 0.5 + 0.3 * np.stack(waves, axis=-1)


def _view(roll=0.0, scale=1.0, size=SIZE, middle=None):
  """From a photograph's pixels to the world."""
  middle = (size[1] / 2, size[0] / 2) if middle is None else middle
  matrix = cv2.getRotationMatrix2D(middle, roll, 1 / scale)
  matrix[:, 2] -= middle
  return matrix


def _taken(view, size=SIZE, levels=255, world=_world):
  """A photograph of the world, and where the corners are in it."""
  x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
  places = np.stack([x, y, np.ones_like(x)], axis=-1) @ view.T
  pixels = np.round(levels * world(places[..., 0], places[..., 1]))
  back = cv2.invertAffineTransform(view)
  corners = WORLD_CORNERS @ back[:, :2].T + back[:, 2]
  dtype = np.uint8 if levels == 255 else np.uint16
  return photograph.from_array(pixels.astype(dtype)), corners


def _holes(view, size=SIZE, eyes=(0, 1), part=1.0):
  """Pixels in the ellipses around the eyes, by their definition."""
  x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
  places = np.stack([x, y, np.ones_like(x)], axis=-1) @ view.T
  inside = np.zeros(size, bool)
  for eye in eyes:
    offset = places - WORLD_CORNERS[2 * eye : 2 * eye + 2].mean(axis=0)
    along, across = transplant.HALF_AXES
    inside |= (offset[..., 0] / along) ** 2 + (offset[..., 1] / across) ** 2 < (
      100 * part
    ) ** 2
  return inside


def _apart(one, other):
  return np.abs(one.pixels.astype(float) - other.pixels)


def _blank(photo):
  """The photograph with the eyes in one color, but not the holes' rims."""
  pixels = photo.pixels.copy()
  pixels[_holes(_view(), part=0.75)] = photo.levels // 3
  return photograph.from_array(pixels)


@pytest.mark.parametrize('roll', [0, 30, 90, 200])
@pytest.mark.parametrize('scale', [0.3, 1.0, 3.1])
def test_a_photograph_is_its_own_reference(roll, scale):
  size = (260, 300)
  photo, corners = _taken(_view(roll, scale, size), size)
  same = transplant.transplant(photo, photo, corners, corners)
  assert _apart(same, photo).max() <= 1


@pytest.mark.parametrize('roll', [0, 30, 90, 200])
@pytest.mark.parametrize('scale', [0.5, 1.0, 2.6])
def test_another_view_of_the_world_fits_in(roll, scale):
  photo, corners = _taken(_view())
  view = _view(roll, scale, (500, 600))
  reference, theirs = _taken(view, (500, 600))
  painted = transplant.transplant(_blank(photo), reference, corners, theirs)
  hidden = _holes(_view())
  found = _apart(painted, photo)
  assert not found[~hidden].any()
  # What fades in is blended with the blank.
  middle = _holes(_view(), part=0.69)
  assert found[middle].max() <= (8 if scale < 1 else 4)


@pytest.mark.parametrize('roll', [0, 30, 90, 200])
def test_the_photograph_may_be_turned(roll):
  view = _view(roll, 0.9, (200, 200))
  photo, corners = _taken(view, (200, 200))
  reference, theirs = _taken(_view(10, 1.2))
  painted = transplant.transplant(photo, reference, corners, theirs)
  assert _apart(painted, photo).max() <= 4
  assert not _apart(painted, photo)[~_holes(view, (200, 200))].any()


def test_finer_detail_than_the_photograph_has_is_averaged():
  photo, corners = _taken(_view(), world=lambda x, y: 0.5 + 0 * _world(x, y))
  size, scale = (600, 900), 4.0

  def stripes(x, y):
    return 0.5 + 0.5 * np.sign(np.sin(np.pi * (scale * x + 0.5)))[
      ..., None
    ] * np.ones(3)

  reference, theirs = _taken(_view(0, scale, size), size, world=stripes)
  assert reference.pixels.std() > 100
  painted = transplant.transplant(photo, reference, corners, theirs)
  assert _apart(painted, photo).max() <= 8


def _twice(photo):
  return photograph.from_array(
    cv2.resize(photo.pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
  )


def test_the_references_size_does_not_matter():
  photo, corners = _taken(_view())
  reference, theirs = _taken(_view(5, 1.1))
  blank = _blank(photo)
  one = transplant.transplant(blank, reference, corners, theirs)
  other = transplant.transplant(
    blank, _twice(reference), corners, 2 * theirs + 0.5
  )
  assert _apart(one, other).max() <= 4


@pytest.mark.parametrize(
  'light',
  [lambda x, y: 0 * x, lambda x, y: x / 1000, lambda x, y: (x - 2 * y) / 2000],
)
def test_other_light_disappears(light):
  photo, corners = _taken(_view())

  def relit(x, y):
    return _world(x, y) + light(x, y)[..., None] + np.array([0.1, -0.08, 0.02])

  reference, theirs = _taken(_view(), world=relit)
  assert _apart(reference, photo).max() > 20
  painted = transplant.transplant(photo, reference, corners, theirs)
  assert _apart(painted, photo).max() <= 2


@pytest.mark.parametrize('which', [(True, False), (False, True), (True, True)])
def test_the_other_eye_is_left_alone_bit_for_bit(which):
  photo, corners = _taken(_view(20))
  reference, theirs = _taken(_view(), world=lambda x, y: _world(y, x))
  painted = transplant.transplant(photo, reference, corners, theirs, which)
  changed = (painted.pixels != photo.pixels).any(axis=-1)
  for eye in (0, 1):
    hole = _holes(_view(20), eyes=[eye])
    assert changed[hole].any() == which[eye]
  assert not changed[~_holes(_view(20))].any()


def test_no_eye_changes_nothing():
  photo, corners = _taken(_view())
  none = transplant.transplant(photo, photo, corners, corners, (False, False))
  assert none is photo


def _kinds():
  for levels in (255, 65535):
    photo, corners = _taken(_view(), levels=levels)
    reference, theirs = _taken(
      _view(8, 1.3), levels=levels, world=lambda x, y: _world(x + 9, y)
    )
    alpha = np.full((*SIZE, 1), levels, photo.pixels.dtype)
    alpha[:, :60] = levels // 2
    grey = photo.pixels[..., :1]
    for name, pixels in {
      'rgb': photo.pixels,
      'rgba': np.concatenate([photo.pixels, alpha], axis=-1),
      'grey': grey,
      'grey and alpha': np.concatenate([grey, alpha], axis=-1),
    }.items():
      made = photograph.from_array(pixels)
      yield pytest.param(
        made, corners, reference, theirs, id=f'{name} {pixels.dtype}'
      )


@pytest.mark.parametrize('photo, corners, reference, theirs', list(_kinds()))
def test_every_kind_of_pixels_is_kept_outside(
  photo, corners, reference, theirs
):
  before = photo.pixels.copy()
  painted = transplant.transplant(photo, reference, corners, theirs)
  hole = _holes(_view())
  np.testing.assert_array_equal(photo.pixels, before)
  assert painted.pixels.dtype == before.dtype
  np.testing.assert_array_equal(painted.pixels[~hole], before[~hole])
  if photo.has_alpha:
    np.testing.assert_array_equal(painted.pixels[..., -1], before[..., -1])
  inside = painted.pixels[hole][:, 0]
  assert (inside != before[hole][:, 0]).mean() > 0.5
  # As fine as the depth has it.
  levels = len(np.unique(inside))
  assert levels > (1000 if before.dtype == np.uint16 else 50)


@pytest.mark.parametrize('x', [-400, -40, 0, 219, 260, 700])
@pytest.mark.parametrize('y', [-300, 0, 149, 400])
def test_corners_at_the_edge_or_outside_are_no_trouble(x, y):
  photo, corners = _taken(_view())
  shift = np.array([x, y]) - corners.mean(axis=0)
  view = _view(middle=(x, y))
  painted = transplant.transplant(photo, photo, corners + shift, corners)
  hole = _holes(view)
  np.testing.assert_array_equal(painted.pixels[~hole], photo.pixels[~hole])
  # The same where the reference's eyes are cut off.
  cut = transplant.transplant(photo, photo, corners, corners + shift)
  assert cut.pixels.shape == photo.pixels.shape


@pytest.mark.parametrize('corners', [np.zeros((4, 2)), np.full((4, 2), 75.0)])
def test_corners_at_one_place_are_no_trouble(corners):
  photo, ours = _taken(_view())
  transplant.transplant(photo, photo, ours, corners)
  transplant.shows_eyes(photo, corners)


def _zero(**fields):
  shape = transplant.frame_grid().shape[:2]

  def full(value, channels):
    return np.full((*shape, channels), value, np.float32)

  zero = {
    'flow': full(0, 2), 'shading': full(0, 3), 'contrast': full(0, 1),
    'blend': full(1, 1), 'paint': full(0, 3),
  }  # fmt: skip
  for name, value in fields.items():
    zero[name] += np.float32(value)
  return FrameFields(**zero)


def test_fields_of_zero_are_the_closed_form():
  photo, corners = _taken(_view(12))
  reference, theirs = _taken(_view(), world=lambda x, y: _world(y, x))
  pair = (photo, reference, corners, theirs)
  plain = transplant.transplant(*pair)
  zero = transplant.transplant(*pair, fields=_zero())
  assert _apart(plain, zero).max() <= 1


def test_a_flow_of_one_period_changes_nothing_and_half_of_one_does():
  # Waves along x alone; the frame has 160 pixels for 100 of the world.
  def waves(x, y):
    return 0.5 + 0.3 * np.sin(2 * np.pi * x / 20)[..., None] * np.ones(3)

  photo, corners = _taken(_view(), world=waves)
  middle = _holes(_view()) & (np.abs(np.indices(SIZE)[0] - 75) < 8)

  def error(flow):
    painted = transplant.transplant(
      photo, photo, corners, corners, fields=_zero(flow=flow)
    )
    return _apart(painted, photo)[middle].max()

  assert error((32, 0)) <= 3 and error((0, 5)) <= 3
  assert error((16, 0)) > 60


def test_shading_contrast_and_paint_do_what_they_say():
  photo, corners = _taken(_view())
  middle = _holes(_view(), part=0.69)
  original = photo.pixels[middle] / 255

  def painted(**fields):
    made = transplant.transplant(
      photo, photo, corners, corners, fields=_zero(**fields)
    )
    return made.pixels[middle] / 255

  def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, atol=0.006)

  color = np.array([0.1, 0, -0.2])
  assert_close(painted(shading=color), original + color)
  low = painted(blend=-1)
  assert np.abs(original - low).max() > 0.1
  assert_close(painted(blend=-1, paint=color), low + color)
  assert_close(painted(contrast=np.log(1.3)), low + 1.3 * (original - low))
  assert_close(painted(blend=-0.5), (low + original) / 2)


@pytest.mark.parametrize('is_closed', [False, True])
def test_whether_eyes_are_to_be_seen(is_closed):
  finder = drawn.Finder()
  image = finder.draw((320, 320), (5, 0, is_closed), side=320)
  corners = np.array(finder.faces[320, 320][0].corners)
  assert transplant.shows_eyes(photograph.from_array(image), corners)
  soft = cv2.GaussianBlur(image, (0, 0), 12)
  distance = np.linalg.norm(corners[3] - corners[0])
  for x, y in corners.reshape(2, 2, 2).mean(axis=1):
    rows, columns = np.indices(image.shape[:2])
    near = np.hypot((columns - x) / 0.4, (rows - y) / 0.3) < distance
    image = np.where(near[..., None], soft, image)
  assert not transplant.shows_eyes(photograph.from_array(image), corners)
