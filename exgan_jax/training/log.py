"""Progress and metrics of a training run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator

import jax
from tqdm import tqdm

from exgan_jax.config import Config
from exgan_jax.data.train_batches import Example, reader_threads
from exgan_jax.errors import InputError
from exgan_jax.training.metric_writer import MetricWriter

logger = logging.getLogger(__name__)

# Of the interval after which a slow input pipeline is reported.
FEWEST_STEPS = 10
LONGEST_WAIT = 0.1


class Log:
  """Checks and writes the metrics of steps and moves the progress bar."""

  def __init__(
    self, config: Config, start: int, writer: MetricWriter, bar: tqdm
  ):
    self._config, self._writer, self._bar = config, writer, bar
    # The clock starts after the first step, which includes compilation.
    self._clock: float | None = None
    self._clock_step = start + 1
    self._waited, self._is_checked = 0.0, False

  def wait_for(self, batches: Iterator[Example]) -> Example:
    """Returns the next batch and measures how long it took."""
    start = time.perf_counter()
    batch = next(batches)
    self._waited += time.perf_counter() - start
    return batch

  def write(self, step: int, metrics: dict[str, jax.Array], last: bool) -> None:
    """Waits for a step's metrics and writes them every `log_every` steps.

    Raises:
      InputError: a metric is not finite.
    """
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    for name, value in values.items():
      if not math.isfinite(value):
        raise InputError(
          f'{name} is {value} at step {step}: training stopped; the last'
          ' checkpoint is good, a lower learning rate may help'
        )
    self._bar.update()
    if self._clock is None:
      self._clock, self._waited = time.perf_counter(), 0.0
    config = self._config
    if step % config.log_every and not last:
      return
    now = time.perf_counter()
    steps, seconds = step - self._clock_step, now - self._clock
    if steps:
      values['images_per_second'] = steps * config.batch_size / seconds
      values['input_wait_fraction'] = self._waited / seconds
      if steps >= FEWEST_STEPS and not self._is_checked:
        self._is_checked = True
        if self._waited / seconds > LONGEST_WAIT:
          logger.info(
            'reading pictures holds up training for %.0f %% of the time; try'
            ' more --reader-threads (now %d), a faster disk or smaller records'
            ' (exgan pack)',
            *(
              100 * self._waited / seconds,
              reader_threads(config.reader_threads),
            ),
          )
      self._clock, self._clock_step, self._waited = now, step, 0.0
    self._writer.write(step, values)
    name = 'l1_hole' if 'l1_hole' in values else 'mse_eyes'
    self._bar.set_postfix_str(f'{name} {values[name]:.4f}', refresh=False)
