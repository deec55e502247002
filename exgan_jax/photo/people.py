"""Who is who: the people in reference photos and in the one to paint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from exgan_jax.photo import scene
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.scene import Scene

# In a burst a face moves and grows by less than this.
_BURST_SHIFT = 0.75
_BURST_GROWTH = 1.25
# In parts of what lies between the border of an embedding and 1: by how much
# the best candidate leads those who look different, how much less alike others
# of that person are at most, and how much like the best one they are. Of 245
# people whose pictures lie among those of 249 others 236 were found and none
# was taken for another one (Labeled Faces in the Wild).
_LEAD, _BEHIND, _CLOSE = 0.125, 0.25, 0.375

PERSON = {
  'embedding': 'same person by face recognition',
  'place': 'same person by the place in the same scene',
  'you': 'assumed to be the same person',
  'other': 'another person by face recognition',
  'unknown': 'one of several people, and it is not clear which',
}


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A face in a reference photo, or the one to paint.

  Attributes:
    name: of the picture that it is in.
    aligned: the face.
    alone: whether it is the only face in its photo.
    scene: what surrounds the faces of its photo; None if not known.
    embedding: of the person, a vector of length one; None without a network.
  """

  name: str
  aligned: AlignedFace
  alone: bool
  scene: Scene | None = None
  embedding: np.ndarray | None = None


def told(
  target: Candidate,
  candidates: Sequence[Candidate],
  same_person: float,
  others: Sequence[np.ndarray],
) -> list[str]:
  """Of each candidate, how it is known to be the person, or that it is not."""
  if target.embedding is None:
    return [
      'place' if _same_place(target, c) else 'you' if c.alone else 'unknown'
      for c in candidates
    ]
  if not candidates:
    return []
  vectors = np.stack([np.asarray(c.embedding) for c in candidates])
  alike = vectors @ target.embedding
  # Who is more like somebody else in the photo to paint is not this person.
  rivals = np.stack(
    [np.full(len(alike), same_person), *(vectors @ o for o in others)]
  )
  is_like = alike > rivals.max(axis=0)
  best = int(np.argmax(np.where(is_like, alike, -1)))
  unit = 1 - same_person
  to_best = vectors @ vectors[best]
  # Nor is anybody in a crowd, unless the best one is ahead of all who look
  # different from it.
  is_rival = is_like & (to_best < same_person - _LEAD * unit)
  is_clear = not (is_rival & (alike > alike[best] - _LEAD * unit)).any()
  is_same = (alike > alike[best] - _BEHIND * unit) & (
    to_best > same_person + _CLOSE * unit
  )
  is_same[best] = True
  found = []
  for i, candidate in enumerate(candidates):
    if not is_like[i]:
      found.append('other')
    elif _same_place(target, candidate):
      found.append('place')
    elif not is_clear:
      found.append('unknown')
    else:
      found.append('embedding' if is_same[i] else 'other')
  return found


def cosine(target: Candidate, candidate: Candidate) -> float:
  if target.embedding is None or candidate.embedding is None:
    return 1.0
  return float(target.embedding @ candidate.embedding)


def _same_place(target: Candidate, candidate: Candidate) -> bool:
  if target.scene is None or candidate.scene is None:
    return False
  if not scene.is_same(target.scene, candidate.scene):
    return False
  ours, theirs = target.aligned.face, candidate.aligned.face
  apart = math.hypot(ours.x - theirs.x, ours.y - theirs.y)
  growth = max(ours.width, theirs.width) / min(ours.width, theirs.width)
  # A face that fills its picture is at the same place in anybody's.
  crowded = ours.width > 0.3 * min(target.scene.size)
  return (
    not crowded
    and apart < _BURST_SHIFT * min(ours.width, theirs.width)
    and growth < _BURST_GROWTH
  )
