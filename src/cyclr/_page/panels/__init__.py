"""Panels: each module says something of a study, a run, a curve, a plan or a schedule. `describe` finds them here."""
