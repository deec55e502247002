"""Could a machine tell painted eyes from true ones?

A classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting Classifier
Two-Sample Tests"): a small convolutional network learns to tell them apart,
and is asked about people that it has not seen.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

from exgan_jax.models.cpu_conv import fold

SIDE = 32
FOLDS = 4
SEED = 0
TOO_FEW = f'needs holes in images of at least {2 * FOLDS} people'
_STEPS, _BATCH, _RATE = 300, 64, 3e-3
# Of each convolution: the side of its kernel, which is also its stride, and the
# channels of its output.
_LAYERS = ((4, 32), (2, 64), (2, 64))

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
  group_of = np.zeros(len(owners), int)
  group_of[rng.permutation(present)] = np.arange(len(present)) % FOLDS
  picture, _ = places = np.nonzero(there)
  pairs = jnp.asarray(crops[places])
  groups = group_of[person[picture]]
  right = np.zeros(len(picture))
  for group in range(FOLDS):
    others = np.flatnonzero(groups != group)
    chosen = rng.choice(others, (_STEPS, _BATCH // 2))
    weights = _train(pairs, jnp.asarray(chosen), jax.random.key(SEED))
    asked = np.flatnonzero(groups == group)
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
  weights = _initial(jax.random.fold_in(key, 0))

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
    gradient = jax.grad(loss)(weights, part)
    # Optax raises floats to integer powers, which strict promotion forbids.
    with jax.numpy_dtype_promotion('standard'):
      updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(weights, updates), state), None

  flips = jax.random.bernoulli(
    jax.random.fold_in(key, 1), shape=(*chosen.shape, 1, 1, 1, 1)
  )
  start = weights, optimizer.init(weights)
  (weights, _), _ = jax.lax.scan(step, start, (chosen, flips))
  return weights


@jax.jit
def _answers(
  weights: Weights, pairs: UInt8[Array, 'n 2 s s 3']
) -> Float[Array, ' n']:
  """Returns the rate of right answers about each pair."""
  score = _score(weights, pairs)
  right = jnp.stack([score[:, 0] < 0, score[:, 1] >= 0], axis=1)
  return jnp.mean(right.astype(jnp.float32), axis=1)


def _initial(key: jax.Array) -> Weights:
  weights, channels = {}, 3
  for i, (side, width) in enumerate(_LAYERS):
    fan_in = side * side * channels
    noise = jax.random.normal(jax.random.fold_in(key, i), (fan_in, width))
    weights[f'kernel{i}'] = noise * np.sqrt(2 / fan_in).astype(np.float32)
    weights[f'bias{i}'] = jnp.zeros(width)
    channels = width
  return weights | {'linear': jnp.zeros(channels), 'bias': jnp.zeros(())}


def _score(
  weights: Weights, pairs: UInt8[Array, 'b 2 s s 3']
) -> Float[Array, 'b 2']:
  """Returns logits, positive for painted.

  Convolutions without overlap are products of folded pixels; in a loop XLA's
  own convolutions are very slow on a CPU.
  """
  x = pairs.reshape(-1, *pairs.shape[2:]).astype(jnp.float32) / 127.5 - 1.0
  for i, (side, _) in enumerate(_LAYERS):
    x = fold(x, side) @ weights[f'kernel{i}']
    x = jax.nn.relu(x + weights[f'bias{i}'][None, None, None])
  x = jnp.mean(x, axis=(1, 2)) @ weights['linear'] + weights['bias']
  return x.reshape(-1, 2)
