"""The two figures: which pictures they show, under which captions."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from exgan_jax.errors import InputError
from exgan_jax.evaluation.gallery import Gallery
from exgan_jax.report import figures
from exgan_jax.report.tables import Line

SIDE = 16


def _gallery(value, names='abcdefgh', kinds=('reference', 'input', 'original')):
  """Returns gray images, darker in each row."""
  pictures = np.full((len(names), SIDE, SIDE, 3), value, np.uint8)
  pictures -= np.arange(len(names), dtype=np.uint8)[:, None, None, None]
  columns = {kind: pictures // 2 for kind in kinds} | {'result': pictures}
  columns |= {'reference_clone': pictures // 4, 'mean_fill': pictures // 5}
  eyes = np.asarray([[5, 8], [11, 8]], np.float32)
  places = {'eyes': np.tile(eyes, (len(names), 1, 1))}
  places['reference_eyes'] = places['eyes'] + 1
  return Gallery(list(names), columns, places)


def _line(name, l1_hole, kind='model'):
  return Line(name, '', kind, [{'l1_hole': l1_hole}], [{}])


LINES = [
  _line('gan', 0.04),
  _line('code', 0.03),
  _line('reference_clone', 0.09, 'baseline'),
  _line('mean_fill', 0.08, 'baseline'),
  _line('a folder', 0.01, 'folder'),
]


def test_the_first_shows_originals_and_every_model():
  galleries = {'gan': _gallery(100), 'reference': _gallery(200)}
  figure, _ = figures.make_figures(galleries, LINES)
  assert list(figure.columns) == ['original', 'gan', 'reference']
  values = [images[1, 0, 0, 0] for images in figure.columns.values()]
  assert values == [49, 99, 199]
  # The column `reference` is what that model painted, not its reference.
  for eyes in figure.places.values():
    np.testing.assert_array_equal(eyes[0], [[5, 8], [11, 8]])


def test_the_second_shows_another_method_and_the_best_model():
  galleries = {'gan': _gallery(100), 'code': _gallery(200)}
  _, figure = figures.make_figures(galleries, LINES)
  assert list(figure.columns) == [
    *('reference', 'input', figures.PREFERRED, 'ours: code')
  ]
  assert figure.columns['ours: code'][0, 0, 0, 0] == 200
  np.testing.assert_array_equal(
    figure.places['reference_eyes'][0], [[6, 9], [12, 9]]
  )
  assert 'code, the lowest L1 of the hole' in figure.caption
  for gallery in galleries.values():
    del gallery.columns[figures.PREFERRED]
  _, figure = figures.make_figures(galleries, LINES)
  assert list(figure.columns)[2] == 'mean_fill'
  # A baseline that results only claim to be one is no method's.
  lines = [*LINES[:2], _line('stranger', 0.01, 'baseline')]
  galleries['code'].columns['stranger'] = galleries['code'].columns['result']
  _, figure = figures.make_figures(galleries, lines)
  assert list(figure.columns) == ['reference', 'input', 'ours: code']


def test_only_pictures_that_all_galleries_have_are_shown():
  galleries = {'gan': _gallery(100, 'abcd'), 'code': _gallery(200, 'xdb')}
  for figure in figures.make_figures(galleries, LINES):
    # Of `code`, d is the second, b the third.
    ours = list(figure.columns.values())[-1]
    assert ours[:, 0, 0, 0].tolist() == [198, 199]
  galleries['code'] = _gallery(200, 'xyz')
  assert figures.make_figures(galleries, LINES) == []
  (figure, _) = figures.make_figures({'gan': _gallery(100)}, LINES)
  assert len(figure.columns['gan']) == figures.MAX_ROWS


def test_without_originals_the_first_starts_with_the_input():
  gallery = _gallery(100, kinds=('reference', 'input'))
  figure, _ = figures.make_figures({'gan': gallery}, [])
  assert list(figure.columns) == ['input', 'gan']
  assert 'The input' in figure.caption


def test_a_compressor_has_the_first_alone():
  gallery = _gallery(100, kinds=('original',))
  gallery.columns['drawn'] = gallery.columns.pop('result')
  (figure,) = figures.make_figures({'compressor': gallery}, LINES)
  assert list(figure.columns) == ['original', 'compressor']
  assert figures.make_figures({}, LINES) == []


def test_rows_are_jpegs_with_the_eyes_under_the_picture():
  figure, _ = figures.make_figures({'gan': _gallery(100)}, LINES)
  rows = figure.rows()
  assert len(rows) == figures.MAX_ROWS
  assert [caption for caption, _ in rows[0]] == ['original', 'gan']
  head, _, data = rows[0][1][1].partition(',')
  assert head == 'data:image/jpeg;base64'
  picture = Image.open(io.BytesIO(base64.b64decode(data)))
  side = figures.SMALLEST
  assert picture.size == (side, side + 2 * side // 5)
  np.testing.assert_allclose(np.asarray(picture), 100, atol=3)
  width, height = figure.draw().size
  assert width > 2 * figures.SHEET_SIDE
  assert height > figures.MAX_ROWS * 1.4 * figures.SHEET_SIDE


def test_a_gallery_of_other_results_is_refused():
  gallery = _gallery(100)
  figures.check('x.npz', gallery, SIDE)
  with pytest.raises(InputError, match=r'x\.npz: .* 32 px'):
    figures.check('x.npz', gallery, 32)
  gallery.places['eyes'][0, 0, 0] = 1e30
  with pytest.raises(InputError, match='far outside'):
    figures.check('x.npz', gallery, SIDE)
  del gallery.places['eyes']
  with pytest.raises(InputError, match='no eye centers'):
    figures.check('x.npz', gallery, SIDE)
