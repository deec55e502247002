"""The measures of images: what each needs, and how its values are collected."""

from __future__ import annotations

import dataclasses

from exgan_jax.evaluation.faces import GEOMETRY, IDENTITY
from exgan_jax.evaluation.metrics import BANDS, two_sample

NO_TRUTH = 'the split has no images of the same scenes with open eyes'
NO_STRANGER = 'the split has images of only one person'
NO_HOLES = 'no mask has a hole'
NO_FACES = 'no face was found in an original and its result'
# What a measure needs besides images, and what is said without it.
NEEDS = {
  'masks': 'needs hole masks (--masks)',
  'lpips': 'needs the LPIPS weights (--lpips)',
  'compressor': 'needs a compressor (--compressor)',
  'landmarker': 'needs the face landmark bundle (--face-landmarker)',
  'embedding': 'needs a face recognition network (--face-embedding)',
  'irises': 'the data set has no iris positions; --face-landmarker finds them',
}


@dataclasses.dataclass(frozen=True)
class Measure:
  """How the values of a metric are collected.

  Attributes:
    needs: names in `NEEDS`.
    otherwise: why there are no values although there is what it needs.
    by_median: whether images are summarized by the median instead of the mean.
    of_eyes: whether there are two values per image.
    has_swapped: whether it is also measured with a stranger's reference, as
      `<name>_swapped`.
    of_folders: whether two folders of images and masks determine it.
  """

  needs: tuple[str, ...] = ()
  otherwise: str = NO_TRUTH
  by_median: bool = False
  of_eyes: bool = False
  has_swapped: bool = False
  of_folders: bool = True


_COLOR = Measure(('landmarker',), NO_FACES, by_median=True, of_eyes=True)
_HOLE = Measure(('masks',), NO_HOLES)
_RATIO = dataclasses.replace(_HOLE, by_median=True)
_FACE = Measure(('landmarker',), NO_FACES)
_IDENTITY = Measure(('landmarker', 'embedding'), NO_FACES)
CODES = 'code_distance'
IRISES, LIDS = 'iris_delta_e', 'lid_delta_e'
LPIPS = 'lpips'
CLASSIFIER = 'classifier_accuracy'

MEASURES = {
  'l1': Measure(),
  'l1_hole': dataclasses.replace(_HOLE, has_swapped=True),
  'ms_ssim': Measure(),
  LPIPS: Measure(('lpips',), NO_FACES),
  'lpips_hole': Measure(('masks', 'lpips'), NO_HOLES),
  'sharpness': _RATIO,
  **{f'spectrum_{band}': _RATIO for band in BANDS},
  IRISES: dataclasses.replace(_COLOR, needs=('irises',), has_swapped=True),
  LIDS: _COLOR,
  **dict.fromkeys(GEOMETRY, _FACE),
  IDENTITY[0]: _IDENTITY,
  **dict.fromkeys(
    IDENTITY[1:], dataclasses.replace(_IDENTITY, of_folders=False)
  ),
  CLASSIFIER: dataclasses.replace(_HOLE, otherwise=two_sample.TOO_FEW),
  CODES: Measure(('compressor',), has_swapped=True, of_folders=False),
}
# Computed of all images together: the AUC of telling people apart, and what a
# stranger's reference costs.
AUC, RATIO = 'identity_auc', 'l1_hole_swapped_ratio'
SWAPPED = '_swapped'
OF_FOLDERS = tuple(name for name, one in MEASURES.items() if one.of_folders)


def names() -> list[str]:
  """Returns all measures, and those with a stranger's reference."""
  swapped = [f'{k}{SWAPPED}' for k, one in MEASURES.items() if one.has_swapped]
  return [*MEASURES, *swapped]


def measure_of(name: str) -> Measure:
  """Returns what is known of a name in results.json."""
  if name == AUC:
    return MEASURES[IDENTITY[2]]
  return MEASURES[name.removesuffix('_ratio').removesuffix(SWAPPED)]
