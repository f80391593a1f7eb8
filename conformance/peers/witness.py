"""A place where only one may be at a time, shared with members in other languages through a folder."""

import contextlib
import os


@contextlib.contextmanager
def alone(folder):
    """Enters, counts the visit without any lock, leaves. Another one inside is an error."""
    inside = os.path.join(folder, "inside")
    os.close(os.open(inside, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    count = os.path.join(folder, "count")
    with open(count, "r+") as file:
        visits = int(file.read() or 0)
        yield
        file.seek(0)
        file.write(f"{visits + 1:020}")
    os.unlink(inside)
