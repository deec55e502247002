"""The columns of the report's tables, and the paper's numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from exgan_jax.evaluation.results import Metrics

PAPER = 'arXiv:1712.03999'
PAPER_URL = 'https://arxiv.org/abs/1712.03999'
PAPER_DATASET = 'celeb_id'
HOW_TO_READ = (
  'Parentheses: difference to gan. Square brackets: 95 % interval, by bootstrap'
  ' if nothing else is said. ±: standard deviation over runs.'
)
# The rows on Celeb-ID: L1, MS-SSIM as a distance, FID, Inception Score.
PAPER_METRICS: dict[str, Metrics] = {
  model: dict(
    zip(('l1', 'ms_ssim', 'fid', 'inception_score'), row, strict=True)
  )
  for model, row in {
    'gan': (7.36e-3, 8.44e-3, 15.30, 3.72),
    'reference': (7.15e-3, 7.97e-3, 15.66, 3.56),
    'code': (7.00e-3, 7.80e-3, 14.62, 3.77),
  }.items()
}


@dataclasses.dataclass(frozen=True)
class Column:
  """A metric.

  Attributes:
    metric: name in results.json.
    title: title of the column.
    digits: digits after the decimal point.
    best: the best value; -inf if lower is better, inf if higher is, None if
      neither.
  """

  metric: str
  title: str
  digits: int
  best: float | None = -math.inf

  @property
  def direction(self) -> str:
    if self.best is None:
      return ''
    words = {-math.inf: 'lower is better', math.inf: 'higher is better'}
    return words.get(self.best, f'nearest to {self.best:g} is best')

  @property
  def arrow(self) -> str:
    """The direction in short."""
    if self.best is None:
      return ''
    return {-math.inf: '↓', math.inf: '↑'}.get(self.best, f'→ {self.best:g}')

  def badness(self, value: float) -> float:
    """Returns a number that is smaller for better values."""
    assert self.best is not None
    if math.isinf(self.best):
      return math.copysign(value, -self.best) if value else value
    return abs(value - self.best)


class Theme(NamedTuple):
  """A table: what it is about, what is good and what fools it; its columns."""

  title: str
  note: str
  columns: tuple[Column, ...]


_HIGHER = math.inf
# Metrics of the features of a network: name, title, digits and best value.
_OF_FEATURES = (
  ('fid', 'FID', 2, -math.inf),
  ('kid', 'KID', 4, -math.inf),
  ('u_ids', 'U-IDS', 3, 0.5),
  ('p_ids', 'P-IDS', 3, 0.5),
  ('precision', 'precision', 3, _HIGHER),
  ('recall', 'recall', 3, _HIGHER),
)
THEMES = (
  Theme(
    "Whole images: the paper's table",
    'Most pixels of each image are not in-painted, so all methods look alike'
    ' here.',
    (
      Column('l1', 'L1', 5),
      Column('ms_ssim', '1 - MS-SSIM', 5),
      Column('fid', 'FID', 2),
      Column('inception_score', 'Inception Score', 2, _HIGHER),
    ),
  ),
  Theme(
    'Fidelity: are these the eyes that were hidden?',
    'Differences to the true picture; 0 is perfect, and a color difference of 1'
    ' is just visible. A blur fools L1, which prefers a mean of all answers to'
    ' a sharp answer a pixel off. LPIPS is less easily fooled, but it also'
    ' counts a true detail that is moved.',
    (
      Column('l1_hole', 'L1 of the hole', 5),
      Column('lpips', 'LPIPS of the eyes', 4),
      Column('lpips_hole', 'LPIPS of the hole', 4),
      Column('iris_delta_e', 'iris CIEDE2000', 2),
      Column('lid_delta_e', 'lid CIEDE2000', 2),
    ),
  ),
  Theme(
    'The eyes of blinks',
    'Of a strip of 400 x 160 px that is aligned by the eye corners, against the'
    ' true open eyes of that moment. other_side, the open frame on the other'
    ' side of the blink, shows how near a perfect result would come.',
    (
      Column('lpips_strip', 'LPIPS of the strip', 4),
      Column('l1_strip', 'L1 of the strip', 5),
      Column('worse_than_untouched', 'share worse than doing nothing', 3),
    ),
  ),
  Theme(
    "Realism: could these be anybody's eyes?",
    'Sharpness and contrast over those of the truth, where 1 is good, less is a'
    ' smear and more is noise; and how often a classifier tells painted holes'
    " from true ones, where 0.5 means that it cannot. A stranger's sharp eyes"
    ' fool all of them, ringing and noise fool sharpness, and few pictures make'
    ' the classifier weaker.',
    (
      Column('sharpness', 'sharpness', 2, 1.0),
      Column('spectrum_low', 'coarse contrast', 2, 1.0),
      Column('spectrum_high', 'fine contrast', 2, 1.0),
      Column('classifier_accuracy', 'told by a classifier', 3, 0.5),
    ),
  ),
  Theme(
    'Realism of all holes together',
    'Holes of many pictures against as many true ones, by Inception features.'
    " Strangers' eyes fool them as well, and few pictures make FID and the"
    ' discriminative scores worse.',
    tuple(
      Column(f'{name}_hole', f'{title} of the hole', digits, best)
      for name, title, digits, best in _OF_FEATURES
    ),
  ),
  Theme(
    'Identity: is this the same person?',
    'Cosines of face embeddings of the result and other pictures; the stranger'
    ' is the control. Most of a face is not painted, so all methods get high'
    ' values: compare differences. A copy of the reference, in its light,'
    ' scores well here.',
    (
      Column('identity_truth', 'cosine to the truth', 3, _HIGHER),
      Column('identity_reference', 'cosine to the reference', 3, _HIGHER),
      Column('identity_stranger', 'cosine to a stranger', 3, None),
      Column('identity_auc', 'AUC over people', 4, _HIGHER),
    ),
  ),
  Theme(
    'Identity: influence of the reference',
    "Each image is also in-painted with a stranger's reference: the more that"
    ' costs, the more the model uses its reference.',
    (
      Column(
        *('l1_hole_swapped_ratio', 'L1 of the hole, stranger / same person'),
        *(3, None),
      ),
      Column('iris_delta_e_swapped', 'iris CIEDE2000, stranger', 2, None),
      Column('code_distance', 'code distance', 2),
      Column('code_distance_swapped', 'code distance, stranger', 2, None),
    ),
  ),
  Theme(
    'Told from real?',
    'By people. The first is 0.5 where painted pictures cannot be told from'
    ' true ones. Of the painted pictures of the paper, 54 % were taken for real'
    ' or not told.',
    (
      Column('painted_found', 'painted one of two found', 3, 0.5),
      Column('painted_real', 'painted taken for real, or not told', 3, _HIGHER),
      Column('true_real', 'true taken for real, or not told', 3, None),
      Column('painted_same', 'painted taken for the same person', 3, _HIGHER),
      Column('true_same', 'true taken for the same person', 3, None),
    ),
  ),
  Theme(
    'Geometry: are the eyes where they were, and do they look the same way?',
    "Errors of a face mesh's points; 0 is perfect. Distances are in units of"
    " the eyes' distance; vergence is how differently the two eyes look. The"
    ' mesh guesses from the whole face, so it finds tidy eyes in a smear, and'
    ' pictures without a face are left out.',
    (
      Column('lid_error', 'lid error', 4),
      Column('iris_error', 'iris error', 4),
      Column('vergence_error', 'vergence error', 4),
    ),
  ),
  Theme(
    'With unverified weights',
    'Not the weights that define FID: compare only within this table.',
    tuple(
      Column(f'{name}_unverified', f'{title}, unverified', digits, best)
      for name, title, digits, best in (
        ('frechet_distance', 'Fréchet distance', 2, -math.inf),
        ('inception_score', 'Inception Score', 2, _HIGHER),
        ('frechet_distance_hole', 'Fréchet distance, hole', 2, -math.inf),
        ('kernel_distance_hole', 'kernel distance, hole', 4, -math.inf),
        ('precision_hole', 'precision, hole', 3, _HIGHER),
        ('recall_hole', 'recall, hole', 3, _HIGHER),
      )
    ),
  ),
  Theme(
    'The compressor',
    'Of its reconstructed eyes and of its codes.',
    (
      Column('l1_eyes', 'L1 of the eyes', 5),
      Column('verification_auc', 'verification AUC', 3, _HIGHER),
    ),
  ),
)
"""The tables of the report."""
