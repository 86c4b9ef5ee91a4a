"""Measurements, printed as figures beside each other; never a test."""
