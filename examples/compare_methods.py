"""Compares two in-painting methods on the same pictures.

python examples/compare_methods.py originals masks results_a results_b

All folders hold pictures with the same file names.
"""

import sys

import exgan_jax


def main(originals: str, masks: str, *results: str) -> None:
  print(f'{"":20} {"L1 in the hole":>15} {"1 - MS-SSIM":>15}')
  for folder in results:
    score = exgan_jax.score_folders(originals, folder, masks=masks)
    hole, ms_ssim = (score.metrics[name] for name in ('l1_hole', 'ms_ssim'))
    print(f'{folder[-20:]:20} {hole:15.5f} {ms_ssim:15.5f}')


if __name__ == '__main__':
  try:
    main(*sys.argv[1:])
  except exgan_jax.InputError as error:
    sys.exit(str(error))
