"""A member through Python tooz, over any of its stores."""

from tooz import coordination


class Peer:
    def __init__(self, url, member):
        self.coordinator = coordination.get_coordinator(url, member.encode())
        self.coordinator.start(start_heart=True)
        self.locks = {}
        self.elected = set()
        self.partitioners = {}

    def lock(self, name):
        if name not in self.locks:
            self.locks[name] = self.coordinator.get_lock(name.encode())
        return self.locks[name]

    def acquire(self, name, timeout=None, shared=False):
        blocking = True if timeout is None else timeout > 0
        wait = timeout if blocking else None
        return self.lock(name).acquire(blocking=blocking, shared=shared, timeout=wait)

    def release(self, name):
        return self.lock(name).release()

    def break_lock(self, name):
        return self.coordinator.get_lock(name.encode()).break_()

    def beat(self):
        self.coordinator.heartbeat()

    def groups(self):
        return sorted(group.decode() for group in self.coordinator.get_groups().get())

    def create(self, group):
        self.coordinator.create_group(group.encode()).get()

    def delete(self, group):
        self.coordinator.delete_group(group.encode()).get()

    def join(self, group, capabilities=b""):
        self.coordinator.join_group(group.encode(), capabilities).get()

    def update(self, group, capabilities):
        self.coordinator.update_capabilities(group.encode(), capabilities).get()

    def leave(self, group):
        self.coordinator.leave_group(group.encode()).get()

    def members(self, group):
        return sorted(member.decode() for member in self.coordinator.get_members(group.encode()).get())

    def capabilities(self, group, member):
        return self.coordinator.get_member_capabilities(group.encode(), member.encode()).get()

    def join_partitioned(self, group, weight):
        self.partitioners[group] = self.coordinator.join_partitioned_group(group.encode(), weight)

    def leave_partitioned(self, group):
        self.coordinator.leave_partitioned_group(self.partitioners.pop(group))

    def owners(self, group, keys, replicas):
        """The sorted owners of each key, as far as this member has seen others come and go."""
        self.coordinator.run_watchers()
        ring = self.partitioners[group]
        found = [ring.members_for_object(key, replicas=replicas) for key in keys]
        return [sorted(owner.decode() for owner in owners) for owners in found]

    def campaign(self, group):
        """Is a candidate from now on; `run` says whether it leads."""
        self.coordinator.watch_elected_as_leader(group.encode(), lambda event: self.elected.add(group))

    def run(self, group):
        self.coordinator.run_watchers()
        self.coordinator.run_elect_coordinator()
        return group in self.elected

    def resign(self, group):
        self.elected.discard(group)
        return self.coordinator.stand_down_group_leader(group.encode())

    def leader(self, group):
        leader = self.coordinator.get_leader(group.encode()).get()
        return leader.decode() if isinstance(leader, bytes) else leader

    def close(self):
        self.coordinator.stop()
