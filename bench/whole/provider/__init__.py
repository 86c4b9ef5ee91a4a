"""A folder of plugins for the daemon under measurement: it never ships."""
