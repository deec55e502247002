"""Grey and toned photographs keep their tones; others keep their colors."""

import drawn
import numpy as np
import pytest

from exgan_jax.photo import photograph, toning, transplant

_LUMINANCE = np.array([0.299, 0.587, 0.114])


def _faces():
  """Photograph and colourful reference in [0, 1], and their corners."""
  finder = drawn.Finder()
  found = []
  for size, *person in (((200, 220), 5, 0, True), ((201, 221), 8, 1, False)):
    image = finder.draw(size, person)
    corners = np.array(finder.faces[size][0].corners)
    found.append((image / 255, corners))
  return found


def _sepia(image):
  """A curve of luminance, brown in the middle."""
  level = image @ _LUMINANCE
  return np.stack([level**0.8, level, level**1.3], axis=-1)


def _grey(image):
  return np.repeat((image @ _LUMINANCE)[..., None], 3, axis=-1)


def _painted(tone, levels):
  (image, corners), (other, others) = _faces()
  dtype = np.uint8 if levels == 255 else np.uint16
  photo, reference = (
    photograph.from_array(np.round(levels * picture).astype(dtype))
    for picture in (tone(image), other)
  )
  painted = transplant.transplant(photo, reference, corners, others)
  changed = (painted.pixels != photo.pixels).any(axis=-1)
  assert changed.sum() > 300
  return painted.pixels[changed].astype(int)


@pytest.mark.parametrize('levels', [255, 65535])
def test_grey_stays_exactly_grey(levels):
  colors = _painted(_grey, levels)
  np.testing.assert_array_equal(colors[:, 0], colors[:, 1])
  np.testing.assert_array_equal(colors[:, 0], colors[:, 2])


def test_sepia_stays_on_its_curve():
  colors = _painted(_sepia, 255) / 255
  # The curve's color of the same green.
  level = colors[:, 1]
  expected = np.stack([level**0.8, level, level**1.3], axis=-1)
  apart = np.abs(colors - expected).max(axis=-1)
  # Closed eyes show nothing darker: there the color is a guess.
  shown = level > 0.17
  assert shown.mean() > 0.8 and np.ptp(level[shown]) > 0.3
  assert apart[shown].max() < 2 / 255 and apart.max() < 20 / 255


def test_a_face_in_colour_is_not_toned():
  for image, _ in _faces():
    assert toning.of_image(image.astype(np.float32)) is None
  assert np.abs(np.diff(_painted(lambda x: x, 255), axis=1)).max() > 5


def test_tones_of_a_few_levels_cover_all():
  # What no pixel has is continued from what some have.
  image = _sepia(np.linspace(0.3, 0.6, 64).reshape(8, 8, 1) * np.ones(3))
  tones = toning.of_image(image.astype(np.float32))
  wide = np.linspace(0, 1, 50, dtype=np.float32).reshape(5, 10, 1) * np.ones(
    3, np.float32
  )
  toned = tones(wide)
  assert toned.dtype == np.float32 and np.isfinite(toned).all()
  np.testing.assert_allclose(tones(image.astype(np.float32)), image, atol=5e-3)


@pytest.mark.parametrize('value', [0.0, 0.4, 1.0])
def test_a_single_colour_is_its_own_tone(value):
  image = np.full((8, 8, 3), value, np.float32)
  np.testing.assert_allclose(toning.of_image(image)(image), image, atol=1e-6)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('levels', [255, 65535])
def test_a_whole_picture_is_looked_at_whatever_its_kind(channels, levels):
  (image, _), _ = _faces()
  dtype = np.uint8 if levels == 255 else np.uint16
  alpha = np.random.default_rng(0).random((*image.shape[:2], 1))
  for picture, is_toned in ((_sepia(image), True), (image, False)):
    kinds = [*np.split(picture, 3, axis=-1)[:1], picture]
    pixels = kinds[channels > 2]
    if channels in (2, 4):
      pixels = np.concatenate([pixels, alpha], axis=-1)
    assert pixels.shape[2] == channels
    tones = toning.of_picture(np.round(levels * pixels).astype(dtype))
    # One channel needs no care.
    assert (tones is not None) == (is_toned and channels > 2)
