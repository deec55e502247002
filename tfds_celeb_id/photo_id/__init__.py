"""photo_id: your own photos, one folder per person."""

from tfds_celeb_id.photo_id.photo_id_dataset_builder import Builder

__all__ = ['Builder']
