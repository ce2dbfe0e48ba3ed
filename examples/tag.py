"""Tag several sentences at once, with asyncio: python examples/tag.py [HOST:PORT]."""

import asyncio
import sys

from seqserve.client import AsyncClient, SeqserveError

SENTENCES = [
    "Time flies like an arrow.",
    ["Words", "that", "are", "cut", "already", "stay", "as", "they", "are", "."],
]


async def main(address: str) -> None:
    """Print every token with its label, and where it stands in its sentence."""
    async with AsyncClient(address) as client:
        for tagged in await client.tag("english-pos", SENTENCES):
            print(" ".join(f"{tag.token}/{tag.label}" for tag in tagged.tags))
            least_sure = min(tagged.tags, key=lambda tag: tag.score)
            where = f"{least_sure.start}-{least_sure.end}"
            print(f"  least sure: {least_sure.token!r} at {where}, {least_sure.label} with {least_sure.score:.2f}")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"))
    except SeqserveError as error:
        sys.exit(str(error))
