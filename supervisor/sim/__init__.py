"""The simulator: the production engine, loop, executor and outbox on virtual time, in a world that can be broken."""
