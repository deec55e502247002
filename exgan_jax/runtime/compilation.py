"""Compiler options and the compilation cache."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import platform

import jax

from exgan_jax.face_records.cached_file import cache_folder

_CPU = pathlib.Path('/proc/cpuinfo')
# XLA's default library is the fastest for matrix products, but two to three
# times slower for the kernel gradients of convolutions.
_ON_CPU: dict[str, str | int] = {
  'xla_cpu_experimental_ynn_fusion_type': (
    'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE'
  ),
  'xla_cpu_prefer_vector_width': 512,
}


@functools.cache
def options(platform: str) -> dict[str, str | int]:
  """Returns compiler options of `jax.jit` for a platform.

  Options that this release of XLA does not have are left out.
  """
  known = {}
  for name, value in (_ON_CPU if platform == 'cpu' else {}).items():
    try:
      jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
      continue
    known[name] = value
  return known


def enable_cache() -> None:
  """Enables JAX's compilation cache, unless it is configured already.

  JAX_COMPILATION_CACHE_DIR sets another folder, and
  JAX_ENABLE_COMPILATION_CACHE=0 disables the cache.
  """
  # JAX adds its options to `config` at run time.
  if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    folder = cache_folder() / 'compiled' / _machine()
    jax.config.update('jax_compilation_cache_dir', str(folder))


def _machine() -> str:
  """Returns a name for machines that can share compiled programs."""
  # CPU programs use all instructions of their machine. JAX does not check this
  # when it reads the cache, and machines may share a home folder.
  features = ''
  if _CPU.exists():
    lines = _CPU.read_text(errors='replace').splitlines()
    kinds = ('flags', 'Features', 'model name')
    features = '\n'.join(sorted({x for x in lines if x.startswith(kinds)}))
  digest = hashlib.sha256(features.encode()).hexdigest()
  return f'{platform.machine()}-{digest[:12]}'
