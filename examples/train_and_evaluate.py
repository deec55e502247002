"""Builds a data set from a folder of photos, trains on it, and evaluates.

python examples/train_and_evaluate.py photos output [steps]

`photos` has one folder per person, with at least two photos each.
"""

import pathlib
import sys

import tensorflow_datasets as tfds

import exgan_jax
from tfds_celeb_id import photo_id


def main(photos: str, output: str, steps: str = '1000') -> None:
  folder = pathlib.Path(output)
  data = str(folder / 'data')
  builder = photo_id.Builder(data_dir=data)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=photos)
  )
  config = exgan_jax.make_config(
    'transfer',
    'tiny',
    dataset='photo_id',
    data_dir=data,
    workdir=str(folder / 'run'),
    resolution=64,
    batch_size=8,
    steps=int(steps),
    warmup_steps=9 * int(steps) // 10,
  )
  exgan_jax.train(config)
  results = exgan_jax.evaluate(
    config.workdir,
    config.data_dir,
    split='test',
    baselines=True,
    output=folder / 'results.json',
  )
  print(f'model: {results.metrics["l1_hole"]:.4f}')
  for name, metrics in results.baselines.items():
    print(f'{name}: {metrics["l1_hole"]:.4f}')


if __name__ == '__main__':
  try:
    main(*sys.argv[1:])
  except exgan_jax.InputError as error:
    sys.exit(str(error))
