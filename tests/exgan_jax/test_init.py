"""The public names."""

import pytest

import exgan_jax


def test_every_public_name_is_there():
  for name in exgan_jax.__all__:
    assert getattr(exgan_jax, name) is not None
  assert dir(exgan_jax) == sorted(exgan_jax.__all__)


def test_no_other_name_is():
  with pytest.raises(AttributeError, match='no attribute'):
    _ = exgan_jax.wrong
