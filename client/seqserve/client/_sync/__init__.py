"""The blocking client, generated from the asyncio client except for its transport."""
