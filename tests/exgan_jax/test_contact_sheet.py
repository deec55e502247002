"""Contact sheets."""

import numpy as np
from PIL import Image

from exgan_jax import contact_sheet
from exgan_jax.models import masks


def test_to_uint8_rounds_and_clips():
  values = np.asarray([-0.1, 0.0, 0.5 / 255, 0.51 / 255, 0.999, 1.2])
  np.testing.assert_array_equal(
    contact_sheet.to_uint8(values), [0, 0, 0, 1, 255, 255]
  )


def test_hole_only_grays_the_hole():
  image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
  mask = np.zeros((1, 4, 4, 1), bool)
  mask[0, 1, 2] = True
  holed = masks.hole(image, mask)
  assert (holed[0, 1, 2] == masks.HOLE_COLOR).all()
  np.testing.assert_array_equal(
    np.where(mask, 0, holed), np.where(mask, 0, image)
  )


def test_an_eye_strip_shows_both_eyes():
  image = np.zeros((64, 64, 3), np.uint8)
  image[28:33, 18:23], image[28:33, 42:47] = (255, 0, 0), (0, 0, 255)
  eyes = np.asarray([[20, 30], [44, 30]], np.float32)
  strip = contact_sheet.eye_strip(image, eyes, 100)
  assert strip.shape == (40, 100, 3)
  red, blue = (
    np.argwhere(strip[..., channel] > 128).mean(axis=0) for channel in (0, 2)
  )
  # The strip is 45.6 pixels wide and the eyes are 24 pixels apart.
  np.testing.assert_allclose(red, [20, 50 - 100 * 12 / 45.6], atol=1.5)
  np.testing.assert_allclose(blue, [20, 50 + 100 * 12 / 45.6], atol=1.5)


def test_a_sheet_has_one_row_per_picture(tmp_path):
  pictures = np.zeros((2, 64, 64, 3), np.uint8)
  pictures[1] = 200
  eyes = np.full((2, 2, 2), 30, np.float32)
  columns = {'reference': 255 - pictures, 'input': pictures}
  places = {'eyes': eyes, 'reference_eyes': eyes}
  path = tmp_path / 'new' / 'sheet.png'
  contact_sheet.save(contact_sheet.make_sheet(columns, places, side=50), path)
  shown = np.asarray(Image.open(path))
  row = 50 + 20 + 2 * contact_sheet.MARGIN
  for y, expected in ((25, (255, 0)), (25 + row, (55, 200))):
    for column, value in enumerate(expected):
      x = contact_sheet.MARGIN + column * (50 + contact_sheet.MARGIN) + 25
      assert (shown[contact_sheet.CAPTION_HEIGHT + y, x] == value).all()
  assert [file.name for file in path.parent.iterdir()] == ['sheet.png']
