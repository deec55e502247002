"""A drawn person who blinked, and the same one with open eyes elsewhere."""

from __future__ import annotations

import os
import pathlib

from PIL import Image

from tfds_celeb_id.synth_id import renderer

# Of nobody that the model inside the package has seen: its people are of seed
# 0. This one wears no glasses.
_SEED, _PERSON = 1, 4
_SIDE = 512


def draw(folder: str | os.PathLike) -> tuple[str, str]:
  """Draws both pictures, and returns the paths of their PNG files."""
  person = renderer.sample_person(_SEED, _PERSON)
  paths = []
  for number, name in enumerate(('blinked', 'open')):
    scene = renderer.sample_scene(_SEED, _PERSON, number)
    closed = name == 'blinked'
    drawn = renderer.render(person, scene, _SIDE, eyes_closed=closed)
    path = pathlib.Path(folder) / f'{name}.png'
    Image.fromarray(drawn.image).save(path)
    paths.append(os.fspath(path))
  return tuple(paths)
