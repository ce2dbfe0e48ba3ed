"""The Lua scripts of the Redis store, each of which runs atomically.

Redis keys, where a session is named by its member, `<bytes of owner>:<owner>:<id>`:

    seqserve:session:<member>   hash: the record without its body; stays as a tombstone until a sweep sets its end
    seqserve:body:<member>      the body; Redis deletes it when the session expires
    seqserve:lease:<member>     hash: holder and fence; Redis deletes it when the lease runs out
    seqserve:owner:<owner>      sorted set: ids, in the order of their bytes
    seqserve:owner-bytes:<owner>  bytes of an owner's bodies, if there is a limit on them
    seqserve:digest:<digest>    set: members
    seqserve:expiry             sorted set: members by expiry, unix time in milliseconds
    seqserve:bytes              bytes of all bodies
    seqserve:fence              the last fence given out, of any session

Scripts take the time from Redis, so that the clocks of replicas need not agree. They build the names of keys, which
a Redis Cluster does not allow.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

_FOLDER: Final = files("seqserve.server.stores") / "lua"


class RedisScripts:
    """All scripts, registered with a client.

    A script is called with `args`. It is sent to Redis by its digest, and as text only if Redis does not have it, for
    example after a restart.
    """

    def __init__(self, redis: Any) -> None:
        """Registers the scripts. Sends nothing.

        Args:
            redis: A `redis.asyncio.Redis`.
        """
        common = (_FOLDER / "common.lua").read_text("utf-8")

        def register(name: str) -> Any:
            return redis.register_script(common + (_FOLDER / f"{name}.lua").read_text("utf-8"))

        self.create = register("create")
        self.read = register("read")
        self.acquire = register("acquire")
        self.renew = register("renew")
        self.release = register("release")
        self.write = register("write")
        self.touch = register("touch")
        self.delete = register("delete")
        self.list = register("list")
        self.sweep = register("sweep")
        self.usage = register("usage")
