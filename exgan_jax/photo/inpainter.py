"""Opens closed eyes in photos."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face
from exgan_jax.photo import (
  embedding,
  eyes,
  faces,
  reader,
  references,
  scene,
  selection,
)
from exgan_jax.photo.embedding import Embedding
from exgan_jax.photo.face_search import FaceFinder
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.painter import Painter, restore
from exgan_jax.photo.people import Candidate
from exgan_jax.photo.photograph import Photograph
from exgan_jax.photo.references import Choice
from exgan_jax.photo.result import (
  PAINTED,
  POOR,
  FaceResult,
  Result,
  check_painted,
)
from exgan_jax.photo.scene import Scene
from exgan_jax.photo.selection import DEFAULT, Options

Source = str | os.PathLike | np.ndarray | Photograph


class Inpainter:
  """Opens eyes in photographs; use it as a context or `close` it.

  Args:
    painter: the trained model.
    finder: finds faces.
    embed: face embedding, if there is one.
  """

  def __init__(
    self,
    painter: Painter,
    finder: FaceFinder,
    embed: Embedding | None = None,
  ):
    self._painter, self._finder, self._embed = painter, finder, embed

  @classmethod
  def from_workdir(
    cls,
    workdir: str | os.PathLike | None = None,
    *,
    step: int | None = None,
    face_landmarker: str | os.PathLike | None = None,
    face_embedding: str | os.PathLike | None = None,
  ) -> Inpainter:
    """Loads a trained model.

    Args:
      workdir: folder of a run, or an exported model; the model inside
        this package by default.
      step: of the checkpoint; the newest by default.
      face_landmarker: MediaPipe's bundle; `landmarks.find_bundle` looks for it
        by default.
      face_embedding: a face recognition network in ONNX; by default dlib's, if
        the package `face-recognition-models` is installed.

    Raises:
      InputError: a file is missing or is not what it should be.
    """
    painter = restore(workdir, step)
    embed = embedding.load(face_embedding)
    return cls(painter, FaceFinder(face_landmarker), embed)

  @property
  def tells_people_apart(self) -> bool:
    """Whether there is a face embedding."""
    return self._embed is not None

  def close(self) -> None:
    self._finder.close()

  def find(self, image: UInt8[np.ndarray, 'h w 3']) -> list[Face]:
    """The faces of a photograph, from left to right."""
    return self._finder(image)

  def __enter__(self) -> Inpainter:
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def __call__(
    self, photo: Source, reference: Source | Sequence[Source], **options: Any
  ) -> UInt8[np.ndarray, 'h w 3']:
    """Opens the closed eyes in a photo.

    Args:
      photo: a path, or an array, uint8 or uint16 [h, w] or [h, w, c].
      reference: one photo of the same person with open eyes, or several.
      **options: `face`, `all_faces`, `force`, `same_person`; see `Options`.

    Returns:
      uint8 [h, w, 3], upright, in the photo's own color profile.

    Raises:
      InputError: a photo cannot be read, or nothing was painted; the message
        says why.
    """
    if isinstance(reference, str | os.PathLike | np.ndarray | Photograph):
      reference = [reference]
    candidates = self.candidates(reference)
    result = self.open_eyes(reader.load(photo), candidates, Options(**options))
    check_painted(result)
    return result.photograph.seen()

  def candidates(self, sources: Iterable[Source]) -> list[Candidate]:
    """Finds the faces in reference photos.

    Raises:
      InputError: a picture cannot be read, or none of them shows a face.
    """
    found = [
      candidate
      for number, source in enumerate(sources, 1)
      for candidate in self._candidates_in(source, number)
    ]
    if not found:
      raise InputError('no face was found in the reference')
    return found

  def candidates_or_none(self, source: Source) -> list[Candidate]:
    """As `candidates`, but nothing where one picture is of no use."""
    try:
      return list(self._candidates_in(source, 1))
    except InputError:
      return []

  def _candidates_in(self, source: Source, number: int) -> Iterable[Candidate]:
    picture = reader.load(source)
    name = f'reference {number}'
    if isinstance(source, str | os.PathLike):
      name = os.fspath(source)
    image = picture.seen()
    everybody = self.find(image)
    surroundings = scene.scene_of(image, everybody)
    for face in everybody:
      try:
        aligned = faces.align_face(picture, image, face)
      except InputError:
        continue
      yield self._candidate(name, aligned, surroundings, len(everybody) == 1)

  def _candidate(
    self, name: str, aligned: AlignedFace, surroundings: Scene, alone: bool
  ) -> Candidate:
    return Candidate(
      name,
      aligned,
      alone,
      surroundings,
      embedding=None
      if self._embed is None
      else self._embed(aligned.square, aligned.points),
    )

  def open_eyes(
    self,
    picture: Photograph,
    candidates: Sequence[Candidate],
    options: Options = DEFAULT,
  ) -> Result:
    """Paints a photo and reports what was done with every face.

    Raises:
      InputError: there is no face of the number that was asked for.
    """
    return self.alternatives(picture, candidates, options, 1)[0]

  def alternatives(
    self,
    picture: Photograph,
    candidates: Sequence[Candidate],
    options: Options,
    count: int,
  ) -> list[Result]:
    """As `open_eyes`, from the best, the second best, ... reference.

    Returns:
      At least one result, and no more than there are good references.
    """
    image = picture.seen()
    everybody = self.find(image)
    if options.face is not None and options.face > len(everybody):
      raise InputError(
        f'--face {options.face}: only {len(everybody)} face(s) were found'
      )
    reasons = selection.reasons_of(everybody, options)
    targets = self._targets(picture, image, everybody, reasons)
    found, choices = [], []
    for number, (face, reason, target) in enumerate(
      zip(everybody, reasons, targets, strict=True), 1
    ):
      done = FaceResult(number, face, reason)
      good: list[Choice] = []
      if isinstance(target, str) and reason == PAINTED:
        done = dataclasses.replace(done, done=target)
      elif isinstance(target, Candidate) and reason == PAINTED:
        others = [
          t.embedding
          for t in targets
          if isinstance(t, Candidate) and t is not target
        ]
        done, good = self._chosen(done, target, candidates, options, others)
      found.append(done)
      choices.append(good)
    most = max(map(len, choices), default=0)
    return [
      self._painted_all(picture, found, choices, rank, options)
      for rank in range(max(1, min(count, most)))
    ]

  def _targets(
    self,
    picture: Photograph,
    image: np.ndarray,
    everybody: Sequence[Face],
    reasons: Sequence[str],
  ) -> list[Candidate | str]:
    """The faces to paint and, with an embedding, those around them.

    A face that cannot be aligned is the reason; those that nobody looks at are
    empty reasons.
    """
    surroundings = scene.scene_of(image, everybody)
    alone = len(everybody) == 1
    targets: list[Candidate | str] = []
    for face, reason in zip(everybody, reasons, strict=True):
      looked_at = reason == PAINTED or (self._embed and PAINTED in reasons)
      if not looked_at:
        targets.append('')
        continue
      try:
        aligned = faces.align_face(picture, image, face)
        targets.append(self._candidate('', aligned, surroundings, alone))
      except InputError as error:
        targets.append(str(error))
    return targets

  def _chosen(
    self,
    found: FaceResult,
    target: Candidate,
    candidates: Sequence[Candidate],
    options: Options,
    others: Sequence[np.ndarray | None],
  ) -> tuple[FaceResult, list[Choice]]:
    """Chooses references for a face, the best first, or says why none."""
    border = options.same_person
    if border is None:
      border = 0.0 if self._embed is None else self._embed.same_person
    rivals = [other for other in others if other is not None]
    choices = references.ranked(target, candidates, border, rivals)
    if not choices:
      reason = 'no reference shows this person with open eyes'
      return dataclasses.replace(found, done=reason), []
    found = dataclasses.replace(found, before=target.aligned)
    good = [
      choice
      for choice in choices
      if not references.problems(target.aligned, choice)
    ]
    if good or options.force:
      return found, good or choices
    problems = ', '.join(references.problems(target.aligned, choices[0]))
    reason = f'{POOR}{choices[0].candidate.name}: {problems}'
    return dataclasses.replace(found, done=reason, choice=choices[0]), []

  def _painted_all(
    self,
    picture: Photograph,
    found: Sequence[FaceResult],
    choices: Sequence[Sequence[Choice]],
    rank: int,
    options: Options,
  ) -> Result:
    """Paints each face from its reference of one rank, or its last one."""
    chosen = [
      dataclasses.replace(each, choice=ours[min(rank, len(ours) - 1)])
      if ours
      else each
      for each, ours in zip(found, choices, strict=True)
    ]
    done = []
    for each in selection.without_doubles(chosen):
      if each.done == PAINTED:
        picture, each = self._painted(picture, each, options)
      done.append(each)
    return Result(picture, tuple(done))

  def _painted(
    self, picture: Photograph, found: FaceResult, options: Options
  ) -> tuple[Photograph, FaceResult]:
    assert found.before is not None and found.choice is not None
    painted = faces.eyes_to_paint(found.face, options.force)
    reference = found.choice.candidate.aligned
    picture = self._painter(picture, found.before, reference, painted)
    after = picture.seen()
    again = self._finder.again(after, found.face)
    notes = [
      *references.problems(found.before, found.choice),
      *references.notes(found.before, reference),
    ]
    if again is not None and eyes.are_apart(again):
      notes.append('the painted eyes look to different places')
    return picture, dataclasses.replace(
      found,
      eyes=painted,
      again=again,
      after=faces.align_face(picture, after, found.face),
      note='; '.join(notes),
    )
