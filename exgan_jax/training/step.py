"""One step of training: the gradients of both networks, shared if possible.

The generator runs forward once, for both updates; so does the discriminator
for the painted pictures, and once more for the real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from exgan_jax.config import Config
from exgan_jax.errors import InputError
from exgan_jax.models import lpips, masks, transfer
from exgan_jax.models.inputs import (
  Batch,
  Scene,
  discriminator_input,
  eye_codes,
  generator_input,
  make_scene,
  to_float,
)
from exgan_jax.models.networks import (
  Params,
  make_discriminator,
  make_generator,
)
from exgan_jax.runtime import compilation, sharding
from exgan_jax.training import augment, losses
from exgan_jax.training.state import TrainState, make_optimizers, shardings

# Of LPIPS as a loss: its features are of the order of 1.
_LPIPS_EPSILON = 1e-2
# The largest norm of the transfer generator's gradient; most are below 1. One
# step without it has ended a run: Adam makes a step of 16 rates of a single
# large gradient.
_LARGEST_GRADIENT = 1.0

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def jitted(config: Config, mesh: Mesh, step: Step) -> Step:
  """Compiles a step for a mesh; the state it is given is used up by it.

  The batch lies as `sharding.batched` has it and the state as
  `state.shardings`, before and after. All that is said of the batch as a
  whole, losses and normalisation, is of the global one. Networks whose
  parameters are split are put together for the step, once for both directions.
  """
  whole = sharding.replicated(mesh)

  def gathered_step(
    state: TrainState, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    networks = {
      name: jax.lax.with_sharding_constraint(getattr(state, name), whole)
      for name in ('generator', 'discriminator', 'encoder')
    }
    return step(dataclasses.replace(state, **networks), batch)

  return jax.jit(
    gathered_step,
    donate_argnums=0,
    out_shardings=(shardings(config, mesh), whole),
    compiler_options=compilation.options(mesh.devices.flat[0].platform),
  )


def make_train_step(config: Config) -> Step:
  """Returns the function from a state and a batch to the next and metrics."""
  discriminator = make_discriminator(config)
  alexnet = _alexnet(config)
  _, discriminator_optimizer = make_optimizers(config)

  def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    scene = _training_scene(config, state, batch)
    paint = _painter(config, state, scene)

    def judge(params, image):
      seen = discriminator_input(config, scene, state.encoder, image)
      return discriminator(params, *seen)

    def judge_real(params):
      logits, pull = jax.vjp(lambda image: judge(params, image), scene.image)
      if not config.gradient_penalty:
        return logits, jnp.zeros(())
      # The mean of a picture's logits, where it has one for each patch.
      even = jnp.full_like(logits, len(logits) / logits.size)
      return logits, losses.gradient_penalty(pull(even)[0])

    # The painted pictures pass forward once through each network; the two
    # losses differ only in what is pulled back through them, and how far.
    (fake, regularization), pull_generator, terms = jax.vjp(
      paint, state.generator, has_aux=True
    )
    fake_logits, pull_fake = jax.vjp(judge, state.discriminator, fake)
    (real_logits, penalty), pull_real = jax.vjp(judge_real, state.discriminator)

    d_loss, (real_slope, fake_slope) = jax.value_and_grad(
      losses.discriminator_loss, argnums=(0, 1)
    )(real_logits, fake_logits, config.adversarial_loss)
    penalty_slope = jnp.full_like(penalty, config.gradient_penalty)
    d_grads = jax.tree.map(
      jnp.add,
      pull_real((real_slope, penalty_slope))[0],
      pull_fake(fake_slope)[0],
    )

    adversarial, slope = jax.value_and_grad(losses.generator_loss)(
      fake_logits, config.adversarial_loss
    )
    (_, appearance), fake_grad = jax.value_and_grad(
      lambda fake: _appearance(config, state.encoder, alexnet, scene, fake),
      has_aux=True,
    )(fake)
    fake_grad += config.adversarial_weight * pull_fake(slope)[1]
    (g_grads,) = pull_generator((fake_grad, jnp.ones_like(regularization)))

    d_updates, d_optimizer = discriminator_optimizer.update(
      d_grads, state.discriminator_optimizer, state.discriminator
    )
    new_state = dataclasses.replace(
      _update_generator(config, state, g_grads),
      discriminator=optax.apply_updates(state.discriminator, d_updates),
      discriminator_optimizer=d_optimizer,
    )
    return new_state, appearance | terms | {
      'discriminator_loss': d_loss,
      'gradient_penalty': penalty,
      'adversarial_loss': adversarial,
      'generator_gradient_norm': optax.tree.norm(g_grads),
      'discriminator_gradient_norm': optax.tree.norm(d_grads),
      'real_logit': jnp.mean(real_logits),
      'fake_logit': jnp.mean(fake_logits),
    }

  return train_step


def make_warmup_step(config: Config) -> Step:
  """Returns a step of the generator alone, by reconstruction."""
  alexnet = _alexnet(config)

  def warmup_step(
    state: TrainState, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    scene = _training_scene(config, state, batch)
    paint = _painter(config, state, scene)

    def loss(params):
      (fake, regularization), terms = paint(params)
      metrics, loss = _reconstruction(config, alexnet, scene, fake)
      return loss + regularization, metrics | terms

    return _alone(config, state, loss)

  return warmup_step


def make_compressor_step(config: Config) -> Step:
  """Returns a step of the eyes' auto-encoder."""
  compressor = make_generator(config)

  def compressor_step(
    state: TrainState, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    crops = masks.eye_crops(
      to_float(batch['image']),
      batch['eyes'],
      masks.eye_side(config.resolution),
    )

    def loss(params):
      drawn = compressor(params, crops)
      # Squares, as an iris is a small part of the crop, but far off when wrong.
      error = losses.squared_error(crops, drawn)
      return error, {'mse_eyes': error / 4.0}

    return _alone(config, state, loss)

  return compressor_step


def _training_scene(config: Config, state: TrainState, batch: Batch) -> Scene:
  if config.preset == 'transfer' or config.self_reference:
    batch = augment.augment(config, batch, state.step)
  return make_scene(config, batch, state.encoder)


def _painter(config: Config, state: TrainState, scene: Scene) -> Callable:
  """The function from the generator's parameters to painted pictures.

  It returns the pictures and a term of the loss that does not depend on them,
  and besides the parts of that term.
  """
  generator = make_generator(config)

  def paint(params: Params):
    painted = generator(params, *generator_input(config, scene))
    regularization, terms = jnp.zeros(()), {}
    if config.preset == 'transfer':
      painted, fields = painted
      regularization, terms = transfer.regularization(
        scene.transfer, fields, scene.corners, scene.reference_corners
      )
    fake = masks.composite(scene.image, painted, scene.mask)
    return (fake, regularization), terms

  return paint


def _alexnet(config: Config) -> lpips.Weights | None:
  """The weights of LPIPS, where the loss has it.

  Raises:
    InputError: the file is not named, or holds something else.
  """
  if not config.lpips_weight:
    return None
  if not config.lpips:
    raise InputError('--lpips-weight needs --lpips: the file of its weights')
  return lpips.load(config.lpips)


def _reconstruction(
  config: Config, alexnet: lpips.Weights | None, scene: Scene, fake: jax.Array
) -> tuple[Metrics, jax.Array]:
  """The mean error over the hole in [0, 1] images, to report; and the loss."""
  l1_hole = losses.reconstruction_loss(scene.image, fake, scene.mask)
  metrics = {'l1_hole': l1_hole / 2.0}
  loss = config.reconstruction_weight * losses.reconstruction_loss(
    scene.image, fake, scene.weight, config.reconstruction_scales
  )
  if alexnet is not None:
    true, painted = (
      lpips.strips(image, scene.corners) for image in (scene.image, fake)
    )
    apart = lpips.distance(alexnet, true, painted, epsilon=_LPIPS_EPSILON)
    apart = jnp.mean(apart)
    metrics['lpips'] = apart
    loss += config.lpips_weight * apart
  return metrics, loss


def _appearance(
  config: Config,
  encoder: Params,
  alexnet: lpips.Weights | None,
  scene: Scene,
  fake: jax.Array,
) -> tuple[jax.Array, Metrics]:
  """All terms of the generator's loss that are about the painted pictures."""
  metrics, loss = _reconstruction(config, alexnet, scene, fake)
  if config.perceptual_weight:
    codes = eye_codes(config, encoder, fake, scene.eyes)
    perceptual = losses.perceptual_loss(codes, scene.code)
    metrics = metrics | {'perceptual_loss': perceptual}
    loss = loss + config.perceptual_weight * perceptual
  return loss, metrics


def _alone(
  config: Config,
  state: TrainState,
  loss: Callable[[Params], tuple[jax.Array, Metrics]],
) -> tuple[TrainState, Metrics]:
  """A step without a discriminator."""
  (_, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.generator)
  new_state = _update_generator(config, state, grads)
  return new_state, metrics | {
    'generator_gradient_norm': optax.tree.norm(grads)
  }


def _update_generator(
  config: Config, state: TrainState, grads: Params
) -> TrainState:
  """The next state, but for the discriminator."""
  optimizer, _ = make_optimizers(config)
  if config.preset == 'transfer':
    norm = optax.tree.norm(grads)
    scale = jnp.minimum(1.0, _LARGEST_GRADIENT / jnp.maximum(norm, 1e-9))
    grads = jax.tree.map(lambda gradient: gradient * scale, grads)
  updates, moments = optimizer.update(
    grads, state.generator_optimizer, state.generator
  )
  params = optax.apply_updates(state.generator, updates)
  return dataclasses.replace(
    state,
    step=state.step + 1,
    generator=params,
    average=_average(config, state, params),
    generator_optimizer=moments,
  )


def _average(config: Config, state: TrainState, params: Params) -> Params:
  # A constant decay would keep the first, random weights for its whole time
  # scale; this one forgets them as fast as new ones come.
  step = state.step.astype(jnp.float32)
  decay = jnp.minimum(config.ema_decay, (1.0 + step) / (10.0 + step))
  return jax.tree.map(
    lambda mean, new: decay * mean + (1.0 - decay) * new,
    state.average,
    params,
  )
