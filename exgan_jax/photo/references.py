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

from exgan_jax.face_records.record import OPEN_THRESHOLD
from exgan_jax.photo import eyes, people, toning
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.people import PERSON, Candidate

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
# Where in an aligned picture the skin is that shows the light, per its side.
_CHEEKS = (slice(128, 176), slice(64, 192))
_EYES = (slice(84, 132), slice(56, 200))


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
  usable = [c for c in candidates if c.aligned.face.opened >= OPEN_THRESHOLD]
  told = people.told(target, usable, same_person, others)
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
    person=people.cosine(target, candidate), told_by=told_by,
  )  # fmt: skip


def _turn(one: AlignedFace, other: AlignedFace) -> float:
  """Degrees between the directions that two heads face."""
  return math.hypot(
    one.face.yaw - other.face.yaw, one.face.pitch - other.face.pitch
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
