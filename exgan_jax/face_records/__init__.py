"""What a record and an aligned face are: pictures, alignment, codec."""
