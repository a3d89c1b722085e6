#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
tools/oracle without an emulator: machines as options of qemu, the archive, where modules come from, what the guest sends taken
apart, and the whole program with a stand-in for qemu that sends what its scripts tell it to. Every way the guest can fail
ends in one line and costs one script.

    test_driver.py PATH/TO/tools PATH/TO/pagesim
"""
import gzip
import lzma
import os
import stat
import struct
import subprocess
import sys
import tempfile
import textwrap
import unittest

sys.dont_write_bytecode = True
TOOLS, PAGESIM = sys.argv[1:3]
sys.path.insert(0, TOOLS)
del sys.argv[1:3]

from recorder import Trouble, guest, initramfs, kernel, machine, transcript  # noqa: E402


class Machine(unittest.TestCase):
    def numa(self, name):
        args = machine.load(PAGESIM, name).arguments()
        return [value for option, value in zip(args, args[1:]) if option == "-numa"], args

    def test_the_golden_guest(self):
        """Expect its three nodes, and behind them the guest's own: no CPU, farther away than any."""
        numa, args = self.numa("linux-6.1")
        self.assertEqual(args[:4], ["-smp", "2", "-m", "1664M"])
        self.assertEqual(numa[0], "node,nodeid=0,memdev=m0,cpus=0-0")
        self.assertEqual([n for n in numa if n.startswith("node,")][1:],
                         ["node,nodeid=1,memdev=m1,cpus=1-1", "node,nodeid=2,memdev=m2", "node,nodeid=3,memdev=m3"])
        self.assertIn("dist,src=0,dst=2,val=40", numa)
        self.assertIn("dist,src=2,dst=1,val=50", numa)
        self.assertEqual({n for n in numa if "dst=3" in n}, {f"dist,src={n},dst=3,val=60" for n in range(3)})
        self.assertEqual([a for a in args if "memory-backend" in a][1], "memory-backend-ram,id=m1,size=512M,reserve=off")

    def test_every_machine_can_be_made_or_is_refused(self):
        for name, part in (("tiny", "huge pages of 2 MiB"), ("two-node,1=4M", "node 1 has 4 MiB"), ("two-node,0=64M", "node 0 has 64 MiB, Linux needs 256")):
            with self.subTest(machine=name), self.assertRaisesRegex(Trouble, part):
                machine.load(PAGESIM, name)
        for name in ("one-node", "dram-cxl,0=512M,1=1G", "four-socket", "pack:2 [numa(memory=1GB)] core:4 pu:1"):
            with self.subTest(machine=name):
                numa, _ = self.numa(name)
                self.assertGreaterEqual(len(numa), 2)
        self.assertIn("node,nodeid=3,memdev=m3,cpus=12-15", self.numa("four-socket")[0])
        with self.assertRaisesRegex(Trouble, "no-such-machine"):
            machine.load(PAGESIM, "no-such-machine")

    def test_cpus_that_do_not_stand_together(self):
        self.assertEqual(machine.cpu_list("0-3,8"), [0, 1, 2, 3, 8])
        self.assertEqual(machine.cpu_list(""), [])
        self.assertEqual(machine.runs([0, 1, 2, 8]), [(0, 2), (8, 8)])

    def test_words_of_the_first_line(self):
        self.assertEqual(machine.load(PAGESIM, "linux-6.1").words(), "3 nodes 768M/512M/256M, CPUs on nodes 0 and 1")
        self.assertEqual(machine.load(PAGESIM, "one-node").words(), "1 node 1024M, CPUs on node 0")


def entries(archive):
    """What an archive holds: {path: (mode, data, device)}; every field and padding checked."""
    found, at = {}, 0
    while True:
        assert archive[at:at + 6] == b"070701" and at % 4 == 0
        fields = [int(archive[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110:at + 110 + fields[11] - 1].decode()
        data = at + 110 + fields[11] + 3 & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = fields[1], archive[data:data + fields[6]], (fields[9], fields[10])
        at = data + fields[6] + 3 & ~3


class Archive(unittest.TestCase):
    def test_what_goes_in_comes_out(self):
        archive = initramfs.Initramfs()
        archive.folder("dev")
        archive.character_device("dev/console", 5, 1)
        contents = {f"f{n}": bytes(range(n)) for n in range(9)}
        for name, data in contents.items():
            archive.file(name, data, 0o755)
        with tempfile.TemporaryFile() as f:
            archive.write(f)
            f.seek(0)
            found = entries(f.read())
        self.assertEqual(found.pop("dev"), (stat.S_IFDIR | 0o755, b"", (0, 0)))
        self.assertEqual(found.pop("dev/console"), (stat.S_IFCHR | 0o600, b"", (5, 1)))
        self.assertEqual(found, {name: (stat.S_IFREG | 0o755, data, (0, 0)) for name, data in contents.items()})


def elf_with_pvh(pvh=True):
    """The smallest thing that looks like a kernel which can be started bare."""
    note = struct.pack("<III", 4, 4, 18 if pvh else 17) + b"Xen\0" + bytes(4)
    program = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    head = b"\x7fELF\x02\x01\x01" + bytes(25) + struct.pack("<QQIHHH", 64, 0, 0, 64, 56, 1) + bytes(6)
    return head[:64] + program + note


def bzimage(payload, release=b"6.1.0-test (x)"):
    image = bytearray(0x400 + 64)
    image[0x1f1] = 1
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20e, 0x180)
    image[0x380:0x380 + len(release)] = release
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image[:0x440]) + payload


class KernelImage(unittest.TestCase):
    def test_the_bare_kernel_is_taken_out(self):
        elf = elf_with_pvh()
        for payload in (lzma.compress(elf, check=lzma.CHECK_CRC32), gzip.compress(elf)):
            self.assertEqual(kernel.bare_kernel(bzimage(payload)), elf)
        self.assertEqual(kernel.bare_kernel(elf), elf)

    def test_what_cannot_be_started_bare_is_left_as_it_is(self):
        for payload in (gzip.compress(elf_with_pvh(False)), b"\x02\x21\x4c\x18 some other compression", b"\xfd7zXZ\0 damaged", b"\x1f\x8b cut"):
            self.assertIsNone(kernel.bare_kernel(bzimage(payload)))

    def test_the_version(self):
        self.assertEqual(kernel.release_of(bzimage(b"")), "6.1.0-test")
        self.assertIsNone(kernel.release_of(elf_with_pvh()))

    def test_modules_come_after_what_they_need(self):
        modules = {"ext4": b"x\0depends=jbd2,mbcache,crc16\0y", "jbd2": b"\0depends=\0", "mbcache": b"no such words",
                   "zram": b"\0depends=zsmalloc,lz4-compress\0", "lz4_compress": b"\0depends=\0", "zsmalloc": b"\0depends=zram\0"}
        order = [name for name, _ in kernel.loading_order(["zram", "virtio_blk", "ext4"], modules.get)]
        self.assertEqual(sorted(order), sorted(modules))
        self.assertLess(order.index("jbd2"), order.index("ext4"))
        self.assertLess(order.index("lz4_compress"), order.index("zram"))

    def test_an_image_with_its_modules_becomes_a_folder_of_the_cache(self):
        with tempfile.TemporaryDirectory() as folder:
            modules = os.path.join(folder, "modules", "kernel", "fs")
            os.makedirs(modules)
            with open(f"{modules}/ext4.ko.xz", "wb") as f:
                f.write(lzma.compress(b"\0depends=mbcache\0"))
            with open(f"{modules}/mbcache.ko", "wb") as f:
                f.write(b"plain")
            with open(f"{folder}/vmlinuz", "wb") as f:
                f.write(bzimage(gzip.compress(elf_with_pvh())))
            made = kernel.find(f"{folder}/cache", f"{folder}/vmlinuz", f"{folder}/modules", False)
            self.assertEqual([os.path.basename(m) for m in made.modules], ["mbcache.ko", "ext4.ko"])
            with open(made.image, "rb") as f:
                self.assertEqual(f.read(), elf_with_pvh())
            again = kernel.find(f"{folder}/cache", f"{folder}/vmlinuz", f"{folder}/modules", False)
            self.assertEqual(again.image, made.image)
            with self.assertRaisesRegex(Trouble, "no such folder"):
                kernel.find(f"{folder}/cache", f"{folder}/vmlinuz", f"{folder}/nowhere", False)

    def test_what_is_no_kernel(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, data, part in (("x.img", b"hello", "is no kernel"), ("x.deb", b"hello", "holds no kernel")):
                with open(f"{folder}/{name}", "wb") as f:
                    f.write(data)
                with self.assertRaisesRegex(Trouble, part):
                    kernel.find(f"{folder}/cache", f"{folder}/{name}", None, False)
            with self.assertRaisesRegex(Trouble, "no such kernel"):
                kernel.find(f"{folder}/cache", f"{folder}/nothing", None, False)
            with self.assertRaisesRegex(Trouble, "linux-image-6.1.0-1-amd64 has not been fetched"):
                kernel.find(f"{folder}/cache", "linux-image-6.1.0-1-amd64", None, False)


class Difference(unittest.TestCase):
    def test_where_two_transcripts_part(self):
        ours = "> A start\n> A show r\n  [0] none\n"
        self.assertIsNone(transcript.first_difference(ours, ours))
        self.assertEqual(transcript.first_difference(ours, ours.replace("none", "zero")),
                         (4, "> A show r", "  [0] none", "  [0] zero"))
        self.assertEqual(transcript.first_difference(ours, "> A start\n"), (3, "> A start", "> A show r", None))
        self.assertIsNotNone(transcript.first_difference(ours, ours[:-1]))
        self.assertEqual(transcript.body("# first\nsecond\n"), "second\n")


# A stand-in for qemu: unpacks the archive it is given as a kernel would, and plays the guest. A script's comment says what goes
# wrong while it runs.
QEMU = r'''
import os, re, struct, sys, time
def option(pattern):
    return re.search(pattern, " ".join(sys.argv))[1]
with open(option(r"-initrd (\S+)"), "rb") as f:
    archive = f.read()
files, at = {}, 0
while True:
    size, length = (int(archive[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in (6, 11))
    name = archive[at + 110:at + 109 + length].decode()
    data = at + 110 + length + 3 & ~3
    if name == "TRAILER!!!":
        break
    files[name] = archive[data:data + size].decode("utf-8", "replace")
    at = data + size + 3 & ~3
out = open(option(r"id=sent1,path=([^ ,]+)"), "w", 1)
open(option(r"id=sent0,path=([^ ,]+)"), "w").close()
console = open(option(r"id=console,path=([^ ,]+)"), "w", 1)
if os.environ.get("FAKE") == "refuses":
    sys.exit("qemu-system-x86_64: cannot set up guest memory: Cannot allocate memory")
if os.environ.get("FAKE") == "panics":
    console.write("[    1.0] Kernel panic - not syncing: VFS: no root\n")
    sys.exit(0)
if os.environ.get("FAKE") == "fatal":
    out.write("\1fatal the kernel must be built with CONFIG_DEBUG_INFO_BTF\n")
    sys.exit(0)
out.write("\1kernel Linux version 6.1.0-56-amd64 (x) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-01-01)\n")
for number in range(files["guest/plan"].count("\nscript ")):
    script = files["guest/script.%d" % number]
    out.write("\1begin %d\n> A start\n" % number)
    if "# panics" in script:
        console.write("[    9.0] Kernel panic - not syncing: Fatal exception\n")
        sys.exit(0)
    if "# hangs" in script:
        time.sleep(1000)
    if "# loses" in script:
        out.write("\1lost %d it did not end within 60 s\n" % number)
        continue
    if "# changes" in script:
        out.write("  = %d\n" % time.monotonic_ns())
    out.write("".join("> %s\n" % line for line in script.splitlines()[1:] if "#" not in line))
    out.write("\1end %d 12\n" % number)
out.write("\1done\n")
'''


class Driver(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name
        os.mkdir(self.path("bin"))
        self.program("bin/qemu-system-x86_64", "#!/usr/bin/env python3\n" + QEMU)
        self.program("bin/mkfs.ext4", "#!/bin/sh\nexit 0\n")
        self.write("kernel", elf_with_pvh())
        # The guest's init lies where a build would have it.
        os.makedirs(self.path("build/tools/pagesim"))
        os.makedirs(self.path("build/tools/recorder"))
        self.program("build/tools/pagesim/pagesim", f'#!/bin/sh\nexec {PAGESIM} "$@"\n')
        self.write("build/tools/recorder/oracle-init", b"init")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return self.path(name)

    def program(self, name, text):
        os.chmod(self.write(name, text), 0o755)

    def script(self, name, text=""):
        return self.write(name, "A start\n" + text)

    def oracle(self, *args, path=None, **env):
        return subprocess.run([sys.executable, os.path.join(TOOLS, "oracle"), "--cache", self.path("cache"), "--kernel", self.path("kernel"),
                               "--pagesim", self.path("build/tools/pagesim/pagesim"), "--no-install", *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=60,
                              env={**os.environ, "PATH": path or f"{self.path('bin')}:{os.environ['PATH']}", **env})

    HEAD = "# Linux 6.1.192-2 (Debian), 3 nodes 768M/512M/256M, CPUs on nodes 0 and 1\n"

    def test_one_script_is_printed_as_a_transcript(self):
        done = self.oracle(self.script("a.pgs", "A exit\n"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, self.HEAD + "> A start\n> A exit\n")

    def test_a_folder_goes_into_a_folder(self):
        os.makedirs(self.path("s/t"))
        self.script("s/b.pgs"), self.script("s/t/a.pgs", "A exit\n")
        done = self.oracle("--quiet", "--output", self.path("out"), self.path("s"))
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", ""))
        with open(self.path("out/a.out"), encoding="utf-8") as f:
            self.assertEqual(f.read(), self.HEAD + "> A start\n> A exit\n")
        self.script("s/t/b.pgs")
        done = self.oracle("--output", self.path("out"), self.path("s"))
        self.assertEqual((done.returncode, done.stderr), (1, "oracle: two scripts are called b.pgs: --output can hold one\n"))

    def test_a_script_that_brings_the_guest_down_costs_only_itself(self):
        """Expect another boot for those behind it, and one line each for those that are lost."""
        scripts = [self.script(name + ".pgs", text) for name, text in
                   (("a", ""), ("b", "# panics\n"), ("c", ""), ("d", "# loses\n"), ("e", "# panics\n"), ("f", ""))]
        done = self.oracle("--quiet", "--output", self.path("out"), *scripts)
        self.assertEqual(done.returncode, 1)
        panic = "Kernel panic - not syncing: Fatal exception, at 'A start'"
        self.assertEqual(done.stderr.splitlines(), [f"oracle: {scripts[1]}: {panic}",
                                                    f"oracle: {scripts[3]}: it did not end within 60 s, at 'A start'",
                                                    f"oracle: {scripts[4]}: {panic}"])
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["a.out", "c.out", "f.out"])

    def test_a_guest_that_falls_silent_is_given_up(self):
        vm = guest.Guest(kernel.find(self.path("cache"), self.path("kernel"), None, False), machine.load(PAGESIM, "linux-6.1"),
                         self.path("build/tools/recorder/oracle-init"), self.path("cache"), timeout_s=1)
        old, guest.GRACE_S, guest.QEMU = (guest.GRACE_S, guest.QEMU), 0, self.path("bin/qemu-system-x86_64")
        path, os.environ["PATH"] = os.environ["PATH"], f"{self.path('bin')}:{os.environ['PATH']}"
        try:
            results = guest.play(vm, [("a.pgs", b"A start\n"), ("b.pgs", b"A start\n# hangs\n"), ("c.pgs", b"A start\n")])
        finally:
            guest.GRACE_S, guest.QEMU = old
            os.environ["PATH"] = path
        self.assertEqual([r.lost for r in results], [None, "the guest was silent for 1 s", None])
        self.assertEqual(results[1].last_statement(), "A start")

    def test_a_guest_that_does_not_start_says_why(self):
        script = self.script("a.pgs")
        for fake, part in (("refuses", "cannot set up guest memory"), ("panics", "Kernel panic - not syncing: VFS: no root"),
                           ("fatal", "CONFIG_DEBUG_INFO_BTF")):
            with self.subTest(fake=fake):
                done = self.oracle(script, FAKE=fake)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn("oracle: the guest does not start: ", done.stderr)
                self.assertIn(part, done.stderr)

    def test_what_is_missing_is_named_by_package(self):
        os.unlink(self.path("bin/qemu-system-x86_64"))
        os.symlink(sys.executable, self.path("bin/python3"))
        for tool in ("sh", "cat"):
            os.symlink(f"/bin/{tool}", self.path(f"bin/{tool}"))
        done = self.oracle(self.script("a.pgs"), path=self.path("bin"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "oracle: qemu-system-x86 must be installed first: apt-get install qemu-system-x86\n")

    def test_a_kernel_that_was_not_fetched_is_named(self):
        done = self.oracle("--kernel", "linux-image-6.1.0-1-amd64", self.script("a.pgs"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("the kernel package linux-image-6.1.0-1-amd64 has not been fetched: tools/oracle --prepare", done.stderr)

    def test_recording_keeps_what_comes_out_twice(self):
        good, bad = self.script("good.pgs"), self.script("bad.pgs", "# changes\n")
        done = self.oracle("--quiet", "--record", good, bad)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"oracle: {bad}: not the same twice: line 3, after '> A start'", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        with open(self.path("good.out"), encoding="utf-8") as f:
            self.assertEqual(f.read(), self.HEAD + "> A start\n")
        self.assertFalse(os.path.exists(self.path("bad.out")))

    def test_comparing_with_what_was_recorded(self):
        paths = [self.script("a.pgs"), self.script("b.pgs", "A exit\n")]
        self.write("a.out", "# another kernel\n> A start\n")
        self.write("b.out", "# another kernel\n> A start\n  = 7\n")
        done = self.oracle("--compare", *paths)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, textwrap.dedent(f"""\
            agree          {paths[0]}
            differ         {paths[1]}
                line 3, after '> A start'
                  recorded    = 7
                  now       > A exit
            1 agree, 1 differ, 0 lost of 2
            """))
        done = self.oracle("--compare", self.script("c.pgs"))
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("c.out: No such file", done.stderr)

    def test_a_command_line_that_makes_no_sense(self):
        for args in ([], ["--no-such-option"], ["--record", "--compare", "a.pgs"], ["--timeout", "0", "a.pgs"]):
            done = self.oracle(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""), args)
        for args, part in ((["x.txt"], "expected a script"), (["/no/such.pgs"], "No such file"), ([self.folder + "/bin"], "there is no script")):
            done = self.oracle(*args)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
            self.assertIn(part, done.stderr)
        done = self.oracle("--machine", "tiny", self.script("a.pgs"))
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))

    # ---- pagesim verify --on-linux, with an oracle that is a shell script

    def verify(self, oracle, *args):
        self.program("oracle", "#!/bin/sh\n" + oracle)
        return subprocess.run([PAGESIM, "verify", "--on-linux", "--oracle", self.path("oracle"), *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=60)

    # The folder is what stands behind --output.
    FIND_OUTPUT = 'echo "$@" >"$0.args"; while [ "$1" != --output ]; do shift; done; out=$2\n'

    def test_verify_compares_with_what_linux_did(self):
        paths = [self.script(f"{name}.pgs", text) for name, text in (("a", ""), ("b", "A exit\n"), ("c", "A exchange r with B s\n"), ("d", ""))]
        done = self.verify(self.FIND_OUTPUT + textwrap.dedent("""\
            printf '# Linux\\n> A start\\n' >$out/a.out
            printf '# Linux\\n> A start\\n> A exit\\n  = -EBUSY\\n' >$out/b.out
            printf "# Linux\\n> A start\\n> A exchange r with B s\\nc.pgs:2: a real kernel has no 'exchange'\\n" >$out/c.out
            echo "oracle: d.pgs: it did not end" >&2
            exit 1
            """), "--kernel", "my.deb", "--machine", "two-node", *paths)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "oracle: d.pgs: it did not end\n")
        self.assertEqual(done.stdout, textwrap.dedent(f"""\
            agree          {paths[0]}
            differ         {paths[1]}
                line 4, after '> A exit'
                  linux       = -EBUSY
                  pagesim   (nothing more)
            not supported  {paths[2]}
                on a real kernel
            broken         {paths[3]}: no transcript
            1 agree, 1 differ, 1 not supported, some without a transcript, of 4
            """))
        with open(self.path("oracle.args"), encoding="utf-8") as f:
            args = f.read().split()
        self.assertEqual(args[args.index("--kernel") + 1], "my.deb")
        self.assertEqual(args[args.index("--machine") + 1], "two-node")
        self.assertEqual(os.path.realpath(args[args.index("--pagesim") + 1]), os.path.realpath(PAGESIM))
        self.assertIn("--no-install", args)
        self.assertEqual(args[args.index("--") + 1:], paths)
        self.assertFalse(os.path.exists(args[args.index("--output") + 1]), "the folder is taken away")

    def test_verify_when_nothing_could_be_played(self):
        done = self.verify("echo 'oracle: qemu-system-x86 must be installed first' >&2; exit 1\n", self.script("a.pgs"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "oracle: qemu-system-x86 must be installed first\npagesim: verify: nothing was played on Linux\n")
        done = subprocess.run([PAGESIM, "verify", "--on-linux", "--oracle", "/no/such/oracle", self.script("a.pgs")],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
        self.assertIn("/no/such/oracle", done.stderr)
        done = subprocess.run([PAGESIM, "verify", "--kernel", "x", self.script("a.pgs")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_verify_finds_the_oracle_of_its_own_tree(self):
        """Expect the real one to answer; it is told a kernel that is none."""
        done = subprocess.run([PAGESIM, "verify", "--on-linux", "--kernel", self.path("no-kernel"), self.script("a.pgs")],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "HOME": self.folder})
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith("oracle: "), done.stderr)


if __name__ == "__main__":
    unittest.main()
