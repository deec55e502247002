"""Exemplar GANs that open eyes in photographs.

config = exgan_jax.make_config('reference', 'small', dataset='synth_id',
                               data_dir=D, workdir=W)
exgan_jax.train(config)
results = exgan_jax.evaluate(W, D, split='test', baselines=True)
photograph = exgan_jax.Inpainter.from_workdir(W)('blinked.jpg', 'open.jpg')
"""

from exgan_jax.config import Config
from exgan_jax.config import make as make_config
from exgan_jax.evaluate import evaluate
from exgan_jax.inpaint import Inpainter
from exgan_jax.results import Results
from exgan_jax.train import train
from tfds_celeb_id import InputError

__all__ = [
  'Config',
  'Inpainter',
  'InputError',
  'Results',
  'evaluate',
  'make_config',
  'train',
]
