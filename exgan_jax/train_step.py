"""One step of training: the gradients of both networks, shared if possible.

The generator runs forward once, for both updates; so does the discriminator
for the painted pictures, and once more for the real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from exgan_jax import losses, masks
from exgan_jax.config import Config
from exgan_jax.state import (
  TrainState,
  make_discriminator,
  make_generator,
  make_optimizers,
)

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scene:
  """A batch as the networks see it, made on the device.

  Attributes:
    image: float32 [b, h, w, 3] in [-1, 1], the ground truth.
    mask: float32 [b, h, w, 1], 1 in the hole.
    eyes: float32 [b, 2, 2], centres as (x, y) in pixels.
    exemplar: float32 [b, h, w, 4], the reference and the mask of its eyes;
      or [b, h, w, 0] for a model that is told nothing.
  """

  image: jax.Array
  mask: jax.Array
  eyes: jax.Array
  exemplar: jax.Array


def to_float(image: jax.Array) -> jax.Array:
  """uint8 of any shape to float32 in [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1.0


def make_scene(config: Config, batch: Batch) -> Scene:
  """Normalises a batch, as the input pipeline makes it, and marks its holes."""
  resolution = config.resolution
  exemplar = jnp.zeros((*batch['image'].shape[:3], 0), jnp.float32)
  if config.exemplar == 'image':
    reference_mask = masks.hole_masks(
      batch['reference_eyes'], batch['reference_boxes'], resolution
    )
    exemplar = jnp.concatenate(
      [to_float(batch['reference']), reference_mask], axis=-1
    )
  return Scene(
    image=to_float(batch['image']),
    mask=masks.hole_masks(batch['eyes'], batch['boxes'], resolution),
    eyes=batch['eyes'],
    exemplar=exemplar,
  )


def generator_input(scene: Scene) -> jax.Array:
  """Holed image, hole mask, exemplar: float32 [b, h, w, 4 or 8]."""
  holed = scene.image * (1.0 - scene.mask)
  return jnp.concatenate([holed, scene.mask, scene.exemplar], axis=-1)


def discriminator_input(
  config: Config, scene: Scene, image: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """What the two branches of the discriminator see of an image.

  Args:
    config: of the run.
    scene: whose eyes and exemplar.
    image: float32 [b, h, w, 3] in [-1, 1], real or painted.

  Returns:
    float32 [b, h, w, 3 or 7], the image and the exemplar; and float32
    [b, 2, s, s, 3], its eye crops.
  """
  picture = jnp.concatenate([image, scene.exemplar], axis=-1)
  side = masks.crop_side(config.resolution)
  return picture, masks.eye_crops(image, scene.eyes, side)


def make_train_step(
  config: Config,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  """Returns the step as a pure function, for `jax.jit`.

  It takes the state and a batch of [b, ...] arrays and returns the next state
  and scalar metrics: the losses, `l1_hole` (images in [0, 1]), the norms of
  both gradients and the mean logits.
  """
  generator, discriminator = make_generator(config), make_discriminator(config)
  generator_optimizer, discriminator_optimizer = make_optimizers(config)

  def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    scene = make_scene(config, batch)

    def paint(params):
      painted = generator(params, generator_input(scene))
      return masks.composite(scene.image, painted, scene.mask)

    def judge(params, image):
      return discriminator(params, *discriminator_input(config, scene, image))

    def judge_real(params):
      logits, pull = jax.vjp(lambda image: judge(params, image), scene.image)
      if not config.gradient_penalty:
        return logits, jnp.zeros(())
      return logits, losses.gradient_penalty(pull(jnp.ones_like(logits))[0])

    # The painted pictures pass forward once through each network; the two
    # losses differ only in what is pulled back through them, and how far.
    fake, pull_generator = jax.vjp(paint, state.generator)
    fake_logits, pull_fake = jax.vjp(judge, state.discriminator, fake)
    (real_logits, penalty), pull_real = jax.vjp(judge_real, state.discriminator)

    d_loss, (real_slope, fake_slope) = jax.value_and_grad(
      losses.discriminator_loss, argnums=(0, 1)
    )(real_logits, fake_logits)
    penalty_slope = jnp.full_like(penalty, config.gradient_penalty)
    d_grads = jax.tree.map(
      jnp.add,
      pull_real((real_slope, penalty_slope))[0],
      pull_fake(fake_slope)[0],
    )

    adversarial, slope = jax.value_and_grad(losses.generator_loss)(fake_logits)
    reconstruction, fake_grad = jax.value_and_grad(
      losses.reconstruction_loss, argnums=1
    )(scene.image, fake, scene.mask)
    g_grads = pull_generator(
      config.reconstruction_weight * fake_grad
      + config.adversarial_weight * pull_fake(slope)[1]
    )[0]

    g_updates, g_optimizer = generator_optimizer.update(
      g_grads, state.generator_optimizer, state.generator
    )
    d_updates, d_optimizer = discriminator_optimizer.update(
      d_grads, state.discriminator_optimizer, state.discriminator
    )
    generator_params = optax.apply_updates(state.generator, g_updates)
    new_state = TrainState(
      step=state.step + 1,
      generator=generator_params,
      discriminator=optax.apply_updates(state.discriminator, d_updates),
      average=_average(config, state, generator_params),
      generator_optimizer=g_optimizer,
      discriminator_optimizer=d_optimizer,
    )
    return new_state, {
      'discriminator_loss': d_loss,
      'gradient_penalty': penalty,
      'adversarial_loss': adversarial,
      # In [0, 1] images, as everything that is reported.
      'l1_hole': reconstruction / 2.0,
      'generator_gradient_norm': optax.tree.norm(g_grads),
      'discriminator_gradient_norm': optax.tree.norm(d_grads),
      'real_logit': jnp.mean(real_logits),
      'fake_logit': jnp.mean(fake_logits),
    }

  return train_step


def make_paint_step(config: Config) -> Callable[[Any, Batch], jax.Array]:
  """Returns the function from parameters and a batch to painted pictures.

  The result is float32 [b, h, w, 3] in [0, 1], equal to the input outside the
  hole. What the hole hid does not reach the generator.
  """
  generator = make_generator(config)

  def paint_step(params: Any, batch: Batch) -> jax.Array:
    scene = make_scene(config, batch)
    painted = generator(params, generator_input(scene))
    return (masks.composite(scene.image, painted, scene.mask) + 1.0) / 2.0

  return paint_step


def _average(config: Config, state: TrainState, params: Any) -> Any:
  # A constant decay would keep the first, random weights for its whole time
  # scale; this one forgets them as fast as new ones come.
  step = state.step.astype(jnp.float32)
  decay = jnp.minimum(config.ema_decay, (1.0 + step) / (10.0 + step))
  return jax.tree.map(
    lambda mean, new: decay * mean + (1.0 - decay) * new,
    state.average,
    params,
  )
