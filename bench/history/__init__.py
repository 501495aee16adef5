"""Ratios over commits, for asv: `make history` records those of the present commit on this machine."""
