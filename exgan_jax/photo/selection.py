"""Which faces of a photo are painted, and why others are not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face
from exgan_jax.photo import faces
from exgan_jax.photo.result import NOT_ASKED_FOR, OPEN, PAINTED, FaceResult

# Narrower faces, in pixels, have fewer than ten pixels per eye.
SMALLEST_FACE = 32
# If the eyes are closer than this share of the face's width, the face is turned
# so far that one eye is hardly visible.
_NARROWEST = 0.16


@dataclasses.dataclass(frozen=True)
class Options:
  """What to paint in a photo.

  Attributes:
    face: which face to paint, 1 for the leftmost; None for the only one with
      closed eyes.
    all_faces: paint every face with closed eyes.
    force: also paint eyes that look open, or from a poor reference.
    same_person: smallest cosine of two embeddings of one person; the
      embedding's own by default.
  """

  face: int | None = None
  all_faces: bool = False
  force: bool = False
  same_person: float | None = None

  def __post_init__(self):
    if self.face is not None and self.all_faces:
      raise InputError('use either --face or --all-faces')
    if self.face is not None and self.face < 1:
      raise InputError('--face must be at least 1 (1 is the leftmost face)')


DEFAULT = Options()


def without_doubles(found: Sequence[FaceResult]) -> list[FaceResult]:
  """Leaves out faces that would get the eyes of one and the same person."""
  chosen = [
    each.choice.candidate.aligned
    for each in found
    if each.done == PAINTED and each.choice
  ]
  kept = []
  for each in found:
    if each.done == PAINTED and each.choice:
      reference = each.choice.candidate.aligned
      if sum(other is reference for other in chosen) > 1:
        name = each.choice.candidate.name
        each = dataclasses.replace(
          each,
          done=f'{name} would be used for several people: add a reference for'
          ' each, or choose one face with --face N',
        )
    kept.append(each)
  return kept


def reasons_of(everybody: Sequence[Face], options: Options) -> list[str]:
  """Of each face, that it is to be painted, or why not."""
  reasons = []
  for number, face in enumerate(everybody, 1):
    if options.face is not None and number != options.face:
      reasons.append(NOT_ASKED_FOR)
    elif not options.force and faces.is_open(face):
      reasons.append(OPEN)
    elif face.width < SMALLEST_FACE:
      reasons.append(f'smaller than {SMALLEST_FACE} px')
    elif _eye_distance(face) < _NARROWEST * face.width:
      reasons.append('seen from the side')
    else:
      reasons.append(PAINTED)
  several = reasons.count(PAINTED) > 1 and not options.all_faces
  if several:
    ours = ', '.join(
      str(n) for n, reason in enumerate(reasons, 1) if reason == PAINTED
    )
    doubt = (
      f'faces {ours} have closed eyes: choose one with --face N, or use'
      ' --all-faces'
    )
    reasons = [doubt if reason == PAINTED else reason for reason in reasons]
  return reasons


def _eye_distance(face: Face) -> float:
  return math.dist(*face.both_eyes)
