"""Speed on this machine, and compilation for TPUs that are not there."""
