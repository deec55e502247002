"""Strict numerics for every test, and one tiny drawn data set for all."""

import os
import pathlib

# Before JAX starts: two devices, so that what is sharded is seen to be.
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=2'
)

import jax
import pytest

jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_platforms', 'cpu')
# Most of the suite's time would be the compilation of the same programs.
jax.config.update(
  'jax_compilation_cache_dir',
  os.environ.get('JAX_COMPILATION_CACHE_DIR')
  or str(pathlib.Path.home() / '.cache' / 'exgan_jax' / 'xla-tests'),
)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


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
