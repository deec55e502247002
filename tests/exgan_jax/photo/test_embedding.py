"""What tells people apart: dlib's network, or one of the user's."""

import itertools

import drawn
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exgan_jax.errors import InputError
from exgan_jax.photo import dlib_network, embedding, faces, photograph, reader
from exgan_jax.photo.face_search import FaceFinder


@pytest.fixture(scope='module')
def aligned():
  finder = drawn.Finder()
  found = []
  for number, person in enumerate((5, 8)):
    size = (200 + number, 220)
    image = finder.draw(size, (person, 1, False))
    found.append(
      faces.align_face(
        photograph.from_array(image), image, finder.faces[size][0]
      )
    )
  return found


def _network(path, *before):
  """Means of 4 x 4 parts of a picture, after what comes before."""
  nodes, last = list(before), before[-1].output[0] if before else 'x'
  nodes += [
    helper.make_node(
      'AveragePool', [last], ['p'], kernel_shape=[28, 28], strides=[28, 28]
    ),
    helper.make_node('Flatten', ['p'], ['y']),
  ]
  value = helper.make_tensor_value_info
  graph = helper.make_graph(
    nodes, 'g',
    [value('x', TensorProto.FLOAT, [1, 3, 112, 112])],
    [value('y', TensorProto.FLOAT, [1, 48])],
    [
      helper.make_tensor('m', TensorProto.FLOAT, [1], [127.5]),
      helper.make_tensor('s', TensorProto.FLOAT, [1], [1 / 127.5]),
    ] if before else [],
  )  # fmt: skip
  model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8
  )
  onnx.save(model, path)
  return path


def test_a_network_sees_the_face_where_it_expects_it(aligned, tmp_path):
  embed = embedding.OnnxEmbedding(_network(tmp_path / 'n.onnx'))
  ours, other = map(embed, aligned)
  assert ours.shape == (48,) and np.linalg.norm(ours) == pytest.approx(1)
  assert ours @ other < 0.999
  # By hand: the mean colors of the parts of the face, in [-1, 1].
  square = embedding.arcface_square(aligned[0]).astype(np.float32)
  parts = square.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)) / 127.5 - 1
  expected = np.moveaxis(parts, -1, 0).ravel()
  np.testing.assert_allclose(
    ours, expected / np.linalg.norm(expected), atol=1e-3
  )


def test_one_that_normalises_by_itself_is_given_levels(aligned, tmp_path):
  plain = embedding.OnnxEmbedding(_network(tmp_path / 'plain.onnx'))
  before = (
    helper.make_node('Sub', ['x', 'm'], ['c']),
    helper.make_node('Mul', ['c', 's'], ['n']),
  )
  inside = embedding.OnnxEmbedding(_network(tmp_path / 'own.onnx', *before))
  np.testing.assert_allclose(plain(aligned[0]), inside(aligned[0]), atol=1e-3)


def test_the_eyes_lie_where_arcface_has_them(aligned):
  square = embedding.arcface_square(aligned[0])
  assert square.shape == (112, 112, 3)
  # Irises are darker than the skin between them.
  grey = square.mean(axis=-1)
  left, right = grey[50:54, 36:41].mean(), grey[50:54, 71:76].mean()
  assert max(left, right) < grey[52:58, 53:60].mean()


@pytest.mark.parametrize('content', [b'', b'no network', b'\x08\x08'])
def test_other_files_are_refused(tmp_path, content):
  path = tmp_path / 'n.onnx'
  path.write_bytes(content)
  with pytest.raises(InputError, match='not an ONNX network'):
    embedding.OnnxEmbedding(path)
  with pytest.raises(InputError, match='cannot read'):
    embedding.OnnxEmbedding(tmp_path / 'none')


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
        vectors.append(embed(faces.align_face(picture, image, face)))
  alike = np.stack(vectors) @ np.stack(vectors).T > embed.same_person
  expected = np.kron(np.eye(len(people)), np.ones((2, 2)))
  np.testing.assert_array_equal(alike, expected)
