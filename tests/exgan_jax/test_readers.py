"""Whatever is in a file, each reader takes it or refuses it in one line."""

import functools
import io
import json
import zipfile

import hypothesis
import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st
from PIL import Image

from exgan_jax import config as config_lib
from exgan_jax import files
from exgan_jax.errors import InputError
from exgan_jax.evaluation import gallery, inception_weights, results
from exgan_jax.face_records import codec, example, folder, pictures
from exgan_jax.face_records.pictures import UnusablePictureError
from exgan_jax.models import lpips
from exgan_jax.models.networks import abstract_model
from exgan_jax.photo import reader, thumbnail, writer
from exgan_jax.report import tables
from exgan_jax.runtime import sharding
from exgan_jax.training import export
from tfds_celeb_id.celeb_id import listing, sources

HARM = st.lists(
  st.tuples(
    st.floats(0, 1),
    st.sampled_from(['replace', 'insert', 'cut', 'repeat']),
    st.one_of(
      st.binary(min_size=1, max_size=8),
      st.sampled_from([b'\xff' * 4, bytes(8), b'1e999', b'NaN', b'-1', b'"']),
    ),
  ),
  min_size=1,
  max_size=6,
)


def harmed(data, harm):
  """Bytes with some of them changed, by places from 0 to 1."""
  for place, kind, new in harm:
    at = int(place * len(data))
    if kind == 'cut':
      data = data[:at] if place > 0.5 else data[:at] + data[at + len(new) :]
    elif kind == 'repeat':
      data = data[:at] + data[at : at + 64] + data[at:]
    else:
      rest = data[at + len(new) * (kind == 'replace') :]
      data = data[:at] + new + rest
  return data


def _picture(format_, **options):
  y, x = np.indices((40, 52))
  pixels = np.stack([x * 4, y * 5, x + y], -1).astype(np.uint8)
  exif = Image.Exif()
  exif[0x0112], exif[0x010F] = 6, 'Maker'
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, format_, exif=exif, **options)
  return buffer.getvalue()


def _through_files(data):
  """Reads a photograph, and writes it in its own format and as PNG."""
  picture = reader.decode(data)
  format_ = picture.format if picture.format in WRITTEN else 'PNG'
  for target in {format_, 'PNG'}:
    again = reader.decode(writer.encode(picture, target))
    assert again.size == picture.size


WRITTEN = {'JPEG', 'PNG', 'WEBP', 'TIFF'}
EXPORTED = config_lib.make(
  'gan', 'tiny', generator_width=1, dilations=1, resolution=32
)
DEVICES = jax.local_devices()[:1]
CONFIG = json.dumps(vars(config_lib.make('gan', 'tiny'))).encode()
RESULTS = json.dumps(
  {
    'model': 'gan', 'step': 1, 'dataset': 'synth_id', 'split': 'test',
    'resolution': 32, 'num_images': 4, 'protocol': 'next-image',
    'metrics': {'l1': 0.5, 'ms_ssim_variant': 'standard'}, 'baselines': {},
    'skipped': {}, 'provenance': {'a': [1, 'b']},
    'intervals': {'model': {'l1': [0.1, 0.9]}},
  }
).encode()  # fmt: skip
LISTING = json.dumps(
  {'a-1.jpg': {'eye_left': {'x': 1, 'y': 2}, 'eye_right': {'x': 3, 'y': 2}}}
).encode()
DATASET = json.dumps(
  {'splits': [{'name': 'train', 'shardLengths': ['3']}]}
).encode()


def _zip():
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('celeb_id_raw/celeb_params.json', LISTING)
    archive.writestr('celeb_id_raw/a-1.jpg', _picture('JPEG'))
  return buffer.getvalue()


def _npz(**arrays):
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  return buffer.getvalue()


def _safetensors():
  return safetensors.numpy.save({'a': np.ones((3, 2), np.float32)}, {'b': 'c'})


def _of_path(read, name='file'):
  def act(data, folder_):
    (folder_ / name).write_bytes(data)
    return read(folder_ / name)

  return act


def _archive(path):
  source = sources.find(path.parent)
  if source is not None:
    listing.parse_raw(source.listing)
    source.pictures.read('a-1.jpg')


@functools.cache  # It takes most of the time.
def _abstract(*_):
  return abstract_model(EXPORTED, sharding.make_mesh(1, devices=DEVICES))


def _weights():
  arrays = {
    name: np.zeros(leaf.shape, leaf.dtype)
    for name, leaf in export.named(_abstract()).items()
  }
  return safetensors.numpy.save(arrays)


def _exported(path):
  config = path.with_name('config.json')
  if not config.exists():
    config_lib.save(EXPORTED, config)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(export, 'abstract_model', _abstract)
    export.restore(path.parent)


def _reported(path):
  found = results.load(path)
  if isinstance(found, results.Results):
    results.format_table(found)
    tables.tables(tables.model_lines([found]), found.dataset)


# Each with bytes that it can read, and what it may raise.
READERS = {
  **{
    f'picture {format_}': (
      _picture(format_, **options),
      lambda data, _: pictures.read_picture(data),
    )
    for format_, options in (
      ('JPEG', {}), ('PNG', {}), ('WEBP', {}), ('TIFF', {}), ('GIF', {}),
      ('AVIF', {'speed': 10}), ('BMP', {}), ('PPM', {}),
    )
  },
  **{
    f'photograph {format_}': (
      _picture(format_, **options), lambda data, _: _through_files(data)
    )
    for format_, options in (
      ('JPEG', {'xmp': b'<x/>', 'dpi': (72, 72)}), ('PNG', {'dpi': (72, 72)}),
      ('WEBP', {'xmp': b'<x/>'}), ('TIFF', {'compression': 'tiff_lzw'}),
    )
  },
  'size': (_picture('JPEG'), _of_path(pictures.picture_size)),
  'thumbnail': (
    reader.decode(_picture('JPEG')).metadata['exif'],
    lambda data, _: thumbnail.redraw(
      data, lambda: np.zeros((40, 52, 3), np.uint8)
    ),
  ),
  'config.json': (CONFIG, _of_path(config_lib.load)),
  'results.json': (RESULTS, _of_path(_reported)),
  'dataset_info.json': (
    DATASET,
    _of_path(lambda path: folder.shard_lengths(files.read_json(path))),
  ),
  'listing': (LISTING, lambda data, _: listing.parse_raw(data)),
  'archive': (_zip(), _of_path(_archive, 'celeb_id_raw.zip')),
  'npz': (
    _npz(a=np.arange(9.0)),
    _of_path(lambda path: files.read_npz(path, 10**6, 'numbers')),
  ),
  'gallery': (_npz(a=np.arange(9.0)), _of_path(gallery.load)),
  'lpips': (_npz(a=np.arange(9.0)), _of_path(lpips.load)),
  'inception': (
    _safetensors(),
    _of_path(inception_weights.load_unverified, 'a.safetensors'),
  ),
  'exported model': (_weights(), _of_path(_exported, export.WEIGHTS)),
  'record': (b'\n\x0b\n\t\n\x01a\x12\x04\n\x02\n\0',
             lambda data, _: example.parse(data)),
  'picture of a record': (
    pictures.encode_jpeg(np.zeros((32, 32, 3), np.uint8)),
    lambda data, _: codec.decode(data, 16),
  ),
}  # fmt: skip


def check(tmp_path_factory, name, examples):
  """Reads what was harmed in so many ways."""
  data, read = READERS[name]
  place = tmp_path_factory.mktemp('read')

  @hypothesis.settings(
    max_examples=examples, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
  )  # fmt: skip
  @hypothesis.given(harm=HARM)
  def act(harm):
    try:
      read(harmed(data, harm), place)
    except (InputError, UnusablePictureError) as error:
      assert str(error) and '\n' not in str(error)

  act()


# Whose files are too large for a test: these are of another kind.
OTHERS = {'gallery', 'lpips', 'inception', 'record'}


@pytest.mark.parametrize('name', sorted(READERS.keys() - OTHERS))
def test_a_whole_file_is_read(tmp_path, name):
  data, read = READERS[name]
  read(data, tmp_path)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', READERS)
def test_a_harmed_file_is_read_or_refused(tmp_path_factory, name):
  check(tmp_path_factory, name, 50)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', READERS)
def test_a_harmed_file_is_read_or_refused_a_thousand_times(
  tmp_path_factory, name
):
  check(tmp_path_factory, name, 1000)
