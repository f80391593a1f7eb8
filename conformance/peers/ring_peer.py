"""Python's hash ring, without any store."""

from tooz import hashring


class Peer:
    def __init__(self, _url, _member):
        pass

    def owners(self, partitions, members, questions):
        """The size of the ring, and the sorted owners for each question of key, replicas, ignored members."""
        ring = hashring.HashRing([], partitions=partitions)
        for name, weight in members:
            ring.add_node(name.encode(), weight)

        def ask(key, replicas, ignored):
            found = ring.get_nodes(key.encode(), ignore_nodes=[name.encode() for name in ignored], replicas=replicas)
            return sorted(owner.decode() for owner in found)

        return [len(ring), [ask(*question) for question in questions]]

    def close(self):
        pass
