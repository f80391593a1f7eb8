"""A member through kazoo's own recipes; names are whole paths."""

import threading

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout


class Peer:
    def __init__(self, hosts, member):
        self.client = KazooClient(hosts=hosts, timeout=5)
        self.client.start()
        self.member = member
        self.locks = {}
        self.terms = {}

    def lock(self, name, kind):
        recipe = {"lock": self.client.Lock, "read": self.client.ReadLock, "write": self.client.WriteLock}[kind]
        return self.locks.setdefault((name, kind), recipe(name, self.member))

    def acquire(self, name, kind="lock", timeout=None):
        try:
            if timeout == 0:
                return self.lock(name, kind).acquire(blocking=False)
            return self.lock(name, kind).acquire(timeout=timeout)
        except LockTimeout:
            return False

    def release(self, name, kind="lock"):
        return self.lock(name, kind).release()

    def contenders(self, name, kind="lock"):
        return self.lock(name, kind).contenders()

    def campaign(self, name):
        """Is a candidate from now on; `run` says whether it leads."""
        election = self.client.Election(name, self.member)
        leads, over = threading.Event(), threading.Event()

        def lead():
            leads.set()
            over.wait()

        thread = threading.Thread(target=election.run, args=(lead,), daemon=True)
        thread.start()
        self.terms[name] = (election, leads, over, thread)

    def run(self, name):
        return self.terms[name][1].is_set()

    def candidates(self, name):
        return self.client.Election(name, self.member).contenders()

    def resign(self, name):
        election, _, over, thread = self.terms.pop(name)
        over.set()
        election.cancel()
        thread.join()
        return True

    def close(self):
        self.client.stop()
        self.client.close()
