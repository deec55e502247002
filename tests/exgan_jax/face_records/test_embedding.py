"""What tells people apart: a network of the user's, and eye codes."""

import os

import drawn
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exgan_jax.errors import InputError
from exgan_jax.face_records import embedding
from exgan_jax.photo import faces, photograph


@pytest.fixture(scope='module')
def aligned():
  finder = drawn.Finder()
  found = []
  for number, person in enumerate((5, 8)):
    size = (200 + number, 220)
    image = finder.draw(size, (person, 1, False))
    face = faces.align_face(
      photograph.from_array(image), image, finder.faces[size][0]
    )
    found.append((face.square, face.points))
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
  ours, other = (embed(*face) for face in aligned)
  assert ours.shape == (48,) and np.linalg.norm(ours) == pytest.approx(1)
  assert ours @ other < 0.999
  # By hand: the mean colors of the parts of the face, in [-1, 1].
  square = embedding.arcface_square(*aligned[0]).astype(np.float32)
  parts = square.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)) / 127.5 - 1
  expected = np.moveaxis(parts, -1, 0).ravel()
  np.testing.assert_allclose(
    ours, expected / np.linalg.norm(expected), atol=1e-3
  )


def test_one_that_normalizes_by_itself_is_given_levels(aligned, tmp_path):
  plain = embedding.OnnxEmbedding(_network(tmp_path / 'plain.onnx'))
  before = (
    helper.make_node('Sub', ['x', 'm'], ['c']),
    helper.make_node('Mul', ['c', 's'], ['n']),
  )
  inside = embedding.OnnxEmbedding(_network(tmp_path / 'own.onnx', *before))
  np.testing.assert_allclose(plain(*aligned[0]), inside(*aligned[0]), atol=1e-3)


def test_the_eyes_lie_where_arcface_has_them(aligned):
  square = embedding.arcface_square(*aligned[0])
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
  os.mkfifo(tmp_path / 'pipe')
  for name in ('none', 'pipe'):
    with pytest.raises(InputError, match='cannot read'):
      embedding.OnnxEmbedding(tmp_path / name)
