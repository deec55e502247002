"""Chooses the reference photo for a face, and says what speaks for it.

A candidate is good if it is sharp, its eyes are well open and look straight
ahead, and it faces the same way in the same light as the face to paint. A face
embedding decides whether it shows the same person, if there is one; otherwise
the same place in the same scene, as in a burst.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from exgan_jax.photo import eyes, faces, scene, toning
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.scene import Scene

# In a burst a face moves and grows by less than this.
_BURST_SHIFT = 0.75
_BURST_GROWTH = 1.25
# How far something may be off before it counts for a third.
_POSE_DEGREES = 20.0
_LIGHT_LAB = 25.0
_HIDDEN = 0.4
# A reference is refused if its eyes are closer than this share of the photo's,
# less sharp, on a head turned by more degrees, on skin of another color by
# more, or of less lightness (CIELAB). Of 1,236 pairs of pictures of one person
# in Labeled Faces in the Wild the colors differ by 60 at most; the darkest skin
# has 17.
_SMALLEST_SHARE, _BLURRED, _TURNED_AWAY = 0.2, 0.12, 45.0
_OTHER_LIGHT, _DARK = 65.0, 12.0
# ... or looks as far aside as one in a hundred people there.
_ASIDE = 0.1
# In parts of what lies between the border of an embedding and 1: by how much
# the best candidate leads those who look different, how much less alike others
# of that person are at most, and how much like the best one they are. Of 245
# people whose pictures lie among those of 249 others 236 were found and none
# was taken for another one (Labeled Faces in the Wild).
_LEAD, _BEHIND, _CLOSE = 0.125, 0.25, 0.375
# Where in an aligned picture the skin is that shows the light, per its side.
_CHEEKS = (slice(128, 176), slice(64, 192))
_EYES = (slice(84, 132), slice(56, 200))

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


@dataclasses.dataclass(frozen=True)
class Choice:
  """A candidate and its scores.

  Attributes:
    candidate: the one.
    score: product of the following, each in (0, 1], but for `person`.
    sharp: fine detail around the eyes.
    open: how far the eyes are open.
    pose: similarity of the head poses.
    light: similarity of the skin color.
    gaze: how straight ahead the eyes look.
    clear: how little hides the eyes, by the person's other candidates.
    person: cosine of the embeddings; 1 without them.
    told_by: how the person was matched, a key of `PERSON`.
  """

  candidate: Candidate
  score: float
  sharp: float
  open: float
  pose: float
  light: float
  gaze: float
  clear: float
  person: float
  told_by: str

  def words(self) -> str:
    """What speaks for it, for people."""

    def rank(value: float, *borders: float) -> int:
      return sum(value < border for border in borders)

    sharp = ('sharp', 'a little soft', 'blurred')
    wide = ('eyes wide open', 'eyes half open')
    gaze = ('looks straight ahead', 'looks aside')
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
        gaze[rank(self.gaze, 0.4)],
        pose[rank(self.pose, 0.8, 0.3)],
        light[rank(self.light, 0.5, 0.05)],
        PERSON[self.told_by],
      ]
    )

  def summary(self) -> dict[str, float | str]:
    """The numbers, for a report."""
    names = (
      'score',
      'sharp',
      'open',
      'pose',
      'light',
      'gaze',
      'clear',
      'person',
    )
    numbers = {name: round(getattr(self, name), 3) for name in names}
    return {**numbers, 'told_by': self.told_by}


def ranked(
  target: Candidate,
  candidates: Sequence[Candidate],
  same_person: float = 0.0,
  others: Sequence[np.ndarray] = (),
) -> list[Choice]:
  """Returns candidates with open eyes, the best first.

  In a burst only those count that are at the same place: networks take some
  people for each other, scenes do not. Other people are returned only where
  nobody else is.

  Args:
    target: the face to be painted.
    candidates: faces of other pictures.
    same_person: what the cosine of two embeddings of one person exceeds.
    others: embeddings of the other people in the photo to paint.
  """
  usable = [c for c in candidates if faces.is_open(c.aligned.face)]
  told = _told(target, usable, same_person, others)
  # In a burst everybody else stands somewhere else; strangers come last.
  for kinds in ({'place'}, {'embedding', 'you'}, set(PERSON)):
    if kinds & set(told):
      break
  ours = [(c, by) for c, by in zip(usable, told, strict=True) if by in kinds]
  clear = eyes.clear([candidate.aligned for candidate, _ in ours])
  choices = [
    _judge(target, *each, value)
    for each, value in zip(ours, clear, strict=True)
  ]
  return sorted(choices, key=lambda choice: -choice.score)


def _told(
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
  told = []
  for i, candidate in enumerate(candidates):
    if not is_like[i]:
      told.append('other')
    elif _same_place(target, candidate):
      told.append('place')
    elif not is_clear:
      told.append('unknown')
    else:
      told.append('embedding' if is_same[i] else 'other')
  return told


def _alike(target: Candidate, candidate: Candidate) -> float:
  if target.embedding is None or candidate.embedding is None:
    return 1.0
  return float(target.embedding @ candidate.embedding)


def _judge(
  target: Candidate, candidate: Candidate, told_by: str, clear: float
) -> Choice:
  ours, theirs = target.aligned, candidate.aligned
  turn = _turn(ours, theirs)
  shades = np.linalg.norm(_cheeks(ours.square) - _cheeks(theirs.square))
  parts = {
    'sharp': sharpness(theirs.square),
    'open': float(theirs.face.opened),
    'pose': math.exp(-((turn / _POSE_DEGREES) ** 2)),
    'light': math.exp(-((float(shades) / _LIGHT_LAB) ** 2)),
    'gaze': eyes.looks_ahead(theirs.face),
    'clear': math.exp(-(((1 - clear) / _HIDDEN) ** 2)),
  }
  parts = {name: max(value, 1e-6) for name, value in parts.items()}
  return Choice(
    candidate, math.prod(parts.values()), **parts,
    person=_alike(target, candidate), told_by=told_by,
  )  # fmt: skip


def _turn(one: AlignedFace, other: AlignedFace) -> float:
  """Degrees between the directions that two heads face."""
  return math.hypot(
    one.face.yaw - other.face.yaw, one.face.pitch - other.face.pitch
  )


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


def problems(target: AlignedFace, choice: Choice) -> list[str]:
  """Says what makes a reference too poor to use; empty if nothing does."""
  reference = choice.candidate.aligned
  ours, theirs = (
    math.dist(*each.face.both_eyes) for each in (target, reference)
  )
  skins = [_cheeks(each.square) for each in (target, reference)]
  is_dark = skins[1][[0, 3]].max() < _DARK
  checks = {
    'it shows another person': choice.told_by == 'other',
    'it is not clear which of several people this is': (
      choice.told_by == 'unknown'
    ),
    'the face in the reference is too small': theirs < _SMALLEST_SHARE * ours,
    'the reference is too blurred': choice.sharp < _BLURRED,
    'the reference is too dark': is_dark and skins[0][[0, 3]].max() > 2 * _DARK,
    'the light is too different': (
      np.linalg.norm(skins[0] - skins[1]) > _OTHER_LIGHT
    ),
    'the heads are turned too differently': (
      _turn(target, reference) > _TURNED_AWAY
    ),
    'the eyes in the reference look far aside': choice.gaze < _ASIDE,
  }
  return [problem for problem, is_so in checks.items() if is_so]


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
