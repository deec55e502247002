"""Where the real photographs and the face landmark bundle are, if anywhere."""

import os
import pathlib

import pytest

_SHARED = pathlib.Path(__file__).parents[3] / 'shared'


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
