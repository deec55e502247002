"""Strict numerics for every test, and one tiny drawn data set for all."""

import os
import pathlib

# Before JAX starts, and for the processes that tests start: two devices, so
# that what is sharded is seen to be, and a cache of compiled programs, which
# would otherwise take most of the suite's time.
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=2'
)
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path.home() / '.cache' / 'exgan_jax' / 'tests'),
)
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.3'

import jax
import pytest

jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='session')
def synth_data(tmp_path_factory) -> str:
  """Folder with a `synth_id` of few people."""
  from tfds_celeb_id import synth_id

  data_dir = tmp_path_factory.mktemp('data')
  builder = synth_id.Builder(
    data_dir=str(data_dir), people=60, pictures=3, seed=0, workers=0
  )
  builder.download_and_prepare()
  return str(data_dir)
