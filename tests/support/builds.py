"""Builds data sets and reads them back."""

import json

import tensorflow_datasets as tfds


def build(builder_class, data_dir, folder=None, workers=0, **kwargs):
  """Builds a data set from a manual directory."""
  builder = builder_class(data_dir=str(data_dir), workers=workers, **kwargs)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=None if folder is None else str(folder)
    )
  )
  return builder


def records_of(builder):
  return {
    split: list(builder.as_data_source(split)) for split in builder.info.splits
  }


def rejected_of(builder):
  """Returns the reasons of rejected pictures by file name."""
  lines = (builder.data_path / 'rejected.jsonl').read_text().splitlines()
  return {
    entry['filename']: entry['reason'] for entry in map(json.loads, lines)
  }


def bytes_of(builder):
  """Returns the contents of the files with records, by name."""
  paths = builder.data_path.iterdir()
  found = {p.name: p.read_bytes() for p in paths if 'array_record' in p.name}
  assert found
  return found
