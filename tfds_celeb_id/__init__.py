"""Data sets of aligned faces, a few pictures of each person, as TFDS builders.

Importing this package registers them: `celeb_id`, `photo_id` and `synth_id`.
"""

from exgan_jax.errors import InputError
from tfds_celeb_id import celeb_id, photo_id, synth_id

__all__ = ['InputError', 'celeb_id', 'photo_id', 'synth_id']
