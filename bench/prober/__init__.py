"""What a health check costs: Sickbay's prober beside its peers, on one machine, in one run."""
