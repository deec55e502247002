"""Draws the pictures of the data set."""

import dataclasses

import numpy as np

from exgan_jax.face_records import alignment, pictures
from tfds_celeb_id import records
from tfds_celeb_id.synth_id import renderer


@dataclasses.dataclass(frozen=True)
class Task:
  """A picture to draw.

  Attributes:
    seed: of the data set.
    person: index of the person.
    picture: index among the pictures of the person.
    eyes_closed: draw closed eyes, and open ones as the truth.
  """

  seed: int
  person: int
  picture: int
  eyes_closed: bool = False

  @property
  def identity(self) -> str:
    """Name of the person."""
    return f'synth_{self.person:06}'

  @property
  def filename(self) -> str:
    """Name of the picture; numbered from one, as in Celeb-ID."""
    return f'{self.identity}-{self.picture + 1}.jpg'


def tasks(seed: int, people: int, count: int) -> list[Task]:
  """Returns the pictures of a data set in order.

  Each person has `count` pictures with open eyes. People who are not in `train`
  have one more, with closed eyes.
  """
  result = []
  for person in range(people):
    result += [Task(seed, person, picture) for picture in range(count)]
    closed = Task(seed, person, count, eyes_closed=True)
    if records.split_of(closed.identity) != 'train':
      result.append(closed)
  return result


def draw(task: Task, size: int) -> records.Entry:
  """Draws a picture of `size` x `size` px."""
  person = renderer.sample_person(task.seed, task.person)
  scene = renderer.sample_scene(task.seed, task.person, task.picture)
  opened = renderer.render(person, scene, size)
  shown, truth = opened, b''
  if task.eyes_closed:
    shown = renderer.render(person, scene, size, eyes_closed=True)
    truth = _encode(opened)
  return records.Entry(
    task.identity,
    task.filename,
    # In records, (0, 0) is the center of the first pixel, not its corner.
    np.asarray(shown.eyes, np.float32) - np.float32(0.5),
    alignment.draw_boxes(task.filename, size),
    opened=0.0 if task.eyes_closed else 1.0,
    closed=1.0 if task.eyes_closed else 0.0,
    blobs={'image': _encode(shown), 'truth': truth},
    extra={
      'iris_rgb': np.asarray(person.iris_rgb, np.uint8),
      'irises': shown.irises - np.asarray([0.5, 0.5, 0.0], np.float32),
    },
    corners=shown.corners - np.float32(0.5),
  )


def _encode(rendering: renderer.Rendering) -> bytes:
  # An iris is about ten pixels wide; half the color resolution would mix its
  # color with the white around it.
  return pictures.encode_jpeg(rendering.image, full_color=True)
