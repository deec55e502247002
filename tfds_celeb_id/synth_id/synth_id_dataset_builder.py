"""synth_id: drawn faces, the same on every machine; needs no input."""

import functools
import os
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from exgan_jax.errors import InputError
from tfds_celeb_id import work
from tfds_celeb_id.builder import RecordsBuilder
from tfds_celeb_id.synth_id import scenes

# Setting: default, least, most.
_SETTINGS = {
  'people': (1000, 1, 1_000_000),
  'pictures': (6, 2, 1000),
  'seed': (0, 0, 2**31 - 1),
}


class Builder(RecordsBuilder):
  """Drawn people whose eyes can only be known from another picture."""

  VERSION = tfds.core.Version('1.2.0')
  RELEASE_NOTES: ClassVar = {
    '1.0.0': 'First version.',
    '1.1.0': 'Positions of the irises (`irises`); the pictures are the same.',
    '1.2.0': 'Corners of the eyes (`corners`); the pictures are the same.',
  }
  SIZE = 128
  EXTRA_FEATURES: ClassVar = {
    'iris_rgb': tfds.features.Tensor(
      shape=(3,), dtype=np.uint8, doc='Color of the irises in white light.'
    ),
    'irises': tfds.features.Tensor(
      shape=(2, 3),
      dtype=np.float32,
      doc='Centers and radii (x, y, radius) of the left and the right iris in '
      'pixels, as with open eyes.',
    ),
    'truth': tfds.features.Text(
      doc='In `closed`, the same scene with open eyes as JPEG bytes.'
    ),
  }

  def __init__(
    self,
    *,
    people: int | None = None,
    pictures: int | None = None,
    seed: int | None = None,
    **kwargs,
  ):
    """Opens the data set, which may exist already.

    Defaults are the environment variables `EXGAN_SYNTH_PEOPLE`,
    `EXGAN_SYNTH_PICTURES` and `EXGAN_SYNTH_SEED`, or else 1,000 people, 6
    pictures and seed 0.

    Args:
      people: number of people.
      pictures: number of open-eyed pictures of each, at least two.
      seed: of the random numbers.
      **kwargs: as in `RecordsBuilder`.
    """
    super().__init__(**kwargs)
    self._given = {'people': people, 'pictures': pictures, 'seed': seed}

  def _parameters(self) -> dict[str, int]:
    return {name: _number(name, given) for name, given in self._given.items()}

  def _work(self, dl_manager):
    del dl_manager
    settings = self._parameters()
    tasks = scenes.tasks(
      settings['seed'], settings['people'], settings['pictures']
    )
    return work.Work(functools.partial(scenes.draw, size=self.SIZE), tasks)


def _number(name: str, given: Any) -> int:
  """Returns the value of a setting, or its default if `given` is None."""
  default, least, most = _SETTINGS[name]
  if given is None:
    given = os.environ.get(f'EXGAN_SYNTH_{name.upper()}', default)
  try:
    number = int(given)
  except (TypeError, ValueError):
    number = least - 1
  if not least <= number <= most:
    raise InputError(
      f'{name} must be a whole number from {least} to {most}, not {given!r}'
    )
  return number
