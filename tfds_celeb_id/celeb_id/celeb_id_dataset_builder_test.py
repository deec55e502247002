"""celeb_id as TFDS tests a data set."""

import importlib.util

import pytest

if not importlib.util.find_spec('tensorflow'):
  pytest.skip("TFDS's test case needs TensorFlow", allow_module_level=True)

import tensorflow_datasets as tfds

from tfds_celeb_id import celeb_id


class CelebIdTest(tfds.testing.DatasetBuilderTestCase):
  """Builds from `dummy_data/`: four people's drawn faces, ten entries."""

  DATASET_CLASS = celeb_id.Builder
  SPLITS = {'train': 4, 'validation': 2, 'test': 2, 'closed': 2}  # noqa: RUF012
  # Where a person's widest open eyes are once more.
  OVERLAPPING_SPLITS = ['closed']  # noqa: RUF012
  SKIP_CHECKSUMS = True  # None is known.

  def _make_builder(self, config=None):
    # The test case reads records with TensorFlow, which cannot array_record.
    return celeb_id.Builder(
      data_dir=self.tmp_dir, config=config, file_format='tfrecord', workers=0
    )


if __name__ == '__main__':
  tfds.testing.test_main()
