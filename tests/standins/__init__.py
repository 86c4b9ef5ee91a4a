"""Servers that stand in for the outside, as strict as the real ones, over real HTTP."""
