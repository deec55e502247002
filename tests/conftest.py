"""Strict numerics for every test, and what many of them look at."""

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

_SHARED = pathlib.Path(__file__).parents[2] / 'shared'


@pytest.fixture(scope='session')
def photographs() -> pathlib.Path:
  """Folder of real photographs; they are no part of the project."""
  folder = pathlib.Path(os.environ.get('EXGAN_TEST_DATA') or _SHARED / 'data')
  if not folder.is_dir():
    pytest.skip('no real photographs: EXGAN_TEST_DATA names no folder')
  return folder


@pytest.fixture(scope='session')
def bundle() -> pathlib.Path:
  """Path of the face landmark bundle, where MediaPipe is installed too."""
  pytest.importorskip('mediapipe')
  named = os.environ.get('EXGAN_FACE_LANDMARKER')
  path = pathlib.Path(named or _SHARED / 'models' / 'face_landmarker.task')
  if not path.is_file():
    pytest.skip('no bundle: EXGAN_FACE_LANDMARKER names no file')
  return path


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
