"""The asyncio client: the source that the blocking client is generated from."""
