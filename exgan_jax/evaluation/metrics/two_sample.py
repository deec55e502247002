"""Could a machine tell painted eyes from true ones?

A classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting Classifier
Two-Sample Tests"): a small convolutional network learns to tell them apart,
and is asked about people that it has not seen.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

SIDE = 32
FOLDS = 4
SEED = 0
TOO_FEW = f'needs holes in images of at least {2 * FOLDS} people'
_STEPS, _BATCH, _RATE = 300, 64, 2e-3
_CHANNELS = (3, 16, 32, 64)
_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')

Weights = dict[str, jax.Array]


def provenance() -> dict[str, int]:
  """Returns what the accuracy depends on besides the images."""
  return {'folds': FOLDS, 'steps': _STEPS, 'seed': SEED}


def accuracies(
  crops: UInt8[np.ndarray, 'n k 2 s s 3'],
  there: Bool[np.ndarray, 'n k'],
  people: Int[np.ndarray, ' n'],
) -> Float[np.ndarray, ' n'] | None:
  """Returns the rate of right answers about each picture's holes.

  The people are divided into `FOLDS` groups; a network that has learned from
  the others answers about each. Every group has as many true crops as painted
  ones, so guessing gives 0.5.

  Args:
    crops: of each picture and hole the true and the painted crop.
    there: which holes exist.
    people: the person of each picture.

  Returns:
    Rates from 0 to 1, NaN for a picture without holes; None if there are fewer
    than two people in every group.
  """
  owners, person = np.unique(people, return_inverse=True)
  present = np.unique(person[there.any(axis=1)])
  if len(present) < 2 * FOLDS:
    return None
  rng = np.random.default_rng(SEED)
  fold_of = np.zeros(len(owners), int)
  fold_of[rng.permutation(present)] = np.arange(len(present)) % FOLDS
  picture, _ = places = np.nonzero(there)
  pairs = jnp.asarray(crops[places])
  folds = fold_of[person[picture]]
  right = np.zeros(len(picture))
  for fold in range(FOLDS):
    others = np.flatnonzero(folds != fold)
    chosen = rng.choice(others, (_STEPS, _BATCH // 2))
    weights = _train(pairs, jnp.asarray(chosen), jax.random.key(SEED))
    asked = np.flatnonzero(folds == fold)
    right[asked] = np.asarray(_answers(weights, pairs))[asked]
  count = np.bincount(picture, minlength=len(crops))
  total = np.bincount(picture, right, minlength=len(crops))
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@jax.jit
def _train(
  pairs: UInt8[Array, 'n 2 s s 3'],
  chosen: Int[Array, 'steps b'],
  key: jax.Array,
) -> Weights:
  optimizer = optax.adam(_RATE)
  first, *rest = jax.random.split(key, 2)
  weights = _initial(first)

  def loss(weights, part):
    score = _score(weights, part)
    # The first of a pair is true, the second one is painted.
    return jnp.mean(
      jax.nn.softplus(score[:, 0]) + jax.nn.softplus(-score[:, 1])
    )

  def step(carry, inputs):
    weights, state = carry
    rows, flips = inputs
    part = jnp.where(flips, pairs[rows][:, :, :, ::-1], pairs[rows])
    updates, state = optimizer.update(jax.grad(loss)(weights, part), state)
    return (optax.apply_updates(weights, updates), state), None

  flips = jax.random.bernoulli(rest[0], shape=(*chosen.shape, 1, 1, 1, 1))
  start = weights, optimizer.init(weights)
  (weights, _), _ = jax.lax.scan(step, start, (chosen, flips))
  return weights


@jax.jit
def _answers(
  weights: Weights, pairs: UInt8[Array, 'n 2 s s 3']
) -> Float[Array, ' n']:
  """Returns the rate of right answers about each pair."""
  score = jax.lax.map(functools.partial(_score, weights), pairs[:, None])[:, 0]
  right = (score[:, 0] < 0).astype(jnp.float32) + (score[:, 1] >= 0)
  return right / 2


def _initial(key: jax.Array) -> Weights:
  weights = {}
  layers = itertools.pairwise(_CHANNELS)
  for i, (fan_in, fan_out) in enumerate(layers):
    shape = (3, 3, fan_in, fan_out)
    noise = jax.random.normal(jax.random.fold_in(key, i), shape)
    weights[f'kernel{i}'] = noise * np.sqrt(2 / (9 * fan_in)).astype(np.float32)
    weights[f'bias{i}'] = jnp.zeros(fan_out)
  return weights | {'linear': jnp.zeros(_CHANNELS[-1]), 'bias': jnp.zeros(())}


def _score(
  weights: Weights, pairs: UInt8[Array, 'b 2 s s 3']
) -> Float[Array, 'b 2']:
  """Returns logits, positive for painted."""
  x = pairs.reshape(-1, *pairs.shape[2:]).astype(jnp.float32) / 127.5 - 1.0
  for i in range(len(_CHANNELS) - 1):
    x = jax.lax.conv_general_dilated(
      x, weights[f'kernel{i}'], (2, 2), 'SAME', dimension_numbers=_DIMENSIONS
    )
    x = jax.nn.relu(x + weights[f'bias{i}'][None, None, None])
  x = jnp.mean(x, axis=(1, 2)) @ weights['linear'] + weights['bias']
  return x.reshape(-1, 2)
