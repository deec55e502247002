"""LPIPS and sharpness of what `exgan evaluate --pictures DIR` wrote.

python holes.py DIR [DIR ...] --lpips lpips_alexnet.npz

LPIPS compares the rows around the holes, half of the picture's. Sharpness is
the gradient energy inside the holes, result over original.
"""

import argparse
import pathlib

import cv2
import jax
import numpy as np
from PIL import Image

from exgan_jax.models import lpips

BATCH = 44


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('folders', nargs='+', type=pathlib.Path)
  parser.add_argument('--lpips', required=True)
  arguments = parser.parse_args()
  weights = lpips.load(arguments.lpips)
  distance = jax.jit(lambda one, other: lpips.distance(weights, one, other))
  for folder in arguments.folders:
    names = sorted(path.name for path in (folder / 'original').glob('*.png'))
    bands, energies = [], []
    for name in names:
      original, result, mask = (
        np.asarray(Image.open(folder / kind / name).convert('RGB'))
        for kind in ('original', 'result', 'mask')
      )
      hole = mask[..., 0] > 127
      bands.append([band(image, hole) for image in (original, result)])
      energies.append([energy(image, hole) for image in (original, result)])
    originals, results = np.swapaxes(np.float32(bands), 0, 1)
    distances = [
      distance(originals[i : i + BATCH], results[i : i + BATCH])
      for i in range(0, len(names), BATCH)
    ]
    original, result = np.sum(energies, axis=0)
    print(
      f'{folder}: {len(names)} pictures, '
      f'LPIPS {np.concatenate(distances).mean():.4f}, '
      f'sharpness {result / original:.2f}'
    )


def band(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
  """The half of the rows that has the holes in its middle, in [-1, 1]."""
  rows = np.flatnonzero(hole.any(axis=1))
  height = len(image) // 2
  top = np.clip((rows[0] + rows[-1]) // 2 - height // 2, 0, height)
  return image[top : top + height] / np.float32(127.5) - 1


def energy(image: np.ndarray, hole: np.ndarray) -> float:
  """Squared gradients, two pixels or more inside the hole."""
  inner = cv2.erode(hole.astype(np.uint8), np.ones((5, 5), np.uint8))[:-1, :-1]
  grey = image.astype(np.float64).mean(axis=-1)
  across, down = np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1]
  return float(((across**2 + down**2) * inner).sum())


if __name__ == '__main__':
  main()
