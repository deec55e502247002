"""Opens closed eyes in photos."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from exgan_jax.errors import InputError
from exgan_jax.face_records.alignment import Face
from exgan_jax.face_records.embedding import OnnxEmbedding
from exgan_jax.photo import faces, reader, references, scene
from exgan_jax.photo.face_search import FaceFinder
from exgan_jax.photo.faces import AlignedFace
from exgan_jax.photo.painter import Painter, restore
from exgan_jax.photo.photograph import Photograph
from exgan_jax.photo.references import Candidate
from exgan_jax.photo.result import (
  NOT_ASKED_FOR,
  OPEN,
  PAINTED,
  POOR,
  FaceResult,
  Result,
  check_painted,
)
from exgan_jax.photo.scene import Scene

Source = str | os.PathLike | np.ndarray | Photograph

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
    same_person: smallest cosine similarity of two embeddings of one person.
  """

  face: int | None = None
  all_faces: bool = False
  force: bool = False
  same_person: float = references.SAME_PERSON

  def __post_init__(self):
    if self.face is not None and self.all_faces:
      raise InputError('use either --face or --all-faces')
    if self.face is not None and self.face < 1:
      raise InputError('--face must be at least 1 (1 is the leftmost face)')


DEFAULT = Options()


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
    embed: references.Embed | None = None,
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
      face_embedding: a face recognition network in ONNX, for references of
        several people.

    Raises:
      InputError: a file is missing or is not what it should be.
    """
    painter = restore(workdir, step)
    embed = None if face_embedding is None else OnnxEmbedding(face_embedding)
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
      embedding=self._embed and self._embed(aligned.square, aligned.points),
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
    image = picture.seen()
    everybody = self.find(image)
    if options.face is not None and options.face > len(everybody):
      raise InputError(
        f'--face {options.face}: only {len(everybody)} face(s) were found'
      )
    surroundings = scene.scene_of(image, everybody)
    found = []
    for number, (face, reason) in enumerate(
      zip(everybody, _reasons(everybody, options), strict=True), 1
    ):
      done = FaceResult(number, face, reason)
      if reason == PAINTED:
        alone = len(everybody) == 1
        done = self._chosen(
          picture, image, done, surroundings, alone, candidates, options
        )
      found.append(done)
    for i, done in enumerate(_without_doubles(found)):
      if done.done == PAINTED:
        picture, done = self._painted(picture, done, options)
      found[i] = done
    return Result(picture, tuple(found))

  def _chosen(
    self,
    picture: Photograph,
    image: np.ndarray,
    found: FaceResult,
    surroundings: Scene,
    alone: bool,
    candidates: Sequence[Candidate],
    options: Options,
  ) -> FaceResult:
    """Chooses a reference for a face, or says why there is none."""
    try:
      aligned = faces.align_face(picture, image, found.face)
    except InputError as error:
      return dataclasses.replace(found, done=str(error))
    target = self._candidate('', aligned, surroundings, alone)
    choice = references.choose(target, candidates, options.same_person)
    if choice is None:
      reason = 'no reference shows this person with open eyes'
      return dataclasses.replace(found, done=reason)
    found = dataclasses.replace(found, choice=choice, before=aligned)
    reference = choice.candidate.aligned
    problems = references.problems(aligned, reference, choice)
    if problems and not options.force:
      reason = f'{POOR}{choice.candidate.name}: {", ".join(problems)}'
      return dataclasses.replace(found, done=reason)
    notes = [*problems, *references.notes(aligned, reference)]
    return dataclasses.replace(found, note='; '.join(notes))

  def _painted(
    self, picture: Photograph, found: FaceResult, options: Options
  ) -> tuple[Photograph, FaceResult]:
    assert found.before is not None and found.choice is not None
    eyes = faces.eyes_to_paint(found.face, options.force)
    picture = self._painter(
      picture, found.before, found.choice.candidate.aligned, eyes
    )
    after = picture.seen()
    return picture, dataclasses.replace(
      found,
      eyes=eyes,
      again=self._finder.again(after, found.face),
      after=faces.align_face(picture, after, found.face),
    )


def _without_doubles(found: Sequence[FaceResult]) -> list[FaceResult]:
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


def _reasons(everybody: Sequence[Face], options: Options) -> list[str]:
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
