"""Writes ms_ssim_expected.json: what other libraries say of formula pictures.

    pip install torch pytorch-msssim tensorflow-cpu
    python make_ms_ssim_expected.py

pytorch-msssim 1.0.0 in float64 where every scale has even sides, and
TensorFlow, in float32, where not (it alone pads odd sides as we do).
"""

import json
import pathlib

import numpy as np

EXPECTED = pathlib.Path(__file__).with_name('ms_ssim_expected.json')
SIZES = {  # (height, width) -> who is asked
  (176, 176): 'pytorch-msssim',
  (256, 192): 'pytorch-msssim',
  (161, 161): 'tensorflow',
  (203, 250): 'tensorflow',
}
KINDS = ('patch', 'noise', 'contrast', 'negative')


def pictures(kind: str, height: int, width: int):
  """Makes an original and a distorted picture, uint8 [H, W, 3]."""
  y, x, c = np.mgrid[:height, :width, :3]
  waves = np.sin(x / (5 + c)) + np.cos(y / 11 + c) + np.sin(x * y / 997)
  x, y, c = (a.astype(np.uint32) for a in (x, y, c))
  grain = x * 1597 + y * 51749 + c * 244944 + 7  # wraps, as it should
  for _ in range(3):
    grain = (grain ^ (grain >> 15)) * np.uint32(2246822519)
  grain = (grain >> 24) / 255 - 0.5
  original = 0.5 + waves / 8 + grain / 10
  if kind == 'patch':  # as an in-painted box
    distorted = original.copy()
    distorted[60:100, 40:100] = 0.5
  elif kind == 'noise':
    distorted = original + grain[::-1] / 4
  elif kind == 'contrast':
    distorted = 0.6 * original + 0.3
  else:  # one channel clamped to 0, two channels equal
    distorted = original.copy()
    distorted[..., 0] = 1 - original[..., 0]
  return tuple(
    np.rint(np.clip(a, 0, 1) * 255).astype(np.uint8)
    for a in (original, distorted)
  )


def _pytorch_msssim(original, distorted):
  import pytorch_msssim
  import torch

  a, b = (
    torch.tensor(p).permute(2, 0, 1)[None].double() / 255
    for p in (original, distorted)
  )
  return 1 - pytorch_msssim.ms_ssim(a, b, data_range=1.0).item()


def _tensorflow(original, distorted):
  import tensorflow as tf

  a, b = (tf.constant(p[None] / 255, tf.float32) for p in (original, distorted))
  return 1 - float(tf.image.ssim_multiscale(a, b, 1.0)[0])


def main():
  """Asks the libraries and writes the file."""
  ask = {'pytorch-msssim': _pytorch_msssim, 'tensorflow': _tensorflow}
  rows = [
    {
      'size': size,
      'library': library,
      'distances': {
        kind: ask[library](*pictures(kind, *size)) for kind in KINDS
      },
    }
    for size, library in SIZES.items()
  ]
  lines = ',\n'.join(json.dumps(row) for row in rows)
  EXPECTED.write_text(f'[\n{lines}\n]\n')


if __name__ == '__main__':
  main()
