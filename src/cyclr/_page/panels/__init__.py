"""Panels: each module describes an aspect of a study, run, curve, plan or schedule. `describe` finds them here."""
