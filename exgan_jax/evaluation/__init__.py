"""From a checkpoint to results.json: metrics, baselines, galleries."""
