"""One process of an evaluation, with as many devices as it was given.

python evaluation_process.py WORKDIR DATA BATCH_SIZE OUTPUT [PORT INDEX]
"""

import sys

import jax
import jax.numpy as jnp

from exgan_jax import evaluate
from exgan_jax.evaluation import evaluator as evaluator_lib
from exgan_jax.evaluation import inception
from exgan_jax.evaluation.inception_features import Extractor, cut_out
from exgan_jax.evaluation.metrics import frechet_sampling, two_sample
from exgan_jax.runtime import sharding


def _small_network(mesh, *_):
  """Stands in for Inception, with as many features but faster."""
  weights = jax.random.normal(jax.random.key(0), (192, inception.FEATURES))

  def look(pictures):
    small = jax.image.resize(
      pictures.astype(jnp.float32) / 255.0,
      (len(pictures), 8, 8, 3),
      'linear',
      antialias=False,
    )
    features = jnp.tanh(small.reshape(len(pictures), -1) @ weights)
    return features, features[:, :8]

  def look_at_one(weights, batch):
    holes = cut_out(
      jnp.repeat(batch['pictures'], 2, axis=0),
      batch['boxes'].reshape(-1, 4),
      inception.SIDE,
    )
    return {
      '': look(batch['pictures']),
      '_hole': tuple(x[None] for x in look(holes)),
    }

  jitted = jax.jit(
    sharding.one_by_one(look_at_one, mesh),
    out_shardings=sharding.replicated(mesh),
  )
  return Extractor(
    lambda pictures, boxes: jitted(
      None, {'pictures': pictures, 'boxes': boxes}
    ),
    True,
    'of nothing',
  )


def main(workdir, data_dir, batch_size, output, port=None, index=None):
  """Evaluates, alone or as one of two processes."""
  if port is not None:
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(f'127.0.0.1:{port}', 2, int(index))
  evaluator_lib.make_extractor = _small_network
  frechet_sampling.RESAMPLES = 2
  two_sample._STEPS = 30
  results = evaluate(
    workdir,
    data_dir,
    split='train',
    batch_size=int(batch_size),
    output=output,
    real_statistics=f'{output}.npz',
  )
  print(f'{results.num_images} pictures, {jax.device_count()} devices')


if __name__ == '__main__':
  main(*sys.argv[1:])
