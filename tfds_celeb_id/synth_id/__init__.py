"""synth_id: drawn faces, the same on every machine; needs no input."""

from tfds_celeb_id.synth_id.synth_id_dataset_builder import Builder

__all__ = ['Builder']
