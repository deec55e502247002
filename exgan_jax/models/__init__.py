"""From a batch to a painted picture: masks, warping, networks."""
