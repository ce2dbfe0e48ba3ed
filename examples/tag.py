"""Tags several sentences in one call, with asyncio: python examples/tag.py [HOST:PORT]."""

import asyncio
import sys

from seqserve.client import AsyncClient, SeqserveError

SENTENCES = [
    "Time flies like an arrow.",
    ["Words", "that", "are", "cut", "already", "stay", "as", "they", "are", "."],
]


async def main(address: str) -> None:
    """Prints each token with its label, and the least certain label with its place in the sentence."""
    async with AsyncClient(address) as client:
        for tagged in await client.tag("english-pos", SENTENCES):
            print(" ".join(f"{tag.token}/{tag.label}" for tag in tagged.tags))
            least_certain = min(tagged.tags, key=lambda tag: tag.score)
            place = f"{least_certain.start}-{least_certain.end}"
            label = f"{least_certain.label} with {least_certain.score:.2f}"
            print(f"  least certain: {least_certain.token!r} at {place}, {label}")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"))
    except SeqserveError as error:
        sys.exit(str(error))
