"""Cyclical learning rates: schedules as values, range tests, bounds and plans."""
