"""Chooses the reference photo for a face, and says what speaks for it.

A candidate is good if it is sharp, its eyes are well open, and it faces the
same way in the same light as the face to paint. A face embedding decides
whether it shows the same person, if there is one; otherwise the same place in
the same scene, as in a burst.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from exgan_jax.photo import faces, scene, toning
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.scene import Scene

# Of an embedding's cosine: those of SFace and ArcFace give some 0.3 to 0.4 as
# the border between one person and two.
SAME_PERSON = 0.36
# In a burst a face moves and grows by less than this.
_BURST_SHIFT = 0.75
_BURST_GROWTH = 1.25
# How far something may be off before it counts for a third.
_POSE_DEGREES = 20.0
_LIGHT_LAB = 25.0
# A reference is refused if its eyes are closer than this share of the photo's,
# less sharp, or on a head turned by more degrees.
_SMALLEST_SHARE, _BLURRED, _TURNED_AWAY = 0.2, 0.12, 45.0
# Where in an aligned picture the skin is that shows the light, per its side.
_CHEEKS = (slice(128, 176), slice(64, 192))
_EYES = (slice(84, 132), slice(56, 200))

_REASONS = {
  'embedding': 'same person by face recognition',
  'place': 'same person by the place in the same scene',
  'you': 'assumed to be the same person',
}

# From a picture, and the eyes and the mouth of a face in it.
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]


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


@dataclasses.dataclass(frozen=True)
class Choice:
  """A candidate and its scores.

  Attributes:
    candidate: the one.
    score: product of the following, each in (0, 1].
    sharp: fine detail around the eyes.
    open: how far the eyes are open.
    pose: similarity of the head poses.
    light: similarity of the skin color.
    person: likelihood of being the same person.
    told_by: how the person was matched: `embedding`, `place` or, if it is only
      assumed, `you`.
  """

  candidate: Candidate
  score: float
  sharp: float
  open: float
  pose: float
  light: float
  person: float
  told_by: str

  def words(self) -> str:
    """What speaks for it, for people."""

    def rank(value: float, *borders: float) -> int:
      return sum(value < border for border in borders)

    sharp = ('sharp', 'a little soft', 'blurred')
    wide = ('eyes wide open', 'eyes half open')
    pose = (
      'faces the same way',
      'faces a slightly different way',
      'faces another way',
    )
    light = ('similar light', 'different light', 'very different light')
    return ', '.join(
      [
        sharp[rank(self.sharp, 0.6, 0.3)],
        wide[rank(self.open, 0.75)],
        pose[rank(self.pose, 0.8, 0.3)],
        light[rank(self.light, 0.5, 0.05)],
        _REASONS[self.told_by],
      ]
    )

  def summary(self) -> dict[str, float | str]:
    """The numbers, for a report."""
    numbers = {
      name: round(getattr(self, name), 3)
      for name in ('score', 'sharp', 'open', 'pose', 'light', 'person')
    }
    return {**numbers, 'told_by': self.told_by}


def choose(
  target: Candidate,
  candidates: Sequence[Candidate],
  same_person: float = SAME_PERSON,
) -> Choice | None:
  """Returns the best candidate, or None where there is none.

  Args:
    target: the face to be painted.
    candidates: faces of other pictures; those with closed eyes are left out.
    same_person: what the cosine of two embeddings of one person exceeds.
  """
  usable = [c for c in candidates if faces.is_open(c.aligned.face)]
  choices = [_judge(target, c) for c in usable]
  if target.embedding is not None:
    choices = [c for c in choices if c.person > same_person]
  elif any(c.told_by == 'place' for c in choices):
    # In a burst everybody else stands somewhere else.
    choices = [c for c in choices if c.told_by == 'place']
  return max(choices, key=lambda c: c.score, default=None)


def _judge(target: Candidate, candidate: Candidate) -> Choice:
  ours, theirs = target.aligned, candidate.aligned
  turn = _turn(ours, theirs)
  shades = np.linalg.norm(_cheeks(ours.square) - _cheeks(theirs.square))
  person, told_by = _likeness(target, candidate)
  parts = {
    'sharp': sharpness(theirs.square),
    'open': float(theirs.face.opened),
    'pose': math.exp(-((turn / _POSE_DEGREES) ** 2)),
    'light': math.exp(-((float(shades) / _LIGHT_LAB) ** 2)),
    'person': person,
  }
  parts = {name: max(value, 1e-6) for name, value in parts.items()}
  return Choice(candidate, math.prod(parts.values()), **parts, told_by=told_by)


def _turn(one: AlignedFace, other: AlignedFace) -> float:
  """Degrees between the directions that two heads face."""
  return math.hypot(
    one.face.yaw - other.face.yaw, one.face.pitch - other.face.pitch
  )


def _likeness(target: Candidate, candidate: Candidate) -> tuple[float, str]:
  if target.embedding is not None and candidate.embedding is not None:
    return float(target.embedding @ candidate.embedding), 'embedding'
  if _same_place(target, candidate):
    return 1.0, 'place'
  return 1.0, 'you'


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


def problems(
  target: AlignedFace, reference: AlignedFace, choice: Choice
) -> list[str]:
  """Says what makes a reference too poor to use; empty if nothing does."""
  found = []
  ours, theirs = (
    math.dist(*each.face.both_eyes) for each in (target, reference)
  )
  if theirs < _SMALLEST_SHARE * ours:
    found.append(
      f'the face in the reference is too small (eyes {theirs:.0f} px apart,'
      f' {ours:.0f} px in the photo)'
    )
  if choice.sharp < _BLURRED:
    found.append('the reference is too blurred')
  turn = _turn(target, reference)
  if turn > _TURNED_AWAY:
    found.append(f'the heads are turned {turn:.0f} degrees apart')
  return found


def notes(target: AlignedFace, reference: AlignedFace) -> list[str]:
  """Says what will not be perfect about the result."""
  found = []
  ours, theirs = (
    toning.of_picture(face.square) for face in (target, reference)
  )
  if theirs is not None and ours is None:
    found.append(
      'the reference has no color: the eyes get the colors of the skin'
    )
  distances = [math.dist(*each.face.both_eyes) for each in (target, reference)]
  if distances[1] < distances[0] / 2:
    found.append(
      'the face in the reference is much smaller: the eyes will be soft'
    )
  return found


def sharpness(square: UInt8[np.ndarray, '256 256 3']) -> float:
  """How much of the contrast around the eyes is fine detail, in [0, 1].

  The root of the ratio of two variances: of what a Gaussian of two pixels
  takes away, and of everything; 0.35 and more, as in a picture of as many
  pixels, counts as 1.
  """
  gray = cv2.cvtColor(square[_EYES], cv2.COLOR_RGB2GRAY).astype(np.float32)
  fine = gray - cv2.GaussianBlur(gray, (0, 0), 2.0)
  return float(min(1.0, np.sqrt(fine.var() / (gray.var() + 1.0)) / 0.35))


def _cheeks(square: np.ndarray) -> np.ndarray:
  """Mean colors of both cheeks in CIELAB, [6]."""
  lab = cv2.cvtColor(
    square[_CHEEKS].astype(np.float32) / 255, cv2.COLOR_RGB2LAB
  )
  halves = np.split(lab, 2, axis=1)
  return np.concatenate([half.mean(axis=(0, 1)) for half in halves])
