"""Random Inception weights in the published layout, the same everywhere.

    python tests/exgan_jax/evaluation/oracles/random_inception.py

writes `inception.npz` beside it: what torch-fidelity 0.4.0 computes from those
weights and the pictures below. It takes PyTorch and, without its dependencies,
torch-fidelity.
"""

import importlib.machinery
import pathlib
import sys
import types

import numpy as np

HERE = pathlib.Path(__file__).parent
# Height and width: the usual ones, and odd ones.
SIZES = ((128, 128), (256, 256), (97, 201))


def weights(shapes) -> dict[str, np.ndarray]:
  """Returns weights of the given shapes by name, with features that differ.

  He-normal convolutions, scales and variances of 0.5 to 1.5, and biases and
  means that are not zero: the usual initialisation would let the features
  collapse to a standard deviation of 5e-8.
  """
  rng = np.random.default_rng(0)
  made = {}
  for name, shape in sorted(shapes.items()):
    if name.endswith(('running_var', 'bn.weight')):
      array = rng.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
      gain = 1 if name.startswith('fc') else 2
      array = rng.normal(size=shape) * np.sqrt(gain / np.prod(shape[1:]))
    else:
      array = 0.1 * rng.normal(size=shape)
    made[name] = array.astype(np.float32)
  return made


def pictures() -> list[np.ndarray]:
  """Returns two pictures of noise of each size, uint8 [2, h, w, 3]."""
  rng = np.random.default_rng(1)
  return [rng.integers(0, 256, (2, *size, 3), np.uint8) for size in SIZES]


def torch_fidelity_network():
  """Returns torch-fidelity's network with the random weights."""
  import torch

  # Imported by torch-fidelity for what is not used here; its real self would
  # bring another build of PyTorch.
  for name in (
    *('torchvision', 'torchvision.datasets', 'torchvision.transforms'),
    *('torchvision.models', 'torchvision.models.vgg'),
    *('torchvision.transforms.functional', 'torchvision.datasets.utils'),
  ):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__getattr__ = _anything
    sys.modules[name] = module
    parent, _, child = name.rpartition('.')
    if parent:
      setattr(sys.modules[parent], child, module)
  from torch_fidelity import feature_extractor_inceptionv3 as fidelity

  fidelity.load_state_dict_from_url = lambda *_, **__: {}
  load = torch.nn.Module.load_state_dict
  torch.nn.Module.load_state_dict = lambda *_, **__: None
  try:
    network = fidelity.FeatureExtractorInceptionV3(
      'inception-v3-compat', ['2048', 'logits_unbiased']
    )
  finally:
    torch.nn.Module.load_state_dict = load
  state = network.state_dict()
  shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
  made = weights({n: s for n, s in shapes.items() if s})
  network.load_state_dict(
    state | {name: torch.from_numpy(array) for name, array in made.items()}
  )
  return network.eval()


def _anything(name):
  if name.startswith('__'):
    raise AttributeError(name)
  return object


def main() -> None:
  """Writes the expected values."""
  import torch

  network = torch_fidelity_network()
  found = {}
  with torch.no_grad():
    for size, batch in zip(SIZES, pictures(), strict=True):
      features, logits = network(
        torch.from_numpy(np.moveaxis(batch, -1, 1).copy())
      )
      # Every eighth and fourth is enough, and keeps the file small.
      found[f'features_{size[0]}'] = features.numpy()[:, ::8]
      found[f'logits_{size[0]}'] = logits.numpy()[:, ::4]
  np.savez_compressed(HERE / 'inception.npz', **found)


if __name__ == '__main__':
  main()
