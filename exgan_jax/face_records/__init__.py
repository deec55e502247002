"""What a record and an aligned face are: errors, pictures, alignment, codec."""
