"""The pure core: decides, never does. No clock, no random, no I/O, no logger, no await."""
