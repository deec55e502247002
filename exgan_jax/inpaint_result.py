"""What was done about the faces of a photograph, for people and for files."""

from __future__ import annotations

import dataclasses
from typing import Any

from exgan_jax.faces import AlignedFace
from exgan_jax.photograph import Photograph
from exgan_jax.references import Choice
from tfds_celeb_id import InputError
from tfds_celeb_id.alignment import Face

PAINTED, OPEN = 'painted', 'the eyes look open'


@dataclasses.dataclass(frozen=True)
class Found:
  """What was done about one face of a photograph.

  Attributes:
    number: of the face, counted from the left, the first one 1.
    face: where it is, and how far its eyes were closed.
    done: `painted`, or why it was not.
    choice: the reference and what spoke for it; None where none was chosen.
    closed_after: MediaPipe's blink score of the painted face; None if no face
      is found there, or nothing was painted.
    before: the face, aligned; None where it was not looked at.
    after: likewise, painted.
  """

  number: int
  face: Face
  done: str
  choice: Choice | None = None
  closed_after: float | None = None
  before: AlignedFace | None = None
  after: AlignedFace | None = None

  def line(self, count: int) -> str:
    """The same for people, of one face of so many."""
    text = f'face {self.number} of {count}: {self.done}'
    if self.choice is None:
      return text
    seen = 'not found again'
    if self.closed_after is not None:
      seen = f'closed {self.face.closed:.2f} -> {self.closed_after:.2f}'
    told = self.choice.told()
    by = told.pop('told_by')
    reasons = ', '.join(f'{name} {value:.2f}' for name, value in told.items())
    return (
      f'{text} after {self.choice.candidate.name} ({seen})\n'
      f'  chosen for: {reasons} (by {by})'
    )

  def told(self) -> dict[str, Any]:
    """All of it that can be written as JSON."""
    box = [
      round(number, 1)
      for number in (self.face.x, self.face.y, self.face.width)
    ]
    chosen = self.choice and {
      'reference': self.choice.candidate.name,
      'chosen_by': self.choice.told(),
    }
    after = self.closed_after
    return {
      'face': self.number,
      'centre_and_width': box,
      'done': self.done,
      'closed_before': round(self.face.closed, 3),
      'closed_after': None if after is None else round(after, 3),
      **(chosen or {}),
    }


@dataclasses.dataclass(frozen=True)
class Result:
  """A photograph, and what was done about its faces, from left to right."""

  photograph: Photograph
  faces: tuple[Found, ...]

  @property
  def painted(self) -> list[Found]:
    return [found for found in self.faces if found.done == PAINTED]

  def told(self) -> list[dict[str, Any]]:
    """What can be written as JSON of every face."""
    return [found.told() for found in self.faces]


def check_painted(result: Result) -> None:
  """Makes sure that something was painted.

  Raises:
    InputError: nothing was; the message says why.
  """
  if result.painted:
    return
  if not result.faces:
    raise InputError('no face in the photograph')
  reasons = sorted({found.done for found in result.faces})
  hint = ' (--force paints them nevertheless)' if OPEN in reasons else ''
  raise InputError(f'nothing to paint: {"; ".join(reasons)}{hint}')
