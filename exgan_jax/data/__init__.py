"""Records to batches, and a summary of a data set."""
