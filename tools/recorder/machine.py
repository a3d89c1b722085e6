# SPDX-License-Identifier: MIT
"""
A machine as qemu's options. What the machine is, `pagesim machine --format json` tells, so every source pagesim reads (key files,
topologies, this host) can be booted too: sizes of the nodes, their CPUs, distances. Latency, bandwidth and kinds of memory
are nothing an emulated machine could have; to Linux all its nodes are DRAM.

One node more than the machine has is the guest's own: what runs there besides the script lies on it, and scripts never name it.
It has no CPU and is farther away than anything.
"""
import json
import subprocess

from recorder import Trouble

MIB = 1 << 20
OWN_BYTES = 128 * MIB
# Linux on x86 ignores nodes below 4 MiB and cannot start without some memory in the first.
SMALLEST = 16 * MIB
SMALLEST_FIRST = 256 * MIB
FARTHEST = 254


def cpu_list(text):
    """The numbers in "0-3,8"."""
    cpus = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


class Machine:
    def __init__(self, told):
        """@told: what `pagesim machine --format json` printed, parsed."""
        self.name = told["name"]
        self.sizes = [node["bytes"] for node in told["nodes"]]
        self.cpus = [cpu_list(node["cpus"]) for node in told["nodes"]]
        self.nr_cpus = told["cpus"]
        self.distance = told["distance"]
        self.huge_page = told["huge_page_bytes"]

    @property
    def own(self):
        """Number of the guest's own node."""
        return len(self.sizes)

    def check(self):
        """Raise Trouble when no PC can be like that."""
        if self.huge_page != 2 * MIB:
            raise Trouble(f"machine {self.name}: Linux on x86 has huge pages of 2 MiB, not of {self.huge_page // 1024} KiB")
        for n, size in enumerate(self.sizes):
            least = SMALLEST if n else SMALLEST_FIRST
            if (size or not n) and size < least:
                raise Trouble(f"machine {self.name}: node {n} has {size // MIB} MiB, Linux needs {least // MIB} MiB to start "
                              f"({self.name},{n}={least // MIB}M changes it)")
            if size % MIB:
                raise Trouble(f"machine {self.name}: node {n} has {size} bytes, expected whole MiB")
        if sorted(cpu for cpus in self.cpus for cpu in cpus) != list(range(self.nr_cpus)):
            raise Trouble(f"machine {self.name}: expected each CPU on one node")

    def arguments(self):
        """The options of qemu-system-x86_64 that make this machine."""
        sizes = self.sizes + [OWN_BYTES]
        args = ["-smp", str(self.nr_cpus), "-m", f"{sum(sizes) // MIB}M"]
        for n, size in enumerate(sizes):
            node = f"node,nodeid={n}"
            if size:
                # Memory the guest never touches is none of the host's.
                args += ["-object", f"memory-backend-ram,id=m{n},size={size // MIB}M,reserve=off"]
                node += f",memdev=m{n}"
            if n < self.own:
                node += "".join(f",cpus={a}-{b}" for a, b in runs(self.cpus[n]))
            args += ["-numa", node]
        away = min(FARTHEST, max(10, *(max(row) for row in self.distance)) + 10)
        for a in range(self.own):
            for b in range(self.own):
                if a != b:
                    args += ["-numa", f"dist,src={a},dst={b},val={self.distance[a][b]}"]
            args += ["-numa", f"dist,src={a},dst={self.own},val={away}", "-numa", f"dist,src={self.own},dst={a},val={away}"]
        return args

    def words(self):
        """As the first line of a transcript says it: "3 nodes 768M/512M/256M, CPUs on nodes 0 and 1"."""
        sizes = "/".join(f"{size // MIB}M" for size in self.sizes)
        on = [str(n) for n, cpus in enumerate(self.cpus) if cpus]
        where = f"nodes {', '.join(on[:-1])} and {on[-1]}" if len(on) > 1 else f"node {on[0]}"
        return f"{len(self.sizes)} node{'s' * (len(self.sizes) > 1)} {sizes}, CPU{'s' * (self.nr_cpus > 1)} on {where}"


def runs(numbers):
    """[0, 1, 2, 8] as [(0, 2), (8, 8)]."""
    found = []
    for n in numbers:
        if found and found[-1][1] == n - 1:
            found[-1] = (found[-1][0], n)
        else:
            found.append((n, n))
    return found


def load(pagesim, name):
    """The machine called @name, by whatever name pagesim knows it."""
    done = subprocess.run([pagesim, "machine", "--format", "json", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Trouble(done.stderr.strip().removeprefix("pagesim: machine: ") or f"machine {name}: pagesim cannot tell what it is")
    machine = Machine(json.loads(done.stdout))
    machine.check()
    return machine
