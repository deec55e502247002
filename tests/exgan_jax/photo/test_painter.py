"""The transfer painter, from its network's fields to the photograph."""

import dataclasses

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exgan_jax.face_records import alignment
from exgan_jax.photo import faces, painter, photograph, transplant
from exgan_jax.photo.inpainter import Inpainter
from exgan_jax.photo.painter import ScratchPainter, TransferPainter
from exgan_jax.training import export

SIZES = (320, 340), (401, 421)


@pytest.fixture(scope='module')
def untrained():
  return drawn.untrained('transfer')


def _photographs(roll=0):
  """A face to paint and a reference, in photographs of other sizes."""
  finder = drawn.Finder()
  found = []
  for size, side, person in zip(
    SIZES, (300, 400), ((5, 0, True), (5, 1, False)), strict=True
  ):
    image = finder.draw(size, person, side=side)
    face = finder.faces[size][0]
    if roll == 180 and person[2]:
      image = np.ascontiguousarray(image[::-1, ::-1])
      turned = np.float64([[-1, 0, size[1] - 1], [0, -1, size[0] - 1]])
      face = faces.moved(face, turned)
    photo = photograph.from_array(image)
    found.append((photo, faces.align_face(photo, image, face)))
  return found


def _with_biases(model, **biases):
  """The model with constants as what its heads find."""
  generator = dict(model.generator)
  for head, bias in biases.items():
    array = jnp.broadcast_to(jnp.float32(bias), generator[head]['bias'].shape)
    generator[head] = generator[head] | {'bias': array}
  return dataclasses.replace(model, generator=generator)


# The blend is wholly the reference's, and nothing is painted.
KEPT = np.tile([30.0, 0, 0, 0], 16)


def _transplanted(photo, face, reference, shift=(0, 0), **fields):
  """The closed form, with the reference's corners moved."""
  shape = transplant.frame_grid().shape[:2]
  made = transplant.FrameFields(
    flow=np.zeros((*shape, 2), np.float32), shading=0.0, contrast=0.0,
    blend=fields.get('blend', 1.0), paint=0.0,
  )  # fmt: skip
  return transplant.transplant(
    photo, reference.around, np.array(face.face.corners),
    np.array(reference.face.corners) - reference.origin + shift, fields=made,
  )  # fmt: skip


def _assert_close(one, other, atol=1):
  np.testing.assert_allclose(
    one.pixels.astype(int), other.pixels.astype(int), atol=atol
  )


@pytest.mark.parametrize('roll', [0, 180])
def test_with_the_whole_reference_it_is_the_closed_form(untrained, roll):
  config, model = untrained
  (photo, face), (_, reference) = _photographs(roll)
  paint = TransferPainter(config, _with_biases(model, full=KEPT))
  painted = paint(photo, face, reference)
  _assert_close(painted, _transplanted(photo, face, reference))
  assert (painted.pixels != photo.pixels).any(axis=-1).sum() > 1000


def test_untrained_it_keeps_most_of_the_high_band(untrained):
  (photo, face), (_, reference) = _photographs()
  painted = TransferPainter(*untrained)(photo, face, reference)
  blend = 1 / (1 + np.exp(-3.0))
  expected = _transplanted(photo, face, reference, blend=blend)
  _assert_close(painted, expected)


@pytest.mark.parametrize('roll', [0, 180])
@pytest.mark.parametrize('flow', [(1.5, 0), (-0.8, 1.1)])
def test_a_flow_moves_the_eyes_by_as_many_pixels_of_the_network(
  untrained, roll, flow
):
  config, model = untrained
  (photo, face), (_, reference) = _photographs(roll)
  closed = face
  face = dataclasses.replace(
    closed, face=dataclasses.replace(closed.face, opened=0.9, closed=0.1)
  )
  largest = 12 / 128 * config.resolution
  biased = _with_biases(
    model, full=KEPT, flow=np.arctanh(np.array(flow) / largest)
  )
  painted = TransferPainter(config, biased)(photo, face, reference)
  # From the network's pixels to the photograph's to the reference's.
  _, _, matrix = face.at(config.resolution)
  to_reference = transplant.similarity(
    np.array(face.face.corners), np.array(reference.face.corners)
  )
  shift = to_reference[:, :2] @ np.linalg.inv(matrix[:, :2]) @ flow
  assert np.hypot(*shift) > 10
  expected = _transplanted(photo, face, reference, shift=shift)
  _assert_close(painted, expected, atol=3)
  still = _transplanted(photo, face, reference)
  apart = np.abs(still.pixels.astype(int) - painted.pixels)
  assert apart.max() > 40
  # Closed eyes that can be seen stay at their corners.
  kept = TransferPainter(config, biased)(photo, closed, reference)
  _assert_close(kept, still)


def test_shading_is_in_the_photographs_own_range(untrained):
  config, model = untrained
  (photo, face), (_, reference) = _photographs()
  plain = TransferPainter(config, _with_biases(model, full=KEPT))
  lit = TransferPainter(
    config,
    _with_biases(model, full=KEPT, low=[0.1, 0], colour=[0.1, 0, -0.1]),
  )
  before, after = (
    each(photo, face, reference).pixels.astype(int) for each in (plain, lit)
  )
  x, y = np.round(np.mean(face.face.corners[:2], axis=0)).astype(int)
  middle = slice(y - 4, y + 5), slice(x - 4, x + 5)
  # A tenth of [-1, 1] is a twentieth of 255.
  np.testing.assert_allclose(
    np.mean(after[middle] - before[middle], axis=(0, 1)), [25, 13, 0], atol=1.5
  )


def test_fields_of_a_place_are_found_there(untrained):
  config, _ = untrained
  (_, face), _ = _photographs()
  _, _, matrix = face.at(config.resolution)
  side = config.resolution

  def ramp(cell, channels):
    """At every cell the x of its centre, in the network's pixels."""
    x = np.arange(side // cell, dtype=np.float32) * cell + (cell - 1) / 2
    shape = (1, side // 2 // cell, side // cell, channels)
    return np.broadcast_to(x[None, None, :, None], shape).copy()

  fields = painter.Fields(
    flow=ramp(4, 2), brightness=ramp(8, 1), colour=ramp(16, 3),
    contrast=ramp(8, 1), blend=ramp(1, 1), paint=ramp(1, 3),
  )  # fmt: skip
  corners = np.array(face.face.corners)
  found = painter._in_frame(fields, matrix, corners)
  frame = transplant.frame_matrix(corners)
  to_frame = frame[:, :2] @ np.linalg.inv(matrix[:, :2])
  for corner, (x, _) in zip(
    corners, alignment.corners_in(face.face, matrix), strict=True
  ):
    u, v = np.round(frame @ [*corner, 1]).astype(int)
    close = {'atol': 0.1}
    np.testing.assert_allclose(found.blend[v, u], x, **close)
    np.testing.assert_allclose(found.contrast[v, u], x, **close)
    # Pictures in [0, 1] have half the contrast of those in [-1, 1].
    np.testing.assert_allclose(found.paint[v, u], x / 2, **close)
    np.testing.assert_allclose(found.shading[v, u], x, **close)
    # A flow is turned and enlarged.
    np.testing.assert_allclose(
      found.flow[v, u], to_frame @ [x, x], rtol=0.02, atol=1.0
    )


def _wink(which):
  """A finder whose only face has one eye closed, and the photograph."""
  finder = drawn.Finder()
  photo = finder.draw((200, 220), (5, 0, True))
  blinks = tuple(0.75 if closed else 0.05 for closed in which)
  finder.faces[200, 220] = [
    dataclasses.replace(finder.faces[200, 220][0], blinks=blinks)
  ]
  return finder, photo


@pytest.mark.parametrize('preset', ['transfer', 'reference'])
@pytest.mark.parametrize('which', [(True, False), (False, True)])
def test_of_a_wink_one_eye_is_painted(preset, which):
  finder, photo = _wink(which)
  inpainter = Inpainter(drawn.painter(preset), finder)
  reference = finder.draw((201, 221), (5, 1, False))
  painted = inpainter(photo, reference)
  changed = (painted != photo).any(axis=-1)
  eyes = np.round(finder.faces[200, 220][0].eyes).astype(int)
  for (x, y), is_painted in zip(eyes, which, strict=True):
    near = changed[y - 4 : y + 5, x - 4 : x + 5]
    assert near.any() == near.mean().round() == is_painted
  both = (inpainter(photo, reference, force=True) != photo).any(axis=-1)
  assert all(both[y, x - 2 : x + 3].any() for x, y in eyes)


NAN = float('nan')


@pytest.mark.parametrize(
  ('blinks', 'force', 'expected'),
  [
    ((0.9, 0.1), False, (True, False)),
    ((0.1, 0.9), False, (False, True)),
    ((0.9, 0.9), False, (True, True)),
    ((0.1, 0.1), False, (True, True)),
    ((NAN, NAN), False, (True, True)),
    ((0.9, 0.1), True, (True, True)),
    # The far eye of a face that is turned aside.
    ((0.8, 0.5), False, (True, True)),
    ((0.5, 0.3), False, (True, False)),
  ],
)
def test_which_eyes_are_painted(blinks, force, expected):
  finder, _ = _wink((True, False))
  face = dataclasses.replace(finder.faces[200, 220][0], blinks=blinks)
  assert faces.eyes_to_paint(face, force) == expected


def test_the_network_is_told_which_eyes_and_whether_they_show(untrained):
  (photo, face), (_, reference) = _photographs()
  painter_ = TransferPainter(*untrained)
  batches, fields = [], painter_._fields
  painter_._fields = lambda model, batch: (
    batches.append(batch) or fields(model, batch)
  )
  painter_(photo, face, reference, (True, False))
  (batch,) = batches
  assert batch['painted'].tolist() == [[True, False]]
  assert batch['trusted'].tolist() == [1.0]
  np.testing.assert_allclose(batch['lids'], [transplant.HALF_AXES])


def test_the_part_around_a_references_eyes_is_enough(untrained):
  # The same as with the whole reference at hand.
  (photo, face), (whole, reference) = _photographs()
  assert reference.around.pixels.size < whole.pixels.size
  paint = TransferPainter(*untrained)
  again = dataclasses.replace(reference, around=whole, origin=np.zeros(2))
  one, other = paint(photo, face, reference), paint(photo, face, again)
  _assert_close(one, other)
  assert (one.pixels != other.pixels).mean() < 1e-4


def test_unknown_corners_in_one_picture_alone(untrained):
  # Guessed for both: a true corner and a guessed one would not match.
  (photo, face), (_, reference) = _photographs()
  blind = [
    dataclasses.replace(each, face=dataclasses.replace(each.face, corners=None))
    for each in (face, reference)
  ]
  paint = TransferPainter(*untrained)
  expected = paint(photo, *blind).pixels
  np.testing.assert_array_equal(paint(photo, face, blind[1]).pixels, expected)
  np.testing.assert_array_equal(
    paint(photo, blind[0], reference).pixels, expected
  )


@pytest.mark.parametrize('preset', ['gan', 'reference', 'code', 'transfer'])
def test_every_model_has_its_painter(preset):
  config, model = drawn.untrained(preset)
  made = painter.make_painter(config, model)
  kind = TransferPainter if preset == 'transfer' else ScratchPainter
  assert type(made) is kind and made.config == config


def test_a_painter_is_restored_from_its_files(untrained, tmp_path):
  config, model = untrained
  export.config_lib.save(config, tmp_path / 'config.json')
  arrays = {k: np.asarray(v) for k, v in export.named(model).items()}
  data = export.safetensors.numpy.save(arrays)
  (tmp_path / export.WEIGHTS).write_bytes(data)
  made = painter.restore(tmp_path)
  assert type(made) is TransferPainter
  pairs = zip(jax.tree.leaves(made._model), jax.tree.leaves(model), strict=True)
  assert all((a == b).all() for a, b in pairs)
