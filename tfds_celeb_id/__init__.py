"""Data sets of aligned faces, a few pictures of each person, as TFDS builders.

Importing this package registers them: `photo_id` and `synth_id`.
"""

from tfds_celeb_id import photo_id, synth_id
from tfds_celeb_id.errors import InputError

__all__ = ['InputError', 'photo_id', 'synth_id']
