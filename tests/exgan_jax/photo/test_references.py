"""Which reference is chosen, and by what."""

import dataclasses

import cv2
import drawn
import numpy as np
import pytest

from exgan_jax.photo import eyes, faces, photograph, references, scene
from exgan_jax.photo.people import Candidate


@pytest.fixture(scope='module')
def finder():
  return drawn.Finder()


def _candidate(finder, size, person, name='', **changes):
  image = finder.draw(size, person)
  face = dataclasses.replace(finder.faces[size][0], **changes)
  aligned = faces.align_face(photograph.from_array(image), image, face)
  return Candidate(name or str(size), aligned, True)


@pytest.fixture(scope='module')
def target(finder):
  return _candidate(finder, (200, 220), (5, 0, True))


@pytest.fixture(scope='module')
def good(finder):
  return _candidate(finder, (210, 230), (5, 0, False), 'good')


def _changed(candidate, name, square=None, **face):
  aligned = dataclasses.replace(
    candidate.aligned,
    face=dataclasses.replace(candidate.aligned.face, **face),
    square=candidate.aligned.square if square is None else square,
  )
  return dataclasses.replace(candidate, name=name, aligned=aligned)


def _best(target, candidates, **options):
  return next(iter(references.ranked(target, candidates, **options)), None)


def test_the_better_one_is_chosen_in_each_respect(target, good):
  square = good.aligned.square
  worse = [
    _changed(good, 'blurred', cv2.GaussianBlur(square, (0, 0), 4)),
    _changed(good, 'dark', (square * 0.5).astype(np.uint8)),
    _changed(good, 'turned', yaw=30.0),
    _changed(good, 'looking down', pitch=-30.0),
    _changed(good, 'half open', opened=0.65, closed=0.35),
  ]
  alone = {c.name: _best(target, [c]).score for c in [*worse, good]}
  assert max(alone, key=alone.get) == 'good'
  for other in worse:
    # By a clear margin, and whatever their order.
    assert alone[other.name] < 0.8 * alone['good'], other.name
    assert _best(target, [other, good]).candidate.name == 'good'
    assert _best(target, [good, other]).candidate.name == 'good'


def test_closed_eyes_are_no_reference(target, good):
  shut = _changed(good, 'shut', opened=0.3, closed=0.7)
  assert _best(target, [shut]) is None
  assert _best(target, [shut, good]).candidate.name == 'good'
  assert _best(target, []) is None


def _known(candidate, *vector):
  vector = np.float32(vector) / np.linalg.norm(vector)
  return dataclasses.replace(candidate, embedding=vector)


def test_an_embedding_tells_people_apart(target, good):
  ours = _known(target, 1, 0, 0)
  blurred = cv2.GaussianBlur(good.aligned.square, (0, 0), 4)
  same = _known(_changed(good, 'same', blurred), 1, 0.5, 0)
  other = _known(good, 0.2, 1, 0)
  choice = _best(ours, [other, same], same_person=0.4)
  assert choice.candidate.name == 'same' and choice.told_by == 'embedding'
  assert choice.person == pytest.approx(1 / np.sqrt(1.25))
  stranger = _best(ours, [other], same_person=0.4)
  assert stranger.told_by == 'other'
  problems = references.problems(target.aligned, stranger)
  assert problems == ['it shows another person']
  assert _best(ours, [other], same_person=0.1).told_by == 'embedding'


def test_the_likest_in_the_photo_is_the_person(target, good):
  ours, candidate = _known(target, 1, 0, 0), _known(good, 1, 0.6, 0)
  (neighbor,) = [_known(target, 1, 0.7, 0).embedding]
  assert _best(ours, [candidate], same_person=0.4).told_by == 'embedding'
  choice = _best(ours, [candidate], same_person=0.4, others=[neighbor])
  assert choice.told_by == 'other'


def test_two_people_who_are_equally_like_it_are_both_in_doubt(target, good):
  ours = _known(target, 1, 0, 0)
  one, other = _known(good, 1, 1, 0), _known(good, 1, -1, 0.05)
  assert _best(ours, [one], same_person=0.4).told_by == 'embedding'
  assert _best(ours, [one, other], same_person=0.4).told_by == 'unknown'
  # Two pictures of one person are not.
  again = _known(good, 1, 1, 0.05)
  assert _best(ours, [one, again], same_person=0.4).told_by == 'embedding'


def test_without_an_embedding_one_of_several_people_is_not_chosen(target, good):
  crowd = dataclasses.replace(good, alone=False)
  choice = _best(target, [crowd])
  assert 'not clear' in references.problems(target.aligned, choice)[0]


def test_eyes_behind_something_are_left_for_others(target, good):
  images = [good.aligned.square.copy() for _ in range(3)]
  images[0][84:132, 130:200] = 128
  ours = [
    _changed(good, name, image)
    for name, image in zip(('hidden', 'a', 'b'), images, strict=True)
  ]
  hidden, *others = references.ranked(target, ours)[::-1]
  assert hidden.candidate.name == 'hidden'
  assert hidden.clear < 0.8 * min(other.clear for other in others)


@pytest.mark.parametrize(
  ('shift', 'words', 'is_apart'),
  [((0, 0), 'straight', False), ((1, 1), 'aside', False), ((1, -1), '', True)],
)
def test_where_the_eyes_look(target, good, shift, words, is_apart):
  corners = np.array(good.aligned.face.corners)
  middles = corners.reshape(2, 2, 2).mean(axis=1)
  width = np.linalg.norm(corners[1] - corners[0])
  # As people look ahead: outwards by a tenth of an eye's width together.
  outwards = np.array([[-0.05, 0], [0.05, 0]])
  moved = middles + width * (
    outwards + np.array([[0.3, 0]]) * np.c_[list(shift)]
  )
  other = _changed(good, 'other', eyes=tuple(map(tuple, moved.tolist())))
  choice = _best(target, [other])
  assert words in choice.words()
  assert eyes.are_apart(other.aligned.face) == is_apart
  assert (choice.gaze < 0.4) == (shift != (0, 0))


def _waves(seed):
  rows, columns = np.mgrid[:400, :900]
  phase = (columns * (1 + seed) + rows * (2 - 3 * seed)) / 90
  waves = 128 + 60 * np.sin(phase + np.arange(3)[:, None, None])
  return np.moveaxis(waves, 0, -1).astype(np.uint8)


def test_in_a_burst_the_place_tells(finder):
  def at(size, x, name, seed=0):
    image = finder.draw(size, (5, 0, name == 'target'), side=100)
    # One of several faces in a wide picture.
    face = finder.faces[size][0]
    canvas = _waves(seed)
    canvas[100:300, x : x + 220] = image
    moved = faces.moved(face, np.array([[1.0, 0, x], [0, 1, 100]]))
    aligned = faces.align_face(photograph.from_array(canvas), canvas, moved)
    return Candidate(name, aligned, False, scene.scene_of(canvas, [moved]))

  target = at((200, 220), 300, 'target')
  near, far = at((200, 220), 310, 'near'), at((200, 220), 600, 'far')
  blurred = cv2.GaussianBlur(near.aligned.square, (0, 0), 4)
  near = _changed(near, 'near', blurred)
  choice = _best(target, [far, near])
  assert choice.candidate.name == 'near' and choice.told_by == 'place'
  # The same place in a photo of the same size, but of another scene.
  elsewhere = at((200, 220), 310, 'elsewhere', seed=1)
  choice = _best(target, [elsewhere])
  assert choice.told_by == 'unknown'


def test_what_is_told_can_be_written(target, good):
  told = _best(target, [good]).summary()
  assert told['told_by'] == 'you' and 0 < told['score'] <= 1
  product = np.prod(
    [told[n] for n in ('sharp', 'open', 'pose', 'light', 'gaze', 'clear')]
  )
  assert told['score'] == pytest.approx(product, abs=5e-3)


def test_sharpness_falls_with_every_blur(good):
  square = good.aligned.square
  values = [references.sharpness(square)] + [
    references.sharpness(cv2.GaussianBlur(square, (0, 0), sigma))
    for sigma in (1, 2, 4)
  ]
  assert values == sorted(values, reverse=True) and values[-1] < 0.2
  assert references.sharpness(np.full((256, 256, 3), 7, np.uint8)) == 0


@pytest.mark.parametrize(
  ('changes', 'problem'),
  [
    ({}, None),
    ({'yaw': 60.0}, 'turned'),
    ({'blurred': 8}, 'blurred'),
    ({'small': 0.15}, 'too small'),
    ({'dark': 0.1}, 'too dark'),
  ],
)
def test_a_poor_reference_is_said_to_be_one(target, good, changes, problem):
  other = _changed(good, 'other', yaw=changes.get('yaw', 0.0))
  if 'blurred' in changes:
    square = cv2.GaussianBlur(good.aligned.square, (0, 0), changes['blurred'])
    other = _changed(good, 'other', square)
  if 'dark' in changes:
    square = good.aligned.square * changes['dark']
    other = _changed(good, 'other', square.astype(np.uint8))
  if 'small' in changes:
    scale = changes['small']
    moved = faces.moved(
      good.aligned.face, np.array([[scale, 0, 0], [0, scale, 0]])
    )
    other = _changed(good, 'other', eyes=moved.eyes)
  choice = _best(target, [other])
  found = references.problems(target.aligned, choice)
  assert (problem is None and not found) or problem in ' '.join(found)
  assert choice.words().endswith('assumed to be the same person')
