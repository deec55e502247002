"""Opens the eyes in one photo, from Python.

python examples/open_eyes.py blinked.jpg open.jpg opened.png
"""

import sys

from PIL import Image

import exgan_jax


def main(photo: str, reference: str, output: str) -> None:
  inpainter = exgan_jax.Inpainter.from_workdir()  # The model in the package.
  with inpainter:
    picture = inpainter(photo, reference)
  # The array has the pixels only; `exgan inpaint` also keeps the metadata.
  Image.fromarray(picture).save(output)


if __name__ == '__main__':
  try:
    main(*sys.argv[1:])
  except exgan_jax.InputError as error:
    sys.exit(f'{sys.argv[1]}: {error}')
