"""Celeb-ID, the benchmark; see README.md."""

from tfds_celeb_id.celeb_id.celeb_id_dataset_builder import Builder

__all__ = ['Builder']
