"""From a number to a drawn picture: one call, in any process."""

import dataclasses

import numpy as np

from exgan_jax.face_records import alignment, pictures
from tfds_celeb_id import records
from tfds_celeb_id.synth_id import renderer


@dataclasses.dataclass(frozen=True)
class Task:
  """A picture to be drawn.

  Attributes:
    seed: of the whole data set.
    person: number of the person.
    picture: number of that person's picture.
    eyes_closed: draw it with closed eyes, and with open ones as its truth.
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
    """Name of the picture; they count from one, as in Celeb-ID."""
    return f'{self.identity}-{self.picture + 1}.jpg'


def tasks(seed: int, people: int, count: int) -> list[Task]:
  """Returns the pictures of a data set in order.

  Each person has `count` pictures with open eyes. The people held out from
  training have one more, with closed eyes: it asks for eyes that no training
  has seen.
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
    # Records count from the centre of the first pixel, not from its edge.
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
  # An iris is some ten pixels wide: half the colour resolution would mix its
  # colour, which is what the data set is about, with the white around it.
  return pictures.encode_jpeg(rendering.image, full_colour=True)
