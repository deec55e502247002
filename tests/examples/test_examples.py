"""The examples run as they are, on tiny data."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

import exgan_jax
from tfds_celeb_id.synth_id import renderer

EXAMPLES = pathlib.Path(__file__).parents[2] / 'examples'
PHOTOS = pathlib.Path(exgan_jax.__file__).parent / 'photo' / 'example'


def _main(name):
  spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.main


def _differs(one, other):
  pictures = [np.asarray(Image.open(path)) for path in (one, other)]
  return np.mean(pictures[0] != pictures[1])


def test_open_eyes(bundle, monkeypatch, tmp_path):
  monkeypatch.setenv('EXGAN_FACE_LANDMARKER', str(bundle))
  before, output = PHOTOS / 'blinked.jpg', tmp_path / 'opened.png'
  _main('open_eyes')(str(before), str(PHOTOS / 'open.jpg'), str(output))
  assert 0 < _differs(before, output) < 0.2


def test_the_notebook(bundle, monkeypatch, capsys):
  monkeypatch.setenv('EXGAN_FACE_LANDMARKER', str(bundle))
  cells = json.loads((EXAMPLES / 'open_eyes.ipynb').read_text())['cells']
  names = {}
  for cell in cells:
    if cell['cell_type'] == 'code':
      assert not cell['outputs'], 'clear the outputs before committing'
      exec(''.join(cell['source']), names)
  assert names['picture'].dtype == np.uint8
  assert 'open' in capsys.readouterr().out


@pytest.mark.slow
def test_train_and_evaluate(bundle, monkeypatch, tmp_path, capsys):
  monkeypatch.setenv('EXGAN_FACE_LANDMARKER', str(bundle))
  for person in range(24):
    folder = tmp_path / 'photos' / f'person {person}'
    folder.mkdir(parents=True)
    for picture in range(2):
      drawn = renderer.render(
        renderer.sample_person(0, person),
        renderer.sample_scene(0, person, picture),
        256,
      )
      Image.fromarray(drawn.image).save(folder / f'{picture}.jpg')
  _main('train_and_evaluate')(
    str(tmp_path / 'photos'), str(tmp_path / 'out'), '2'
  )
  results = json.loads((tmp_path / 'out' / 'results.json').read_text())
  assert results['num_images'] > 0
  printed = capsys.readouterr().out
  assert 'model:' in printed and 'telea:' in printed


def test_compare_methods(tmp_path, capsys):
  noise = np.random.default_rng(0)
  mask = np.zeros((32, 32), np.uint8)
  mask[8:16, 8:24] = 255
  for name in ('originals', 'masks', 'near', 'far'):
    (tmp_path / name).mkdir()
  for i in range(3):
    image = noise.integers(40, 200, (32, 32, 3), dtype=np.uint8)
    changes = {'originals': 0, 'near': 1, 'far': 30}
    for name, change in changes.items():
      changed = image + np.uint8(change) * (mask[..., None] > 0)
      Image.fromarray(changed).save(tmp_path / name / f'{i}.png')
    Image.fromarray(mask).save(tmp_path / 'masks' / f'{i}.png')
  folders = [
    str(tmp_path / name) for name in ('originals', 'masks', 'near', 'far')
  ]
  _main('compare_methods')(*folders)
  near, far = capsys.readouterr().out.splitlines()[1:]
  assert float(near.split()[-2]) == pytest.approx(1 / 255, abs=1e-5)
  assert float(far.split()[-2]) == pytest.approx(30 / 255, abs=1e-5)
