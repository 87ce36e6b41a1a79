"""Full disks."""

import os


def fill(file, leave):
    """Writes a file that leaves so many bytes free on its disk."""
    free = os.statvfs(file.parent)
    file.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
