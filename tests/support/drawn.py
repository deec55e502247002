"""Drawn photographs, and a finder that knows their faces without MediaPipe."""

import dataclasses

import jax
import numpy as np

from exgan_jax import config as config_lib
from exgan_jax.face_records.alignment import Face
from exgan_jax.models import networks
from exgan_jax.photo.painter import make_painter
from exgan_jax.training import state
from tfds_celeb_id.synth_id import renderer

# What a finder knows pictures by is their size: no two of a test share it.
Size = tuple[int, int]


class Finder:
  """Stands in for `FaceFinder`.

  Attributes:
    faces: of the pictures, by their heights and widths.
  """

  def __init__(self):
    self.faces: dict[Size, list[Face]] = {}

  def __call__(self, image):
    return self.faces.get(image.shape[:2], [])

  def again(self, image, face):
    return dataclasses.replace(face, opened=0.9, closed=0.1)

  def close(self):
    self.faces.clear()

  def draw(self, size, *people, side=160):
    """Draws a photograph whose faces the finder knows from then on.

    Args:
      size: its height and width.
      *people: number of the person, of the scene, and whether the eyes are
        closed; the first one on the left.
      side: of each one's picture.

    Returns:
      uint8 [h, w, 3].
    """
    rows = np.linspace(40, 200, size[0])[:, None, None]
    image = np.broadcast_to(rows, (*size, 3)).astype(np.uint8).copy()
    self.faces[size] = []
    for place, (person, scene, is_closed) in enumerate(people):
      drawn = renderer.render(
        renderer.sample_person(1, person),
        renderer.sample_scene(1, person, scene),
        side,
        eyes_closed=is_closed,
      )
      top, left = (size[0] - side) // 2, place * side
      image[top : top + side, left : left + side] = drawn.image
      eyes, corners = (
        points + np.array([left, top]) - 0.5
        for points in (drawn.eyes, drawn.corners)
      )
      self.faces[size].append(_face(eyes, corners, is_closed))
    return image


def _face(eyes, corners, is_closed):
  """A face as MediaPipe would have it, by the mean of some."""
  across = eyes[1] - eyes[0]
  distance = float(np.hypot(*across))
  down = np.array([-across[1], across[0]])
  x, y = (eyes.mean(axis=0) + 0.46 * down).tolist()
  closed = 0.75 if is_closed else 0.05
  return Face(
    eyes=tuple(map(tuple, eyes.tolist())),
    mouth=tuple((eyes.mean(axis=0) + 1.13 * down).tolist()),
    x=x,
    y=y,
    width=3.5 * distance,
    height=3.5 * distance,
    roll=float(np.degrees(np.arctan2(across[1], across[0]))),
    opened=1 - closed,
    closed=closed,
    yaw=0.0,
    pitch=0.0,
    corners=tuple(map(tuple, corners.tolist())),
    blinks=(closed, closed),
  )


def untrained(preset='transfer', **fields):
  """The smallest model, as it is before training."""
  config = config_lib.make(
    preset, 'tiny', resolution=32, generator_width=4, discriminator_width=4,
    compressor_width=4, code_size=8, **fields,
  )  # fmt: skip
  encoder = None
  if config.exemplar == 'code':
    network = networks.make_encoder(config)
    encoder = networks.init_params(network, jax.random.key(1))
  made = jax.jit(lambda: state.init_state(config, encoder))()
  return config, state.model_of(made)


def painter(preset='transfer'):
  """Paints, if badly."""
  return make_painter(*untrained(preset))
