"""The asyncio side: one loop around the engine, executors, check hosts and the outbox."""
