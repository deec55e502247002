"""Drawn faces: deterministic, with eyes independent of the rest."""

import dataclasses
import operator
import subprocess
import sys

import numpy as np
import pytest

from tfds_celeb_id.synth_id import eyes, head, renderer

SEED = 7
HALF_BOX = 12 / 128  # of the smallest eye box, over the picture's side


def outside_boxes(centers: np.ndarray, size: int) -> np.ndarray:
  """Mask of the pixels that lie outside of both smallest eye boxes."""
  pixels = np.arange(size) + 0.5
  mask = np.ones((size, size), bool)
  for x, y in centers:
    across = np.abs(pixels - x) <= HALF_BOX * size
    down = np.abs(pixels - y) <= HALF_BOX * size
    mask &= ~(down[:, None] & across[None, :])
  return mask


def iris_pixels(person, scene, rendering, side: int) -> np.ndarray:
  """Pixels beside the pupil of one eye, within the ring and off the lids."""
  size = rendering.image.shape[0]
  unit = head.EYE_DISTANCE * size * scene.scale
  radius = person.eyes.iris_radius * unit
  x, y = rendering.eyes[side]
  x = x + scene.gaze[0] * radius + 0.02 * scene.yaw * unit
  y = y + scene.gaze[1] * radius
  rows, columns = np.mgrid[:size, :size] + 0.5
  far = np.hypot(columns - x, rows - y) / radius
  ring = (far > scene.pupil + 0.1) & (far < 0.8)
  ring &= (rows > y - 0.25 * radius) & (rows < y + 0.4 * radius)
  return rendering.image[ring].astype(np.float64)


def iris_color(person, scene, rendering) -> np.ndarray:
  both = [iris_pixels(person, scene, rendering, side) for side in (0, 1)]
  return np.median(np.concatenate(both), axis=0)


def plain(scene):
  """The scene with the eyes as open as the person's are."""
  return dataclasses.replace(scene, blink=0.0)


DRAW = """
import hashlib
from tfds_celeb_id.synth_id import renderer
digest = hashlib.sha256()
for i in (0, 5, 17):
  person, scene = renderer.sample_person(7, i), renderer.sample_scene(7, i, 2)
  drawn = renderer.render(person, scene, size=64)
  digest.update(drawn.image.tobytes())
  for points in (drawn.eyes, drawn.irises, drawn.corners):
    digest.update(points.tobytes())
"""


def test_another_process_draws_the_same_bytes():
  here: dict = {}
  exec(DRAW, here)
  path = f'import sys; sys.path[:] = {sys.path!r}\n'
  other = subprocess.run(
    [sys.executable, '-c', path + DRAW + 'print(digest.hexdigest())'],
    capture_output=True,
    text=True,
    timeout=300,
    check=True,
  )
  assert other.stdout.strip() == here['digest'].hexdigest()


def test_seed_person_and_picture_each_matter():
  person = renderer.sample_person(SEED, 3)
  assert person == renderer.sample_person(SEED, 3)
  assert person != renderer.sample_person(SEED, 4)
  assert person != renderer.sample_person(SEED + 1, 3)
  scene = renderer.sample_scene(SEED, 3, 1)
  assert scene == renderer.sample_scene(SEED, 3, 1)
  others = [(SEED, 3, 2), (SEED, 4, 1), (SEED + 1, 3, 1)]
  assert all(scene != renderer.sample_scene(*key) for key in others)


@pytest.mark.parametrize('size', [64, 128, 256])
def test_shapes_and_eye_coordinates(size):
  scene = renderer.sample_scene(SEED, 1, 0)
  rendering = renderer.render(renderer.sample_person(SEED, 1), scene, size)
  assert rendering.image.shape == (size, size, 3)
  assert rendering.image.dtype == np.uint8
  assert rendering.eyes.shape == (2, 2)
  assert rendering.eyes.dtype == np.float32
  left, right = rendering.eyes / size
  assert 0.2 < left[0] < 0.45 and 0.55 < right[0] < 0.8
  assert 0.36 < left[1] < 0.47 and 0.36 < right[1] < 0.47


@pytest.mark.parametrize('size', [64, 96, 128])
@pytest.mark.parametrize('person', range(4))
def test_eye_traits_change_only_the_eye_boxes(person, size):
  mine = renderer.sample_person(SEED, person)
  scene = renderer.sample_scene(SEED, person, 0)
  one = renderer.render(mine, scene, size)
  outside = outside_boxes(one.eyes, size)
  for stranger in (11, 12):
    theirs = renderer.sample_person(SEED, stranger).eyes
    changed = dataclasses.replace(mine, eyes=theirs)
    other = renderer.render(changed, scene, size)
    np.testing.assert_array_equal(one.eyes, other.eyes)
    changed = (one.image != other.image).any(-1)
    assert not changed[outside].any()
    assert changed[~outside].mean() > 0.2


@pytest.mark.parametrize('person', range(4))
def test_closed_eyes_change_only_the_eye_boxes(person):
  mine = renderer.sample_person(SEED, person)
  scene = renderer.sample_scene(SEED, person, 1)
  opened = renderer.render(mine, scene)
  closed = renderer.render(mine, scene, eyes_closed=True)
  for name in ('eyes', 'irises', 'corners'):
    np.testing.assert_array_equal(getattr(opened, name), getattr(closed, name))
  changed = (opened.image != closed.image).any(-1)
  outside = outside_boxes(opened.eyes, 128)
  assert not changed[outside].any()
  assert changed[~outside].mean() > 0.2


def test_widest_eyes_end_before_their_boxes():
  reaches = []
  for i in range(300):
    person = renderer.sample_person(SEED, i)
    scale = renderer.sample_scene(SEED, i, 0).scale
    reaches.append(person.eyes.width / 2 * head.EYE_DISTANCE * scale)
  assert 0.8 < max(reaches) / (eyes.BOX / 2) < 0.94


def test_iris_color_names_its_person():
  people = [renderer.sample_person(SEED, i) for i in range(30)]
  truth = np.array([p.iris_rgb for p in people], np.float64)
  ranks = []
  for i, person in enumerate(people):
    scene = plain(renderer.sample_scene(SEED, i, 0))
    seen = iris_color(person, scene, renderer.render(person, scene))
    distances = np.linalg.norm(truth - seen, axis=1)
    ranks.append((distances < distances[i]).mean())
  assert np.mean(ranks) < 0.08  # 0.5 by chance
  assert np.quantile(ranks, 0.9) < 0.2


def test_closed_eyes_hide_the_iris():
  hidden = []
  for i in range(8):
    person = renderer.sample_person(SEED, i)
    blue = dataclasses.replace(person.eyes, iris_rgb=(70, 120, 190))
    brown = dataclasses.replace(person.eyes, iris_rgb=(70, 40, 25))
    scene = plain(renderer.sample_scene(SEED, i, 0))
    colors = {}
    for closed in (False, True):
      colors[closed] = [
        iris_color(
          person,
          scene,
          renderer.render(
            dataclasses.replace(person, eyes=own), scene, eyes_closed=closed
          ),
        )
        for own in (blue, brown)
      ]
    assert np.linalg.norm(np.subtract(*colors[False])) > 60
    hidden.append(np.array_equal(*colors[True]))
  assert all(hidden)


POSES = {
  'straight': {'yaw': 0.0, 'roll': 0.0, 'gaze': (0.0, 0.0)},
  'rolled': {'yaw': 0.0, 'roll': 0.3, 'gaze': (0.35, 0.18)},
  'rolled back': {'yaw': 0.0, 'roll': -0.3, 'gaze': (0.35, -0.18)},
  'yawed': {'yaw': 0.4, 'roll': 0.05, 'gaze': (0.35, 0.18)},
  'yawed back': {'yaw': -0.4, 'roll': -0.05, 'gaze': (-0.35, 0.18)},
  'both': {'yaw': 0.4, 'roll': -0.3, 'gaze': (-0.35, -0.18)},
}


def iris_difference(person, scene, size, **traits):
  """Returns how much the iris color changes each pixel, and the irises."""
  drawn = [
    renderer.render(
      dataclasses.replace(
        person,
        eyes=dataclasses.replace(person.eyes, iris_rgb=rgb, **traits),
      ),
      scene,
      size,
    )
    for rgb in ((40, 90, 230), (200, 90, 30))
  ]
  one, other = drawn
  np.testing.assert_array_equal(one.irises, other.irises)
  difference = np.abs(one.image.astype(float) - other.image).sum(-1)
  return difference, one.irises


def centroid(difference, place) -> np.ndarray:
  """Returns the centroid (x, y) of the differences around an iris."""
  x, y, radius = place
  rows, columns = np.mgrid[: len(difference), : len(difference)] + 0.5
  near = difference * (np.hypot(columns - x, rows - y) < 1.5 * radius)
  return np.array([(near * at).sum() for at in (columns, rows)]) / near.sum()


@pytest.mark.parametrize('person', [1, 4])
@pytest.mark.parametrize('pose', POSES.values(), ids=POSES)
def test_irises_are_where_their_color_shows(person, pose):
  mine = renderer.sample_person(SEED, person)
  scene = dataclasses.replace(
    plain(renderer.sample_scene(SEED, person, 0)), **pose
  )
  # Wide open, so that no lid hides a part, and with slanting eyes.
  difference, irises = iris_difference(
    mine, scene, 256, openness=0.75, tilt=0.16 if person == 1 else -0.16
  )
  assert irises[0, 0] < 128 < irises[1, 0]
  rows, columns = np.mgrid[:256, :256] + 0.5
  inside = np.zeros((256, 256), bool)
  for x, y, radius in irises:
    np.testing.assert_allclose(
      centroid(difference, (x, y, radius)), (x, y), atol=0.7
    )
    far = np.hypot(columns - x, rows - y)
    inside |= far < radius + 1
    high = rows[(far < 1.5 * radius) & (difference > 0.3 * difference.max())]
    assert (np.ptp(high) + 1) / 2 == pytest.approx(radius, rel=0.12)
  assert difference[inside].sum() > 0.95 * difference.sum()


@pytest.mark.parametrize('person', range(3))
def test_corners_are_where_the_lids_open(person, monkeypatch):
  mine = renderer.sample_person(SEED, person)
  scene = plain(renderer.sample_scene(SEED, person, 0))
  scene = dataclasses.replace(scene, noise=0.0, blur=0.0)
  drawn = []
  for color in (0.0, 1.0):
    # An eyeball of one color: what it changes is the opening.
    monkeypatch.setattr(
      eyes, '_paint_ball', lambda ball, *_, c=color: ball.fill(c)
    )
    drawn.append(renderer.render(mine, scene, 256))
  difference = np.subtract(*(each.image.astype(float) for each in drawn))
  rows, columns = np.nonzero(np.abs(difference).max(axis=-1) > 30)
  corners = drawn[0].corners
  assert corners.dtype == np.float32 and (np.diff(corners[:, 0]) > 0).all()
  for start, end in (corners[:2], corners[2:]):
    along = (end - start) / np.hypot(*(end - start))
    points = np.stack([columns, rows], axis=1) + 0.5 - start
    points = points[(points[:, 0] > -20) & (points[:, 0] < 60)]
    places = points @ along
    assert abs(places.min()) < 2.5
    assert abs(places.max() - np.hypot(*(end - start))) < 2.5
    across = points @ [-along[1], along[0]]
    for tip in (places.argmin(), places.argmax()):
      assert abs(across[tip]) < 2


def test_eyes_cannot_be_guessed_from_the_face():
  people = [renderer.sample_person(SEED, i) for i in range(400)]
  eyes_of = operator.attrgetter('width', 'openness', 'tilt', 'lashes')
  face_of = operator.attrgetter(
    *('width', 'jaw', 'beard', 'lip_redness', 'spacing', 'brow_height')
  )
  own = np.array([[*p.iris_rgb, *eyes_of(p.eyes)] for p in people])
  rest = np.array(
    [[*p.face.skin_rgb, *p.hair.rgb, *face_of(p.face)] for p in people]
  )
  both = np.corrcoef(own.T, rest.T)[: own.shape[1], own.shape[1] :]
  assert np.abs(both).max() < 0.2  # four standard errors


def test_bad_input():
  person = renderer.sample_person(SEED, 0)
  scene = renderer.sample_scene(SEED, 0, 0)
  with pytest.raises(ValueError, match='at least 64'):
    renderer.render(person, scene, size=8)
  with pytest.raises(ValueError, match='>= 0'):
    renderer.sample_person(-1, 0)
