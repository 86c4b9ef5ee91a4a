"""The whole daemon under the largest fleet: what it costs, and whether it keeps its cadence."""
