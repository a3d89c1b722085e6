# SPDX-License-Identifier: MIT
"""
The parts of tools/oracle, which plays scripts on a real kernel under emulation:

    machine       a machine file as options of qemu
    kernel        where a kernel comes from, and the modules it needs
    initramfs     the archive the guest starts from
    guest         booting it and reading what it sends
    transcript    comparing two transcripts
    guest/*.c     the guest's only program
"""


class Trouble(Exception):
    """Something the user must know: one line."""
