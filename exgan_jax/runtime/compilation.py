"""How programs are compiled, and where they are kept for the next start."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import platform

import jax

from exgan_jax.face_records.cached_file import cache_folder

_CPU = pathlib.Path('/proc/cpuinfo')
# XLA's default library is at its best in products of matrices, and two to three
# times as slow as the other one in the gradients of convolutions' kernels.
_ON_CPU: dict[str, str | int] = {
  'xla_cpu_experimental_ynn_fusion_type': (
    'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE'
  ),
  'xla_cpu_prefer_vector_width': 512,
}


@functools.cache
def options(platform: str) -> dict[str, str | int]:
  """The compiler's options for `jax.jit`, by a device's platform."""
  return {
    name: value
    for name, value in (_ON_CPU.items() if platform == 'cpu' else ())
    if _is_known(name, value)
  }


def enable_cache() -> None:
  """Keeps what takes more than a second to compile.

  Whoever has set JAX_COMPILATION_CACHE_DIR has another folder, or with
  JAX_ENABLE_COMPILATION_CACHE=0 none.
  """
  # JAX adds its options to `config` at run time.
  if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    folder = cache_folder() / 'compiled' / _machine()
    jax.config.update('jax_compilation_cache_dir', str(folder))


def _is_known(name: str, value: str | int) -> bool:
  """Whether this release of XLA has an option: they come and go."""
  try:
    jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True


def _machine() -> str:
  """A name for machines that can run each other's programs."""
  # Programs for CPUs use all instructions that there are, and JAX does not look
  # for those when it takes one from a home folder that several machines share.
  features = ''
  if _CPU.exists():
    lines = _CPU.read_text(errors='replace').splitlines()
    kinds = ('flags', 'Features', 'model name')
    features = '\n'.join(sorted({x for x in lines if x.startswith(kinds)}))
  digest = hashlib.sha256(features.encode()).hexdigest()
  return f'{platform.machine()}-{digest[:12]}'
