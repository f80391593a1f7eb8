"""A member through redis-py's own Lock; names are whole keys."""

import redis


class Peer:
    def __init__(self, url, member):
        self.client = redis.Redis.from_url(url)
        self.client.ping()
        self.locks = {}

    def lock(self, name):
        if name not in self.locks:
            self.locks[name] = self.client.lock(name, timeout=30)
        return self.locks[name]

    def acquire(self, name, timeout=None):
        return self.lock(name).acquire(blocking=timeout != 0, blocking_timeout=timeout or None)

    def release(self, name):
        self.lock(name).release()
        return True

    def close(self):
        self.client.close()
