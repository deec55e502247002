"""Losses against values computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from exgan_jax.training import losses


def _entropy(logit):
  """Cross entropy of a logit whose target is 1."""
  return -math.log(1 / (1 + math.exp(-logit)))


def test_the_adversarial_loss_is_a_cross_entropy():
  got = losses.adversarial_loss(jnp.asarray([[0.25], [-3.0]]))
  expected = (_entropy(0.25) + _entropy(-3)) / 2
  np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_adversarial_loss_does_not_saturate():
  slope = jax.grad(losses.adversarial_loss)(jnp.asarray([-30.0]))
  assert float(slope[0]) < -0.99


def test_reconstruction_loss_is_the_weighted_mean_over_hole_pixels():
  image = jnp.zeros((2, 4, 4, 3))
  painted = jnp.full((2, 4, 4, 3), 9.0)
  weight = jnp.zeros((2, 4, 4, 1))
  assert float(losses.reconstruction_loss(image, painted, weight)) == 0.0
  # Places, errors and weights of hole pixels.
  for place, error, part in (((0, 1, 1), 1.0, 3.0), ((1, 3, 3), 5.0, 1.0)):
    weight = weight.at[place].set(part)
    painted = painted.at[place].set(error)
  np.testing.assert_allclose(
    losses.reconstruction_loss(image, painted, weight), 8 / 4, rtol=1e-6
  )


def test_reconstruction_loss_at_several_scales():
  image = jnp.zeros((1, 4, 4, 3))
  # A bright next to a dark pixel cancels out at the second scale.
  moved = image.at[0, 0, 0].set(1.0).at[0, 0, 1].set(-1.0)
  # Two bright pixels do not.
  tinted = image.at[0, 0, 0].set(1.0).at[0, 0, 1].set(1.0)
  weight = jnp.zeros((1, 4, 4, 1)).at[0, 0, :2].set(1.0)
  for painted, scales, expected in (
    (moved, 1, 1.0),
    (moved, 2, 1 / 2),
    (moved, 3, 1 / 3),
    (tinted, 3, 1.0),
  ):
    found = losses.reconstruction_loss(image, painted, weight, scales)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_gradient_penalty_by_hand():
  slopes = (
    jnp.zeros((2, 2, 2, 3)).at[0, 0, 0, 0].set(3.0).at[0, 1, 1, 2].set(4.0)
  )
  # Squared norms of 25 and 0, halved and averaged.
  np.testing.assert_allclose(losses.gradient_penalty(slopes), 6.25, rtol=1e-6)


def test_perceptual_loss_by_hand():
  painted = jnp.asarray([[1.0, 6.0, 2.0], [0.5, 0.5, 0.5]])
  exemplar = jnp.asarray([[4.0, 2.0, 2.0], [0.5, 0.5, 0.5]])
  # Distances of 5 and 0.
  value, slope = jax.value_and_grad(losses.perceptual_loss)(painted, exemplar)
  np.testing.assert_allclose(value, 2.5, rtol=1e-6)
  np.testing.assert_allclose(slope, [[-0.3, 0.4, 0], [0, 0, 0]], rtol=1e-6)
