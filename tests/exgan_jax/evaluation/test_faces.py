"""What is measured of faces, of meshes that are known."""

import numpy as np
import pytest

from exgan_jax.evaluation import faces as faces_lib
from exgan_jax.evaluation.metrics import geometry


def _mesh():
  """A mesh with eyes 40 pixels apart and 16 wide; other points at (0, 0)."""
  mesh = np.zeros((478, 2))
  for x, upper, lower, crease, iris, rim in zip(
    (30, 70),
    geometry._UPPER,
    geometry._LOWER,
    geometry._CREASE,
    geometry._IRIS,
    geometry._RIM,
    strict=True,
  ):
    across = np.linspace(-8, 8, 9)
    mesh[list(upper)] = np.stack([x + across, 40 - (4 - across**2 / 16)], 1)
    mesh[list(lower)] = np.stack([x + across, 40 + (4 - across**2 / 16)], 1)
    mesh[list(crease)] = np.stack([x + across[1:-1], np.full(7, 30)], 1)
    mesh[iris] = x, 40
    mesh[list(rim)] = np.array([(x, 40)]) + 3 * np.array(
      [(1, 0), (0, 1), (-1, 0), (0, -1)]
    )
  mesh[[61, 291]] = (40, 80), (60, 80)
  return mesh


def test_errors_are_in_units_of_the_eyes():
  truth, moved, crossed = _mesh(), _mesh() + np.array([0, 2]), _mesh()
  none = dict.fromkeys(faces_lib.GEOMETRY, 0.0)
  assert geometry.errors(truth, truth) == none
  found = geometry.errors(truth, moved)
  assert found == pytest.approx(none | {'lid_error': 0.05, 'iris_error': 0.05})
  # The right eye looks 2 of its 16 pixels to the left, and nothing else.
  crossed[473] -= 2, 0
  found = geometry.errors(truth, crossed)
  expected = {'iris_error': 0.025, 'vergence_error': 0.125}
  assert found == pytest.approx(none | expected)
  # Both look there: no vergence.
  crossed[468] -= 2, 0
  assert geometry.errors(truth, crossed)['vergence_error'] == pytest.approx(0)
  # Rotated and enlarged as a whole: the same.
  turn = 3 * np.array([[0.8, -0.6], [0.6, 0.8]])
  assert geometry.errors(truth @ turn.T, crossed @ turn.T) == pytest.approx(
    geometry.errors(truth, crossed)
  )


def test_irises_lids_and_the_points_of_recognition():
  mesh = _mesh()
  np.testing.assert_allclose(geometry.irises(mesh), [(30, 40, 3), (70, 40, 3)])
  np.testing.assert_allclose(
    geometry.landmarks(mesh), [(30, 40), (70, 40), (50, 80)]
  )
  lids = geometry.lid_weights(mesh, 90, 100)
  # Skin is above the eye and below the crease.
  for lid, x in zip(lids, (30, 70), strict=True):
    assert lid[33, x] == 255
    assert not lid[40, x] and not lid[28, x] and not lid[33, 100 - x]


class _Landmarker:
  """Finds the mesh where the picture's first level says."""

  def __init__(self, bundle):
    self.calls = 0

  def mesh(self, image):
    self.calls += 1
    level = int(image[0, 0, 0])
    return None if level == 255 else _mesh() + np.array([level, 0])


@pytest.fixture
def faces(monkeypatch, tmp_path):
  monkeypatch.setattr(faces_lib, 'FaceLandmarker', _Landmarker)

  def embedding(path):
    def embed(image, points):
      assert points.shape == (3, 2)
      vector = image[1, 1].astype(np.float32)
      return vector / np.linalg.norm(vector)

    return embed

  monkeypatch.setattr(faces_lib, 'OnnxEmbedding', embedding)
  for name in ('bundle', 'network'):
    (tmp_path / name).write_bytes(b'x')
  return faces_lib.Faces(tmp_path / 'bundle', tmp_path / 'network')


def _images(*first):
  images = np.full((len(first), 90, 100, 3), 50, np.uint8)
  images[:, 0, 0, 0] = first
  images[:, 1, 1] = (3, 4, 0)
  return images


def test_what_is_not_found_or_not_counted_is_nan(faces):
  truths, painted = _images(0, 255, 0, 0), _images(2, 2, 255, 2)
  painted[0, 1, 1] = (0, 5, 0)
  counted = np.array([True, True, True, False])
  others = {'identity_stranger': _images(0, 0, 255, 0)}
  found = faces.compare(truths, painted, counted, others)
  assert found['iris_error'][0] == pytest.approx(0.05)
  assert found['identity_truth'][0] == pytest.approx(0.8)
  assert found['identity_stranger'][0] == pytest.approx(0.8)
  # The face of the original is enough to recognize the result.
  assert found['identity_truth'][2] == pytest.approx(1)
  missing = {name: np.isnan(x).tolist() for name, x in found.items()}
  assert missing == {
    **{name: [False, True, True, True] for name in faces_lib.GEOMETRY},
    'identity_truth': [False, True, False, True],
    'identity_stranger': [False, True, True, True],
  }
  places = faces.places(truths, counted)
  assert np.isnan(places['irises'][1]).all() and not places['lids'][1].any()
  assert places['irises'][0, 0].tolist() == [30, 40, 3]


def test_an_image_is_looked_at_once(faces):
  truths, counted = _images(1, 2), np.ones(2, bool)
  faces.places(truths, counted)
  before = faces._landmarker.calls
  faces.places(truths, counted)
  assert faces._landmarker.calls == before
