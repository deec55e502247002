"""The columns of the report's tables, and the paper's numbers."""

from __future__ import annotations

import dataclasses

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
    better: -1 if lower is better, 1 if higher is, 0 if neither.
  """

  metric: str
  title: str
  digits: int
  better: int = -1

  @property
  def direction(self) -> str:
    return ('lower is better', '', 'higher is better')[self.better + 1]


# The title, note and columns of each table.
THEMES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
  (
    "Whole images: the paper's table",
    'Most pixels of each image are not in-painted.',
    (
      Column('l1', 'L1', 5),
      Column('ms_ssim', '1 - MS-SSIM', 5),
      Column('fid', 'FID', 2),
      Column('inception_score', 'Inception Score', 2, 1),
    ),
  ),
  (
    'In the hole',
    'Only of the in-painted pixels.',
    (
      Column('l1_hole', 'L1 of the hole', 5),
      Column('ms_ssim_hole', '1 - MS-SSIM of the hole', 5),
      Column('lpips', 'LPIPS of the eyes', 4),
      Column('fid_hole', 'FID of the hole', 2),
      Column('inception_score_hole', 'Inception Score of the hole', 2, 1),
    ),
  ),
  (
    'The eyes of blinks',
    'Of a strip of 400 x 160 px that is aligned by the eye corners, against the'
    ' true open eyes of that moment. other_side, the open frame on the other'
    ' side of the blink, shows how near a perfect result would come.',
    (
      Column('lpips_strip', 'LPIPS of the strip', 4),
      Column('l1_strip', 'L1 of the strip', 5),
      Column('worse_than_untouched', 'share worse than doing nothing', 3, 0),
    ),
  ),
  (
    'FID for infinitely many images',
    'FID falls as the number of images grows; this is its extrapolated limit.',
    (
      Column('fid_infinity', 'FID∞', 2),
      Column('fid_hole_infinity', 'FID∞ of the hole', 2),
    ),
  ),
  (
    'With unverified weights',
    'Not the weights that define FID: compare only within this table.',
    (
      *(
        Column(f'frechet_distance{kind}_unverified', f'{title}, unverified', 2)
        for kind, title in (
          ('', 'Fréchet distance'),
          ('_infinity', 'Fréchet distance∞'),
          ('_hole', 'Fréchet distance of the hole'),
          ('_hole_infinity', 'Fréchet distance∞ of the hole'),
        )
      ),
      *(
        Column(
          f'inception_score{kind}_unverified', f'{title}, unverified', 2, 1
        )
        for kind, title in (
          ('', 'Inception Score'),
          ('_hole', 'Inception Score of the hole'),
        )
      ),
    ),
  ),
  (
    'Influence of the reference',
    "Each image is also in-painted with a stranger's reference: the more that"
    ' costs, the more the model uses its reference.',
    (
      Column(
        'l1_hole_swapped_ratio', 'L1 of the hole, stranger / same person', 3, 0
      ),
      Column('code_distance', 'code distance', 2),
      Column('code_distance_swapped', 'code distance, stranger', 2, 0),
      Column('frechet_code_distance', 'Fréchet distance of codes', 2),
      Column('iris_delta_e', 'iris CIEDE2000', 2),
      Column('iris_delta_e_swapped', 'iris CIEDE2000, stranger', 2, 0),
    ),
  ),
  (
    'Told from real?',
    'By people. The first is 0.5 where painted pictures cannot be told from'
    ' true ones. Of the painted pictures of the paper, 54 % were taken for real'
    ' or not told.',
    (
      Column('painted_found', 'painted one of two found', 3, 0),
      Column('painted_real', 'painted taken for real, or not told', 3, 1),
      Column('true_real', 'true taken for real, or not told', 3, 0),
      Column('painted_same', 'painted taken for the same person', 3, 1),
      Column('true_same', 'true taken for the same person', 3, 0),
    ),
  ),
  (
    'The compressor',
    'Of its reconstructed eyes and of its codes.',
    (
      Column('l1_eyes', 'L1 of the eyes', 5),
      Column('verification_auc', 'verification AUC', 3, 1),
    ),
  ),
)
