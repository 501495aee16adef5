"""Studies: runs written down, done in parallel and compared."""
