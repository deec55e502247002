"""Opens eyes in photographs: faces, references, painting, files, page."""
