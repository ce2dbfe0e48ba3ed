"""Sessions in Redis, shared by replicas. A replica can continue the sessions of another one that was killed.

A lease runs out `lease_s` after it was last renewed. A write is checked against the last fence, so that a replica that
has lost its lease unknowingly cannot overwrite the work of another. Durability depends on the configuration of Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from seqserve.server.errors import (
    LeaseLostError,
    SessionBusyError,
    SessionNotFoundError,
    StoreDataLossError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnusableError,
    UnusableStoreError,
)
from seqserve.server.stores.limits import StoreLimits
from seqserve.server.stores.redis_scripts import RedisScripts
from seqserve.server.stores.store import Lease, Record, SessionKey, Usage

log = logging.getLogger(__name__)

_Pool: Any = ConnectionPool  # its methods are typed in part only

_CONNECTIONS_MAX = 32
_SLOT_WAIT_S = 5.0  # waiting for a connection
_TIMEOUT_S = 2.0  # connecting, and waiting for an answer
_RETRY_AFTER_S = 1.0
_POLL_INTERVAL_S = 0.1
# Errors that Redis answers while it starts, is busy, elects a master or cannot write to its disk.
_PASSING = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "NOSCRIPT", "TRYAGAIN"}
_PASSING_ERRORS = (ClusterDownError, MasterDownError, NoScriptError, TryAgainError)  # redis-py removes their codes
_VERSION_MIN = 5  # scripts that write after they have read the time
_FULL = 2  # reply of the create script
_LIST_SCAN_MAX = 512  # ids that one list script examines
_SWEEP_MAX = 256  # sessions that one sweep script removes


class RedisStore:
    """`Store` in Redis."""

    durable = True

    def __init__(self, url: str, *, grace_s: float, lease_s: float, limits: StoreLimits | None = None) -> None:
        """Creates the client. It connects with the first call, and again after each failure.

        Args:
            url: redis://, rediss:// or unix://, as the package redis accepts it.
            grace_s: How long expired sessions are known as expired, in seconds.
            lease_s: How long a lease lasts that is not renewed, in seconds.
            limits: Limits on what the store contains. Default: none.

        Raises:
            UnusableStoreError: The URL is not valid.
        """
        try:
            pool = _Pool.from_url(
                url,
                max_connections=_CONNECTIONS_MAX,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),  # a command that is sent twice may run twice: the caller decides
            )
        except ValueError as error:
            raise UnusableStoreError(f"the URL of the session store's Redis is not valid: {error}") from error
        self._redis: Any = Redis(connection_pool=pool)
        self._scripts = RedisScripts(self._redis)
        # First come, first served. redis-py's BlockingConnectionPool (8.1) loses a wake-up if the caller it woke is
        # cancelled: the next one fails after the timeout although a connection is free, and newcomers overtake waiters.
        self._slots = asyncio.Semaphore(_CONNECTIONS_MAX)
        self._limits = limits or StoreLimits()
        self._grace_s = grace_s
        self._lease_ms = round(lease_s * 1000)
        self._inspected = False
        self._problem = ""  # the last failure of Redis; "" while it answers

    async def create(self, record: Record) -> tuple[Record, bool]:
        """See Store.create."""
        limits = self._limits
        created, reply = await self._run(
            self._scripts.create,
            *_names(record.key),
            *_content(record),
            *map(_optional, (limits.count_max, limits.bytes_max, limits.owner_count_max, limits.owner_bytes_max)),
        )
        if created == _FULL:
            raise self._full(record, reply.decode())
        return _record(record.key, reply), bool(created)

    async def read(self, key: SessionKey) -> Record | None:
        """See Store.read."""
        reply = await self._run(self._scripts.read, _member(key), self._grace_s)
        return _record(key, reply) if reply else None

    async def acquire(self, key: SessionKey, holder: str) -> Lease:
        """See Store.acquire. A call that is cancelled releases the lease that it may have taken."""
        taking = asyncio.create_task(self._run(self._scripts.acquire, _member(key), holder, self._lease_ms))
        try:
            fence = await _finish(taking)
        except asyncio.CancelledError:
            if taking.done() and not taking.exception() and taking.result():
                with contextlib.suppress(StoreUnavailableError):
                    await self.release(Lease(key, holder, taking.result()))
            raise
        if not fence:
            raise SessionBusyError(f"another request is advancing session {key.id!r}", resource=("session", key.id))
        return Lease(key, holder, fence)

    async def wait_free(self, key: SessionKey) -> None:
        """See Store.wait_free."""
        # The holder may be another process, and may die without releasing the lease: there is no event to wait for.
        while await self._call(lambda: self._redis.exists(f"seqserve:lease:{_member(key)}")):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def renew(self, lease: Lease) -> bool:
        """See Store.renew."""
        return bool(await self._run(self._scripts.renew, _member(lease.key), lease.fence, self._lease_ms))

    async def release(self, lease: Lease) -> None:
        """See Store.release."""
        await _finish(asyncio.create_task(self._run(self._scripts.release, _member(lease.key), lease.fence)))

    async def write(self, record: Record, lease: Lease, ttl_s: float | None = None) -> Record:
        """See Store.write."""
        created_s = f"{record.created_s:.6f}"
        body, model, digest, position, _ = _content(record)
        ttl = "" if ttl_s is None else ttl_s
        reply = await self._run(
            self._scripts.write,
            *_names(record.key),
            body,
            model,
            digest,
            position,
            ttl,
            created_s,
            lease.fence,
            *map(_optional, (self._limits.bytes_max, self._limits.owner_bytes_max)),
        )
        resource = ("session", record.key.id)
        if reply == b"gone":
            raise SessionNotFoundError(
                f"session {record.key.id!r} was deleted while a request advanced it", resource=resource
            )
        if reply == b"lost":
            raise LeaseLostError(f"another request has taken session {record.key.id!r} over", resource=resource)
        if reply == b"full":
            raise self._full(record, "bytes_max")
        return _record(record.key, reply)

    async def touch(self, key: SessionKey, ttl_s: float | None) -> Record | None:
        """See Store.touch."""
        reply = await self._run(self._scripts.touch, _member(key), "" if ttl_s is None else ttl_s, self._grace_s)
        return _record(key, reply) if reply else None

    async def delete(self, key: SessionKey) -> bool:
        """See Store.delete."""
        return bool(await self._run(self._scripts.delete, _member(key)))

    async def list(self, owner: str, model: str, after: str, count: int) -> list[Record]:
        """See Store.list. A script examines a few hundred sessions at most, for Redis runs nothing else meanwhile."""
        prefix = _member(SessionKey(owner, ""))
        page: list[Record] = []
        while len(page) < count:
            last, records = await self._run(
                self._scripts.list, owner, prefix, model, after, count - len(page), _LIST_SCAN_MAX
            )
            page += (_record(SessionKey(owner, reply[0].decode()), reply) for reply in records)
            after = last.decode()
            if not after:
                break
        return page

    async def count_of_servable(self, digest: str) -> int:
        """See Store.count_of_servable."""
        return int(await self._call(lambda: self._redis.scard(f"seqserve:digest:{digest}")))

    async def sweep(self) -> int:
        """See Store.sweep. Replicas that sweep at the same time share the work."""
        if not self._inspected:
            await self._inspect()
        expired, count = 0, _SWEEP_MAX
        while count == _SWEEP_MAX:
            count = int(await self._run(self._scripts.sweep, _SWEEP_MAX, self._grace_s))
            expired += count
        return expired

    async def usage(self) -> Usage:
        """See Store.usage."""
        return Usage(*await self._run(self._scripts.usage))

    async def close(self) -> None:
        """See Store.close."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _run(self, script: Any, *arguments: str | bytes | float) -> Any:
        """Runs a script. Raises: As `_call`."""
        return await self._call(lambda: script(args=arguments))

    async def _call(self, send: Callable[[], Awaitable[Any]]) -> Any:
        """Sends a command once a connection is free. What Redis fails with goes to the log, not to the caller.

        Raises:
            StoreFullError: Redis has no memory left.
            StoreUnavailableError: Redis failed, did not answer in time, or all connections are busy.
            StoreUnusableError: Redis refuses the command, and will refuse it again.
        """
        try:
            async with asyncio.timeout(_SLOT_WAIT_S):
                await self._slots.acquire()
        except TimeoutError as error:
            raise StoreUnavailableError("the session store is too slow", retry_after_s=_RETRY_AFTER_S) from error
        try:
            answer = await send()
        except OutOfMemoryError as error:
            self._log_problem(str(error))
            raise StoreFullError("the session store has no room; retry later", retry_after_s=_RETRY_AFTER_S) from error
        except RedisError as error:
            self._log_problem(str(error))
            if _is_permanent(error):
                raise StoreUnusableError(
                    "the session store cannot be used as it is configured; see the server log for the cause"
                ) from error
            raise StoreUnavailableError(
                "the session store failed; retry, and see the server log for the cause", retry_after_s=_RETRY_AFTER_S
            ) from error
        finally:
            self._slots.release()
        self._log_problem("")
        return answer

    async def _inspect(self) -> None:
        """Logs what makes this Redis unfit for sessions, once after the first connection."""
        info = await self._call(lambda: self._redis.info())
        self._inspected = True
        policy, version = str(info.get("maxmemory_policy", "noeviction")), str(info.get("redis_version", _VERSION_MIN))
        if policy != "noeviction":
            log.warning(
                "the Redis of the session store evicts keys (maxmemory-policy %s), so that sessions may be lost before "
                "they expire; set it to noeviction",
                policy,
            )
        if info.get("cluster_enabled"):
            log.error("the Redis of the session store is a Cluster, which sessions cannot use; use a single Redis")
        if info.get("role") == "slave":
            log.error("the Redis of the session store is a replica, which cannot be written; use its master")
        if int(version.partition(".")[0]) < _VERSION_MIN:
            log.error("the Redis of the session store is version %s, at least %d is needed", version, _VERSION_MIN)

    def _full(self, record: Record, limit: str) -> StoreFullError:
        return StoreFullError(
            f"no room for session {record.key.id!r}: the limit {limit} of the store, {getattr(self._limits, limit)}, "
            "is reached; delete sessions, or retry later",
            retry_after_s=_RETRY_AFTER_S,
        )

    def _log_problem(self, problem: str) -> None:
        """Logs a problem once, not for each call, and its end."""
        if problem and problem != self._problem:
            log.warning("the Redis of the session store failed: %s", problem)
        elif self._problem and not problem:
            log.info("the Redis of the session store answers again")
        self._problem = problem


def _is_permanent(error: RedisError) -> bool:
    """Returns whether Redis will refuse the command again: a Cluster, a replica, missing rights, an old version."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return True
    code = str(error).partition(" ")[0]
    return isinstance(error, ResponseError) and code not in _PASSING and not isinstance(error, _PASSING_ERRORS)


async def _finish(call: asyncio.Task[Any]) -> Any:
    """Returns the result of a call. A caller that is cancelled waits until the outcome is certain."""
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise


def _member(key: SessionKey) -> str:
    """Returns the name of a session in Redis. The length makes it unambiguous where the owner ends."""
    return f"{len(key.owner.encode())}:{key.owner}:{key.id}"


def _optional(limit: int | None) -> int | str:
    return "" if limit is None else limit


def _names(key: SessionKey) -> tuple[str, str, str]:
    return _member(key), key.owner, key.id


def _content(record: Record) -> tuple[bytes, str, str, int, float]:
    return record.body, record.model, record.digest, record.position, record.ttl_s


def _record(key: SessionKey, answer: list[bytes] | bytes) -> Record:
    """Returns the record in the reply of a script. Raises: StoreDataLossError if Redis has lost a part of it."""
    if isinstance(answer, bytes):
        raise StoreDataLossError(
            f"Redis has lost a part of session {key.id!r}, as it does when it evicts keys; delete the session and "
            "create a new one",
            resource=("session", key.id),
        )
    _, model, digest, position, ttl_s, created_s, updated_s, expires_s, body = answer
    return Record(
        key,
        model.decode(),
        digest.decode(),
        int(position),
        float(ttl_s),
        body,
        float(created_s),
        float(updated_s),
        float(expires_s),
    )
