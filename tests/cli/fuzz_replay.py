#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Random programs: events of every kind with ranges that overlap, miss and do not fit, on machines that are too small, under every
policy, with all invariants checked. Expect: a replay ends with status 0, or with 1 because memory or addresses ran out, which a
trace may make happen; never with a broken invariant, a signal or a hang.

    fuzz_replay.py PATH/TO/pagesim [COUNT [FIRST_SEED]]

A seed that fails is printed with the command, and its trace is kept.
"""
import os
import random
import subprocess
import sys
import tempfile

HEAD = "# pagesim bulk trace 1\nsource test\ncommand x\ncreated-by fuzz\nnote\nclock {}\nfold 1\n"
MACHINES = ["dram-cxl,0=2M,1=4M", "dram-cxl,0=2M,1=16M", "two-node,0=2M,1=2M", "four-socket", "one-node,0=4M", "dram-cxl"]
SCAN = "scan_delay=0,scan_period_min=1,scan_size=1"
POLICIES = ["none", "numa-balancing," + SCAN, "numa-balancing,mode=2,hot_threshold=1," + SCAN]
FILES = ["/lib/a", "f", "/tmp/x y", "", "dir/"]
ADVICE = [0, 1, 3, 4, 8, 9, 10, 11, 14, 15, 20, 22, 23, 25, 99]
ENDS = ("out of simulated memory", "an address space of this machine")


class Program:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.wild = self.rng.random() < 0.3
        self.tasks = [0]
        self.made = 1
        self.time = 0

    def range(self):
        r = self.rng
        if self.wild and r.random() < 0.05:
            return f"{r.randrange(1 << 36):x}+{r.randrange(1 << 30)}"
        return f"{0x1000 + r.randrange(600):x}+{r.randrange(0 if self.wild else 1, r.choice([2, 10, 100, 700]))}"

    def records(self):
        r = self.rng
        base = 0x1000 + r.randrange(600)
        for _ in range(r.randrange(1, 60)):
            page = base + r.randrange(50) if r.random() < 0.9 else 0x1000 + r.randrange(700)
            yield f" {page:x} {r.choice(['r1', 'w1', 'r1w1', 'w1r2', 'x3', 'r100', 'w1'])}\n"

    def birth(self, task, kind, ids):
        self.tasks.append(self.made)
        self.made += 1
        return f"{kind} other={self.made - 1} {ids}"

    def death(self, task):
        self.tasks.remove(task)
        return "exit"

    def event(self, task):
        r = self.rng
        pick = r.choices(range(12), [15, 6, 4, 4, 3, 5, 3, 2, 2, 1, 6, 4])[0]
        if pick == 0:
            return (f"mmap at={self.range()} prot={r.choice([0, 1, 3, 3, 3, 5, 7])} flags={r.choice([0, 0, 0, 1, 2, 16, 48, 3, 256, 128])} "
                    f"offset={r.randrange(20) * 4096} name={r.choice(['', '', ''] + FILES)}")
        if pick == 1:
            return f"munmap at={self.range()}"
        if pick == 2:
            return f"mremap at={self.range()} to={self.range()}"
        if pick == 3:
            return f"mprotect at={self.range()} prot={r.choice([0, 1, 3])}"
        if pick == 4:
            return f"brk at=1300+{r.randrange(100)}"
        if pick == 5:
            return f"madvise at={self.range()} advice={r.choice(ADVICE)}"
        if pick == 6:
            return self.birth(task, "fork", "pid=2 tid=1")
        if pick == 7:
            return self.birth(task, "thread", "pid=1 tid=2")
        if pick == 8:
            return self.death(task)
        if pick == 9:
            return "exec name=/bin/q z"
        if pick == 10:
            return (f"{r.choice(['read', 'write'])} at={0x1000 + r.randrange(600):x}+{r.randrange(20)} "
                    f"offset={r.randrange(1 << 17)} length={r.randrange(60000)} name={r.choice(FILES)}")
        return r.choice([f"truncate length={r.randrange(100000)} name={r.choice(FILES)}", f"fsync name={r.choice(FILES)}",
                         f"open name={r.choice(FILES)}"])

    def text(self):
        r = self.rng
        yield HEAD.format(r.choice(["accesses", "instructions", "ns"]))
        yield "@0 0 start other=- pid=1 tid=1 name=/bin/p\n"
        for _ in range(r.randrange(20, 400)):
            self.time += r.randrange(100)
            if not self.tasks:
                break
            task = r.choice(self.tasks)
            if r.random() < 0.45:
                yield f"@{self.time}+{r.randrange(1000)} {task}\n"
                yield from self.records()
            else:
                yield f"@{self.time} {task} {self.event(task)}\n"
        yield "end\n"

    def options(self):
        r = self.rng
        return ["--check", "--machine", r.choice(MACHINES), "--policy", r.choice(POLICIES), "--contents",
                r.choice(["none", "tag", "bytes"]), "--interval", r.choice(["10us", "100us", "1ms"]), "--format", "csv",
                "--generation", r.choice(["6.1", "6.3-batch"])]


def fine(done):
    said = done.stderr.decode(errors="replace")
    return done.returncode == 0 or (done.returncode == 1 and said.count("\n") == 1 and any(end in said for end in ENDS))


def main():
    pagesim, count, first = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40, int(sys.argv[3]) if len(sys.argv) > 3 else 1
    failed = 0
    folder = tempfile.mkdtemp(prefix="pagesim-fuzz-")
    for seed in range(first, first + count):
        program = Program(seed)
        path = os.path.join(folder, f"{seed}.txt")
        with open(path, "w") as f:
            f.writelines(program.text())
        command = [pagesim, "replay", path, *program.options()]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120)
            good, why = fine(done), f"status {done.returncode}\n" + done.stderr.decode(errors="replace")[-4000:]
        except subprocess.TimeoutExpired:
            good, why = False, "no end after 120 s"
        if good:
            os.unlink(path)
        else:
            failed += 1
            print(f"seed {seed}: {' '.join(command)}\n{why}", flush=True)
    if not failed:
        os.rmdir(folder)
    print(f"fuzz_replay: {count} programs from seed {first} on, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
