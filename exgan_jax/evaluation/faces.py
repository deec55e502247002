"""What is measured of faces on the host: where eyes are, and who it is."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, UInt8

from exgan_jax.evaluation.metrics import geometry
from exgan_jax.face_records.embedding import OnnxEmbedding
from exgan_jax.face_records.landmarks import FaceLandmarker, find_bundle

# Stands for the bundle that `find_bundle` looks for.
DOWNLOAD = 'download'
GEOMETRY = ('lid_error', 'iris_error', 'vergence_error')
# Cosines of the embeddings of the result and of another picture.
IDENTITY = ('identity_truth', 'identity_reference', 'identity_stranger')

_Pictures = UInt8[np.ndarray, 'b h w 3']
_Path = str | os.PathLike | None


@dataclasses.dataclass(frozen=True)
class Look:
  """What is known of the face in an image; None where there is none.

  Attributes:
    mesh: float32 [478, 2], points in pixels.
    vector: embedding of length one.
  """

  mesh: np.ndarray | None = None
  vector: np.ndarray | None = None


class Faces:
  """Finds and recognizes faces; remembers the images it was given.

  Args:
    landmarker: path of MediaPipe's bundle, or `download`; found by
      `find_bundle` if only an embedding is given.
    embedding: path of a face recognition network in ONNX.

  Attributes:
    sha256: hashes of the files.

  Raises:
    InputError: a file cannot be used.
  """

  def __init__(self, landmarker: _Path, embedding: _Path):
    bundle = find_bundle(None if landmarker == DOWNLOAD else landmarker)
    self._landmarker = FaceLandmarker(bundle)
    self._embed = None if embedding is None else OnnxEmbedding(embedding)
    self.sha256 = {'face_landmarker_sha256': _hash_of(bundle)}
    if embedding is not None:
      self.sha256['face_embedding_sha256'] = _hash_of(embedding)
    self._known: dict[bytes, Look] = {}

  @property
  def recognizes(self) -> bool:
    """Whether there is an embedding."""
    return self._embed is not None

  def places(
    self, truths: _Pictures, counted: Bool[np.ndarray, ' b']
  ) -> dict[str, np.ndarray]:
    """Returns where eyes are in original images.

    Returns:
      `irises`, float32 [b, 2, 3], x, y and radius in pixels, NaN if unknown;
      `lids`, uint8 [b, 2, h, w], weights of the skin of the upper lids.
    """
    number, height, width, _ = truths.shape
    irises = np.full((number, 2, 3), np.nan, np.float32)
    lids = np.zeros((number, 2, height, width), np.uint8)
    for i in np.flatnonzero(counted):
      if (mesh := self._look(truths[i]).mesh) is not None:
        irises[i] = geometry.irises(mesh)
        lids[i] = geometry.lid_weights(mesh, height, width)
    return {'irises': irises, 'lids': lids}

  def compare(
    self,
    truths: _Pictures,
    painted: _Pictures,
    counted: Bool[np.ndarray, ' b'],
    others: Mapping[str, _Pictures],
  ) -> dict[str, Float[np.ndarray, ' b']]:
    """Compares results with originals and other images.

    Args:
      truths: original images.
      painted: their results.
      counted: which images to look at.
      others: further images for some of `IDENTITY`.

    Returns:
      float32 [b] for each of `GEOMETRY`, and with an embedding for
      `identity_truth` and the names in `others`; NaN where no face was found.
    """
    others = {IDENTITY[0]: truths} | dict(others)
    names = (*GEOMETRY, *(others if self._embed else ()))
    found = {name: np.full(len(truths), np.nan, np.float32) for name in names}
    for i in np.flatnonzero(counted):
      true = self._look(truths[i]).mesh
      if true is None:
        continue
      mesh = self._landmarker.mesh(painted[i])
      values = {} if mesh is None else geometry.errors(true, mesh)
      if self._embed:
        # Only the eyes differ, so the face is where it is in the original.
        vector = self._embed(painted[i], geometry.landmarks(true))
        for name, images in others.items():
          if (other := self._look(images[i]).vector) is not None:
            values[name] = float(vector @ other)
      for name, value in values.items():
        found[name][i] = value
    return found

  def _look(self, image: UInt8[np.ndarray, 'h w 3']) -> Look:
    key = hashlib.sha256(image.tobytes()).digest()
    if key not in self._known:
      mesh, vector = self._landmarker.mesh(image), None
      if mesh is not None:
        mesh = mesh.astype(np.float32)
        if self._embed:
          vector = self._embed(image, geometry.landmarks(mesh))
      self._known[key] = Look(mesh, vector)
    return self._known[key]


def _hash_of(path: str | os.PathLike) -> str:
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
