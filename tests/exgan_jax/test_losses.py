"""Losses against values computed by hand."""

import math

import jax.numpy as jnp
import numpy as np

from exgan_jax import losses


def test_discriminator_loss_by_hand():
  real, fake = jnp.asarray([0.0, 2.0]), jnp.asarray([0.0, -1.0])
  expected = (
    -(math.log(0.5) + math.log(1 / (1 + math.exp(-2)))) / 2
    - (math.log(0.5) + math.log(1 - 1 / (1 + math.exp(1)))) / 2
  )
  np.testing.assert_allclose(
    losses.discriminator_loss(real, fake), expected, rtol=1e-6
  )


def test_generator_loss_by_hand():
  fake = jnp.asarray([0.0, 3.0])
  expected = -(math.log(0.5) + math.log(1 / (1 + math.exp(-3)))) / 2
  np.testing.assert_allclose(losses.generator_loss(fake), expected, rtol=1e-6)


def test_reconstruction_loss_is_the_mean_over_hole_pixels():
  image = jnp.zeros((2, 4, 4, 3))
  painted = jnp.full((2, 4, 4, 3), 9.0)
  mask = jnp.zeros((2, 4, 4, 1))
  # Three hole pixels with errors of 1 and one with an error of 5.
  errors = {(0, 0, 0): 1.0, (0, 1, 1): 1.0, (1, 2, 3): 1.0, (1, 3, 3): 5.0}
  for place, error in errors.items():
    mask = mask.at[place].set(1.0)
    painted = painted.at[place].set(error)
  np.testing.assert_allclose(
    losses.reconstruction_loss(image, painted, mask), 2.0, rtol=1e-6
  )


def test_reconstruction_loss_without_a_hole_is_zero():
  ones, zeros = jnp.ones((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 1))
  assert float(losses.reconstruction_loss(ones, 2.0 * ones, zeros)) == 0.0


def test_gradient_penalty_by_hand():
  slopes = (
    jnp.zeros((2, 2, 2, 3)).at[0, 0, 0, 0].set(3.0).at[0, 1, 1, 2].set(4.0)
  )
  # Squared norms of 25 and 0, halved and averaged.
  np.testing.assert_allclose(losses.gradient_penalty(slopes), 6.25, rtol=1e-6)
