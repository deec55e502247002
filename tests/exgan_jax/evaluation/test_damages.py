"""Which measure sees which damage: hand-made ones of true portraits.

The table in docs/evaluation.md is what is measured here.
"""

import pathlib
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from exgan_jax.evaluation.folders import score
from exgan_jax.evaluation.metrics import geometry
from exgan_jax.face_records.landmarks import FaceLandmarker

pytestmark = pytest.mark.slow

PEOPLE = 32
# Eyes are this many pixels apart, in pictures of this side.
DISTANCE, SIDE = 100, 384
CORNERS = [33, 133, 362, 263]
# What a measure has without damage, and by how much it differs where it sees
# one. Below these, people would hardly see it either.
PERFECT = {
  'l1_hole': (0, 0.02),
  'ms_ssim': (0, 0.003),
  'lpips': (0, 0.02),
  'lpips_hole': (0, 0.02),
  'iris_delta_e': (0, 6),
  'lid_delta_e': (0, 2.8),
  'sharpness': (1, 0.15),
  'spectrum_low': (1, 0.15),
  'spectrum_high': (1, 0.15),
  'classifier_accuracy': (0.5, 0.2),
  'identity_truth': (1, 0.1),
  'lid_error': (0, 0.015),
  'iris_error': (0, 0.015),
  'vergence_error': (0, 0.02),
}
DOCS = pathlib.Path(__file__).parents[3] / 'docs' / 'evaluation.md'


def _portraits(folder, finder):
  """Yields portraits of equal scale and their meshes."""
  for path in sorted(folder.glob('*/neutral_*.jpg'))[:PEOPLE]:
    image = np.asarray(Image.open(path).convert('RGB'))
    left, right = geometry.irises(finder.mesh(image))[:, :2]
    scale = DISTANCE / np.linalg.norm(right - left)
    size = [round(side * scale) for side in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    x, y = (left + right) * scale / 2 - SIDE * np.array([0.5, 0.4])
    top, start = round(y), round(x)
    image = image[top : top + SIDE, start : start + SIDE]
    yield image, finder.mesh(image)


def _hole(mesh):
  mask = np.zeros((SIDE, SIDE, 1), bool)
  for x, y in geometry.irises(mesh)[:, :2].round().astype(int):
    mask[y - 24 : y + 24, x - 32 : x + 32] = True
  return mask


def _stranger(image, mesh, other, other_mesh, hole):
  matrix, _ = cv2.estimateAffinePartial2D(other_mesh[CORNERS], mesh[CORNERS])
  moved = cv2.warpAffine(other, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
  inside = hole[..., 0]
  light = image[inside].mean(axis=0) - moved[inside].mean(axis=0)
  return moved + light


def _recolored(image, mesh):
  """The irises half blue."""
  rows, columns = np.mgrid[:SIDE, :SIDE]
  result = image.astype(float)
  for x, y, radius in geometry.irises(mesh):
    inside = np.hypot(columns - x, rows - y) < radius
    result[inside] = (result[inside] + (40, 110, 200)) / 2
  return result


def _damaged(portraits):
  """Yields names and pictures of each damage, done to the holes only."""
  damages = {}
  for i, (image, mesh) in enumerate(portraits):
    other, hole = portraits[i - 1], _hole(mesh)
    mean = image[hole[..., 0]].mean(axis=0)
    made = {
      'blurred': cv2.GaussianBlur(image, (0, 0), 0.03 * DISTANCE),
      'iris color': _recolored(image, mesh),
      "stranger's eyes": _stranger(image, mesh, *other, hole),
      'shifted': np.roll(image, round(0.03 * DISTANCE), axis=1),
      'low contrast': (image + mean) / 2,
    }
    for name, result in made.items():
      result = np.clip(np.rint(result), 0, 255).astype(np.uint8)
      damages.setdefault(name, []).append(np.where(hole, result, image))
  return damages


def _save(folder, images):
  folder.mkdir()
  for i, image in enumerate(images):
    Image.fromarray(image).save(folder / f'{i}.png')
  return folder


@pytest.fixture(scope='module')
def found(photographs, bundle, tmp_path_factory):
  """The metrics of each damage."""
  models = bundle.parent
  lpips = models / 'lpips_alexnet.npz'
  embedding = models / 'dlib_resnet_v1_arcface112_centred.onnx'
  if not (lpips.is_file() and embedding.is_file()):
    pytest.skip(f'no LPIPS weights or face embedding in {models}')
  with FaceLandmarker(bundle) as finder:
    portraits = list(_portraits(photographs / 'london', finder))
  folder = tmp_path_factory.mktemp('damages')
  originals = _save(folder / 'original', [image for image, _ in portraits])
  masks = _save(
    folder / 'mask',
    [
      255 * np.repeat(_hole(mesh), 3, 2).astype(np.uint8)
      for _, mesh in portraits
    ],
  )
  scores = {}
  for name, images in (
    {'none': [x for x, _ in portraits]} | _damaged(portraits)
  ).items():
    scores[name] = score(
      originals,
      _save(folder / name, images),
      masks=masks,
      lpips=lpips,
      face_landmarker=bundle,
      face_embedding=embedding,
    ).metrics
  return scores


def test_a_perfect_result_has_perfect_values(found):
  for name, (perfect, least) in PERFECT.items():
    assert found['none'][name] == pytest.approx(perfect, abs=least / 4), name


def test_the_table_in_the_docs_is_what_is_measured(found):
  names = [name for name in found if name != 'none']
  lines = ['| | ' + ' | '.join(names) + ' |', '|---' * (len(names) + 1) + '|']
  for metric, (perfect, least) in PERFECT.items():
    marks = []
    for name in names:
      off = found[name][metric] - perfect
      marks.append('' if abs(off) < least else '+' if off > 0 else '-')
    lines.append(f'| `{metric}` | ' + ' | '.join(marks) + ' |')
  table = re.search(
    r'<!-- damages -->\n\n(.*?)\n\n', DOCS.read_text(), re.DOTALL
  )[1]
  assert table == '\n'.join(lines)
