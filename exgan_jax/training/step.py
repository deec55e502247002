"""Training steps: losses, gradients and parameter updates."""

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

# For LPIPS as a loss; its features are of order 1.
_LPIPS_EPSILON = 1e-2
# Gradient norm at which the transfer generator is clipped; most are below 1.
# Without it a single large gradient can end a run: Adam turns it into a step of
# 16 learning rates.
_LARGEST_GRADIENT = 1.0

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def jitted(config: Config, mesh: Mesh, step: Step) -> jax.stages.Wrapped:
  """Compiles a step for a mesh and donates its input state.

  Batches are sharded by `sharding.batched`, states by `state.shardings`.
  Losses are means over the global batch. Parameters that are split over
  devices are gathered once per step.
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


def make_train_step(config: Config, penalized: bool = True) -> Step:
  """Returns the step that trains the generator and the discriminator.

  Both updates share the forward passes: one of the generator, one of the
  discriminator for the painted pictures and one for the real ones.

  Only a `penalized` step computes the gradient penalty, which is scaled for the
  steps without it: the lazy regularization of Karras et al. 2020, "Analyzing
  and Improving the Image Quality of StyleGAN", section 3.1. These are two
  programs: XLA takes twice as long on CPUs for one with a condition.
  """
  discriminator = make_discriminator(config)
  alexnet = _alexnet(config)
  _, discriminator_optimizer = make_optimizers(config)

  def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    scene = _training_scene(config, state, batch)
    paint = _painter(config, scene)

    def judge(params, image):
      seen = discriminator_input(config, scene, state.encoder, image)
      return discriminator(params, *seen)

    def judge_real(params):
      logits, pull = jax.vjp(lambda image: judge(params, image), scene.image)
      loss, metrics = losses.adversarial_loss(logits), {}
      total = loss
      if penalized and config.gradient_penalty:
        # Averages the logits of a picture if there is one per patch.
        even = jnp.full_like(logits, len(logits) / logits.size)
        penalty = losses.gradient_penalty(pull(even)[0])
        metrics['gradient_penalty'] = penalty
        total += (
          config.gradient_penalty * config.gradient_penalty_every * penalty
        )
      return total, (loss, metrics | {'real_logit': jnp.mean(logits)})

    (fake, regularization), pull_generator, terms = jax.vjp(
      paint, state.generator, has_aux=True
    )
    fake_logits, pull_fake = jax.vjp(judge, state.discriminator, fake)
    real_grads, (real_loss, judged) = jax.grad(judge_real, has_aux=True)(
      state.discriminator
    )
    fake_loss, fake_slope = jax.value_and_grad(
      lambda logits: losses.adversarial_loss(-logits)
    )(fake_logits)
    d_grads = jax.tree.map(jnp.add, real_grads, pull_fake(fake_slope)[0])

    adversarial, slope = jax.value_and_grad(losses.adversarial_loss)(
      fake_logits
    )
    (_, appearance), fake_grad = jax.value_and_grad(
      lambda fake: _appearance(config, alexnet, scene, fake, state.encoder),
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
    return new_state, appearance | terms | judged | {
      'discriminator_loss': real_loss + fake_loss,
      'adversarial_loss': adversarial,
      'generator_gradient_norm': optax.tree.norm(g_grads),
      'discriminator_gradient_norm': optax.tree.norm(d_grads),
      'fake_logit': jnp.mean(fake_logits),
    }

  return train_step


def penalty_is_due(config: Config, step: int) -> bool:
  """Returns whether a step, counted from 1, computes the gradient penalty."""
  return bool(
    config.gradient_penalty and step % config.gradient_penalty_every == 0
  )


def make_warmup_step(config: Config) -> Step:
  """Returns the step that trains the generator by reconstruction only."""
  alexnet = _alexnet(config)

  def warmup_step(
    state: TrainState, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    scene = _training_scene(config, state, batch)
    paint = _painter(config, scene)

    def loss(params):
      (fake, regularization), terms = paint(params)
      loss, metrics = _appearance(config, alexnet, scene, fake)
      return loss + regularization, metrics | terms

    return _generator_step(config, state, loss)

  return warmup_step


def make_compressor_step(config: Config) -> Step:
  """Returns the step that trains the eye auto-encoder."""
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
      # Squared: an iris is a small part of the crop, but far off if wrong.
      error = losses.squared_error(crops, compressor(params, crops))
      return error, {'mse_eyes': error / 4.0}

    return _generator_step(config, state, loss)

  return compressor_step


def _training_scene(config: Config, state: TrainState, batch: Batch) -> Scene:
  if config.preset == 'transfer' or config.self_reference:
    batch = augment.augment(config, batch, state.step)
  return make_scene(config, batch, state.encoder)


def _painter(
  config: Config, scene: Scene
) -> Callable[[Params], tuple[tuple[jax.Array, jax.Array], Metrics]]:
  """Returns the function from generator parameters to painted pictures.

  It also returns a regularization loss and the terms of that loss.
  """
  generator = make_generator(config)

  def paint(params: Params):
    painted = generator(params, *generator_input(config, scene))
    regularization = jnp.zeros(())
    terms: Metrics = {}
    if band := scene.band:
      painted, fields = painted
      regularization, terms = transfer.regularization(
        band.inputs, fields, band.corners, band.reference_corners
      )
    fake = masks.composite(scene.image, painted, scene.mask)
    return (fake, regularization), terms

  return paint


def _alexnet(config: Config) -> lpips.Weights | None:
  """Reads the weights of LPIPS if the loss uses it.

  Raises:
    InputError: no file is given, or it holds something else.
  """
  if not config.lpips_weight:
    return None
  if not config.lpips:
    raise InputError('--lpips-weight needs --lpips, the file of its weights')
  return lpips.load(config.lpips)


def _appearance(
  config: Config,
  alexnet: lpips.Weights | None,
  scene: Scene,
  fake: jax.Array,
  encoder: Params | None = None,
) -> tuple[jax.Array, Metrics]:
  """Returns the loss of the painted pictures without its adversarial part.

  Without an encoder it is the reconstruction loss only. The metrics refer to
  images in [0, 1].
  """
  l1_hole = losses.reconstruction_loss(scene.image, fake, scene.mask)
  metrics = {'l1_hole': l1_hole / 2.0}
  loss = config.reconstruction_weight * losses.reconstruction_loss(
    scene.image, fake, scene.weight, config.reconstruction_scales
  )
  if alexnet and scene.band:
    true, painted = (
      lpips.strips(image, scene.band.corners) for image in (scene.image, fake)
    )
    distances = lpips.distance(alexnet, true, painted, epsilon=_LPIPS_EPSILON)
    metrics['lpips'] = jnp.mean(distances)
    loss += config.lpips_weight * metrics['lpips']
  if encoder and config.perceptual_weight:
    codes = eye_codes(config, encoder, fake, scene.eyes)
    perceptual = losses.perceptual_loss(codes, scene.code)
    metrics['perceptual_loss'] = perceptual
    loss += config.perceptual_weight * perceptual
  return loss, metrics


def _generator_step(
  config: Config,
  state: TrainState,
  loss: Callable[[Params], tuple[jax.Array, Metrics]],
) -> tuple[TrainState, Metrics]:
  """Trains the generator, without the discriminator."""
  (_, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.generator)
  norm = optax.tree.norm(grads)
  state = _update_generator(config, state, grads)
  return state, metrics | {'generator_gradient_norm': norm}


def _update_generator(
  config: Config, state: TrainState, grads: Params
) -> TrainState:
  """Updates the generator and its moving average, and counts the step."""
  optimizer, _ = make_optimizers(config)
  if config.preset == 'transfer':
    norm = optax.tree.norm(grads)
    scale = jnp.minimum(1.0, _LARGEST_GRADIENT / jnp.maximum(norm, 1e-9))
    grads = jax.tree.map(lambda gradient: gradient * scale, grads)
  updates, moments = optimizer.update(
    grads, state.generator_optimizer, state.generator
  )
  params = optax.apply_updates(state.generator, updates)
  # The average is warmed up: a constant decay would keep the random initial
  # weights for too long.
  step = state.step.astype(jnp.float32)
  decay = jnp.minimum(config.ema_decay, (1.0 + step) / (10.0 + step))
  average = jax.tree.map(
    lambda mean, new: decay * mean + (1.0 - decay) * new, state.average, params
  )
  return dataclasses.replace(
    state,
    step=state.step + 1,
    generator=params,
    average=average,
    generator_optimizer=moments,
  )
