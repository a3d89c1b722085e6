# SPDX-License-Identifier: MIT
"""
The archive a kernel unpacks into its first file system: cpio, the "newc" form (kernel documentation,
driver-api/early-userspace/buffer-format.rst). Written here because it takes thirty lines and no privileges: a device file is
just an entry.
"""
import stat


class Initramfs:
    def __init__(self):
        self.parts = []
        self.inode = 0

    def add(self, path, mode, data=b"", device=(0, 0)):
        self.inode += 1
        name = path.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

    def folder(self, path):
        self.add(path, stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o644):
        self.add(path, stat.S_IFREG | mode, data)

    def character_device(self, path, major, minor):
        self.add(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def write(self, out):
        for part in self.parts:
            out.write(part)
        end = Initramfs()
        end.inode = -1
        end.add("TRAILER!!!", 0)
        for part in end.parts:
            out.write(part)
