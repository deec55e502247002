"""Builds synth_id without the `tfds` command, which needs TensorFlow."""

import argparse
import logging
import sys

from exgan_jax.errors import InputError
from tfds_celeb_id import synth_id


def main() -> int:
  """Runs the command; returns its exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m tfds_celeb_id.synth_id', description=__doc__
  )
  parser.add_argument(
    '--data-dir', required=True, help='folder of the data sets'
  )
  parser.add_argument('--people', help='number of people (1000)')
  parser.add_argument('--pictures', help='open-eyed pictures per person (6)')
  parser.add_argument('--seed', help='of the random numbers (0)')
  args = parser.parse_args()
  logging.basicConfig(format='%(message)s')
  logging.getLogger('tfds_celeb_id').setLevel(logging.INFO)
  try:
    builder = synth_id.Builder(
      data_dir=args.data_dir,
      people=args.people,
      pictures=args.pictures,
      seed=args.seed,
    )
    builder.download_and_prepare()
  except InputError as error:
    print(f'synth_id: {error}', file=sys.stderr)
    return 2
  print(builder.data_dir)
  return 0


if __name__ == '__main__':
  sys.exit(main())
