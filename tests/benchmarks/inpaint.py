"""How long a photograph of 12 megapixels takes, at first and then.

python tests/benchmarks/inpaint.py [--workdir W]

A drawn face 700 px wide in a 4,000 x 3,000 JPEG, and another as its reference:
both are read and searched for faces each time, and the result is written. The
first call is in a process of its own without a cache of compiled programs.
"""

import argparse
import cProfile
import os
import pathlib
import pstats
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from PIL import Image

from exgan_jax.photo.files import inpaint_file
from exgan_jax.photo.inpainter import Inpainter
from tfds_celeb_id.synth_id import renderer

SIZE = 3000, 4000
CALLS = 7


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir')
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    photo, reference = (
      _photograph(folder / name, scene, name == 'blinked.jpg')
      for scene, name in enumerate(('blinked.jpg', 'open.jpg'))
    )
    output = folder / 'output.jpg'
    more = ['--workdir', arguments.workdir] if arguments.workdir else []
    begin = time.perf_counter()
    subprocess.run(
      [
        sys.executable, '-c', 'from exgan_jax.cli import run; run()',
        'inpaint', photo, '--reference', reference, '--output', output, *more,
      ],
      env=os.environ | {'JAX_ENABLE_COMPILATION_CACHE': '0'},
      check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    print(f'first call, the process included: {_since(begin):.1f} s')
    with Inpainter.from_workdir(arguments.workdir) as inpainter:
      profile, taken = cProfile.Profile(), []
      for call in range(-1, CALLS):
        begin = time.perf_counter()
        inpaint_file(inpainter, photo, [reference], output)
        if call >= 0:
          taken.append(_since(begin))
      profile.runcall(inpaint_file, inpainter, photo, [reference], output)
  quartiles = statistics.quantiles(taken, n=4)
  print(
    f'then: {quartiles[1]:.2f} s (median of {CALLS};'
    f' {min(taken):.2f} to {max(taken):.2f})'
  )
  print(f'of it in Python code: {_share_of_python(profile):.0%}')
  print('load average:', *os.getloadavg())


def _since(begin: float) -> float:
  return time.perf_counter() - begin


def _photograph(path: pathlib.Path, scene: int, closed: bool) -> str:
  drawn = renderer.render(
    renderer.sample_person(1, 4),
    renderer.sample_scene(1, 4, scene),
    900,
    eyes_closed=closed,
  )
  random = np.random.default_rng(scene)
  cells = random.integers(60, 200, (30, 40, 3), np.uint8)
  image = cv2.resize(cells, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
  image[900:1800, 1500:2400] = drawn.image
  noisy = image + random.normal(0, 4, image.shape)
  Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(
    path, quality=92
  )
  return os.fspath(path)


def _share_of_python(profile: cProfile.Profile) -> float:
  """The part of the time that is spent neither in C nor waiting for it."""
  found = pstats.Stats(profile).stats
  own = {key: values[2] for key, values in found.items()}
  python = sum(time for key, time in own.items() if key[0] != '~')
  return python / sum(own.values())


if __name__ == '__main__':
  main()
