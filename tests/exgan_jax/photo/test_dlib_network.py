"""dlib's network: its file, and what it tells apart."""

import itertools

import numpy as np
import pytest

from exgan_jax.errors import InputError
from exgan_jax.photo import dlib_network, embedding, faces, reader
from exgan_jax.photo.face_search import FaceFinder


def _serialized(rng):
  """A network in dlib's format, and what is in it."""

  def number(value):
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([size]) + value.to_bytes(size, 'little')

  def layer(name, size, *before):
    values = rng.normal(0, 0.02, size).astype('<f4')
    numbers = [*before, 2, size, 1, 1, 1]
    head = bytes([len(name)]) + name.encode()
    return values, head + b''.join(map(number, numbers)) + values.tobytes()

  channels = [3, *[32] * 7, *[64] * 8, *[128] * 6, *[256] * 8]
  layers = []
  for i, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
    side = 3 if i else 7
    layers.append(layer('con_4', side * side * inputs * outputs + outputs))
    layers.append(layer('affine_', 2 * outputs))
  layers.append(layer('fc_2', 256 * 128, 128, 256))
  return [values for values, _ in layers], b'junk'.join(b for _, b in layers)


def test_dlib_s_file_is_read():
  values, data = _serialized(np.random.default_rng(0))
  weights = dlib_network._read(data)
  assert len(weights) == 30
  # By hand: the first convolution with its affine layer, at one place.
  kernel = values[0][:-32].reshape(32, 3, 7, 7)
  factor, shift = values[1][:32], values[1][32:]
  np.testing.assert_allclose(
    weights[0][0][3, 5, 1, 9], kernel[9, 1, 3, 5] * factor[9], rtol=1e-6
  )
  np.testing.assert_allclose(
    weights[0][1], values[0][-32:] * factor + shift, rtol=1e-6
  )
  images = np.random.default_rng(1).integers(0, 256, (2, 150, 150, 3))
  made = dlib_network._forward(weights, images.astype(np.uint8))
  assert made.shape == (2, 128) and np.isfinite(made).all()


def test_another_file_is_not_read(tmp_path):
  path = tmp_path / 'network.dat'
  path.write_bytes(_serialized(np.random.default_rng(0))[1])
  with pytest.raises(InputError, match='not the published file'):
    embedding.DlibEmbedding(path)


def test_dlib_s_network_tells_people_apart(photographs, bundle):
  path = dlib_network.find()
  if path is None:
    pytest.skip('face-recognition-models is not installed')
  embed = embedding.DlibEmbedding(path)
  people = ('George_W_Bush', 'Al_Gore', 'Hillary_Clinton', 'Colin_Powell')
  vectors = []
  with FaceFinder(bundle) as finder:
    for person in people:
      folder = photographs / 'closed_eyes' / person
      for file in sorted(folder.glob('open_*'))[:2]:
        picture = reader.read(file)
        image = picture.seen()
        face = max(finder(image), key=lambda face: face.width)
        aligned = faces.align_face(picture, image, face)
        vectors.append(embed(aligned.square, aligned.points))
  alike = np.stack(vectors) @ np.stack(vectors).T > embed.same_person
  expected = np.kron(np.eye(len(people)), np.ones((2, 2)))
  np.testing.assert_array_equal(alike, expected)
