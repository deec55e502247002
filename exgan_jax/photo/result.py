"""What was done with the faces of a photo."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.photograph import Photograph
from exgan_jax.photo.references import Choice

PAINTED, OPEN = 'painted', 'the eyes look open'
NOT_ASKED_FOR = 'not asked for'
POOR = 'poor reference '


@dataclasses.dataclass(frozen=True)
class FaceResult:
  """What was done with one face.

  Attributes:
    number: of the face, counted from the left, the first one 1.
    face: where it is, and how far its eyes were closed.
    done: `painted`, or why it was not.
    choice: the reference and what spoke for it; None where none was chosen.
    eyes: which eyes were painted: left and right, as the viewer sees them.
    again: the painted face as it is found again; None if no face is found
      there, or nothing was painted.
    note: what is wrong with the reference; empty if nothing is.
    before: the face, aligned; None where it was not looked at.
    after: the painted face, aligned.
  """

  number: int
  face: Face
  done: str
  choice: Choice | None = None
  eyes: tuple[bool, bool] = (False, False)
  again: Face | None = None
  note: str = ''
  before: AlignedFace | None = None
  after: AlignedFace | None = None

  @property
  def closed_after(self) -> float | None:
    """MediaPipe's blink score of the painted face, if it is found again."""
    return None if self.again is None else self.again.closed

  @property
  def painted_eyes(self) -> str:
    """Which eyes were painted, in words."""
    return {
      (True, True): 'both eyes', (True, False): 'the left eye',
      (False, True): 'the right eye', (False, False): 'no eye',
    }[self.eyes]  # fmt: skip

  def line(self, count: int) -> str:
    """The same for people, of one face of so many."""
    text = f'face {self.number} of {count}: {self.done}'
    if self.choice is None or self.done != PAINTED:
      return text
    seen = 'not found again'
    if self.again is not None:
      seen = f'{_each(self.face)} before, {_each(self.again)} now'
    lines = [
      f'{text} {self.painted_eyes} from {self.choice.candidate.name} ({seen})',
      f'  reference: {self.choice.words()}',
    ]
    if self.note:
      lines.append(f'  note: {self.note}')
    return '\n'.join(lines)

  def summary(self) -> dict[str, Any]:
    """Returns what can be written as JSON."""
    box = [
      round(number, 1) for number in (self.face.x, self.face.y, self.face.width)
    ]
    chosen = self.choice and {
      'reference': self.choice.candidate.name,
      'chosen_by': self.choice.summary(),
    }
    after = self.closed_after
    return {
      'face': self.number,
      'centre_and_width': box,
      'done': self.done,
      'closed_before': round(self.face.closed, 3),
      'closed_after': None if after is None else round(after, 3),
      'eyes_closed_before': _numbers(self.face),
      'eyes_closed_after': self.again and _numbers(self.again),
      'eyes_painted': list(self.eyes),
      **(chosen or {}),
      **({'note': self.note} if self.note else {}),
    }


def _each(face: Face) -> str:
  """How far each eye is open, left and right, for people."""
  known = [blink for blink in face.blinks if not math.isnan(blink)]
  words = [
    'closed' if blink > 0.5 else 'half open' if blink > 0.25 else 'open'
    for blink in known or [face.closed]
  ]
  return words[0] if len(set(words)) == 1 else ' and '.join(words)


def _numbers(face: Face) -> list[float] | None:
  known = not any(math.isnan(blink) for blink in face.blinks)
  return [round(blink, 3) for blink in face.blinks] if known else None


@dataclasses.dataclass(frozen=True)
class Result:
  """A photograph, and what was done about its faces, from left to right."""

  photograph: Photograph
  faces: tuple[FaceResult, ...]

  @property
  def painted(self) -> list[FaceResult]:
    return [found for found in self.faces if found.done == PAINTED]

  def summary(self) -> list[dict[str, Any]]:
    """What can be written as JSON of every face."""
    return [found.summary() for found in self.faces]


def check_painted(result: Result) -> None:
  """Makes sure that something was painted.

  Raises:
    InputError: nothing was; the message says why.
  """
  if result.painted:
    return
  if not result.faces:
    raise InputError('no face was found in the photo')
  done = {found.done for found in result.faces}
  # Faces that were not asked for are no reason if others have one.
  reasons = sorted(done - {NOT_ASKED_FOR} or done)
  can_force = any(r == OPEN or r.startswith(POOR) for r in reasons)
  hint = ' (--force paints them anyway)' if can_force else ''
  raise InputError(f'nothing was painted: {"; ".join(reasons)}{hint}')
