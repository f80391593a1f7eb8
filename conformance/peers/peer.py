"""A Python member that does as it is told: `peer.py KIND URL MEMBER`.

Each line read is a request, `{"do": …, …}`; each line written is its answer, `{"ok": …}` or `{"error": …}`, with
the boot clock's nanoseconds before and after. It ends with its input.
"""

import json
import sys
import time
import uuid

import witness


def encode(value):
    """What JSON has no word for gets a tag."""
    if isinstance(value, uuid.UUID):
        return {"$uuid": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, dict):
        return {str(key): encode(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(inner) for inner in value]
    return value


def decode(value):
    if isinstance(value, dict):
        if set(value) == {"$uuid"}:
            return uuid.UUID(value["$uuid"])
        if set(value) == {"$bytes"}:
            return bytes.fromhex(value["$bytes"])
        return {key: decode(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [decode(inner) for inner in value]
    return value


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def cycles(peer, count, folder, **lock):
    """So many times: acquire, be the only one for a moment, release."""
    for _ in range(count):
        if not peer.acquire(**lock):
            raise RuntimeError("a blocking acquire came back with nothing")
        with witness.alone(folder):
            pass
        if not peer.release(**lock):
            raise RuntimeError("what was held could not be released")
    return count


def open_peer(kind, url, member):
    if kind == "tooz":
        import tooz_peer

        return tooz_peer.Peer(url, member)
    if kind == "redis":
        import redis_peer

        return redis_peer.Peer(url, member)
    if kind == "kazoo":
        import kazoo_peer

        return kazoo_peer.Peer(url, member)
    if kind == "ring":
        import ring_peer

        return ring_peer.Peer(url, member)
    raise ValueError(f"no peer of kind {kind}")


def main():
    peer = open_peer(*sys.argv[1:4])
    print(json.dumps({"ok": "ready", "begun": now(), "ended": now()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        act = request.pop("do")
        request = decode(request)
        begun = now()
        try:
            if act == "cycles":
                answer = {"ok": cycles(peer, **request)}
            else:
                answer = {"ok": encode(getattr(peer, act)(**request))}
        except Exception as error:  # the test decides what an error means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer | {"begun": begun, "ended": now()}), flush=True)
    peer.close()


main()
