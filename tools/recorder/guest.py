# SPDX-License-Identifier: MIT
"""
Booting the guest and reading what it sends. One boot plays many scripts. When the guest stops before all were played (a panic,
a script that cannot be killed, silence), the script it was at is lost with one line that says why, and the others are
played by another boot; what had come out before is kept.

What the guest is given and what it sends is described in tools/recorder/guest/init.c.
"""
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from recorder import Trouble
from recorder.initramfs import Initramfs

QEMU = "qemu-system-x86_64"
# Emulated and on a busy host a boot takes seconds, but nobody knows how many.
BOOT_S = 300
# How long the guest may be silent beyond the time a script has.
GRACE_S = 90
BATCH = 100
# What the guest sends through its serial and its virtio port, as files.
PORTS = ("serial", "virtio")
DISK_MIB = 64


@dataclass
class Transcript:
    """What became of a script. @text: what it printed. @lost: why that is not all, or None."""
    text: str = ""
    lost: str = None
    ms: int = 0

    def last_statement(self):
        statements = [line for line in self.text.splitlines() if line.startswith("> ")]
        return statements[-1][2:] if statements else None


@dataclass
class Guest:
    """What is booted. @say: hears what is worth knowing, one line each."""
    kernel: object
    machine: object
    init: str
    cache: str
    timeout_s: int = 60
    accel: str = "tcg"
    say: object = lambda line: None
    version: str = ""          # of the kernel, once one has booted
    noted: set = field(default_factory=set)

    def header(self):
        """The first line of a transcript."""
        m = re.search(r" Debian (\S+)", self.version)
        if m:
            name = f"{m[1]} (Debian)"
        else:
            name = self.version.split()[2] if len(self.version.split()) > 2 else self.kernel.title
        return f"# Linux {name}, {self.machine.words()}"


def disk(cache):
    """An empty disk: ext4 with one buffer a page and no journal. Made once; guests write into a copy that is thrown away."""
    path = os.path.join(cache, f"disk-{DISK_MIB}M.ext4")
    if os.path.exists(path):
        return path
    mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not mkfs:
        raise Trouble("mkfs.ext4 is missing: apt-get install e2fsprogs")
    os.makedirs(cache, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=cache)
    try:
        os.truncate(handle, DISK_MIB << 20)
        os.close(handle)
        subprocess.run([mkfs, "-q", "-F", "-b", "4096", "-O", "^has_journal,^metadata_csum", scratch], check=True)
        os.rename(scratch, path)
    except subprocess.CalledProcessError as error:
        os.unlink(scratch)
        raise Trouble(f"mkfs.ext4 failed with status {error.returncode}") from None
    return path


def write_initramfs(path, guest, scripts):
    """@scripts: [(name, bytes)], played in this order."""
    archive = Initramfs()
    for folder in ("dev", "proc", "sys", "guest"):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)
    with open(guest.init, "rb") as f:
        archive.file("init", f.read(), 0o755)
    plan = [f"own {guest.machine.own}", f"cpus {guest.machine.nr_cpus}", f"timeout {guest.timeout_s}"]
    for module in guest.kernel.modules:
        with open(module, "rb") as f:
            archive.file("guest/" + os.path.basename(module), f.read())
        plan.append(f"module {os.path.basename(module)}")
    for number, (name, text) in enumerate(scripts):
        archive.file(f"guest/script.{number}", text)
        plan.append(f"script {name}")
    archive.file("guest/plan", "".join(line + "\n" for line in plan).encode())
    with open(path, "wb") as f:
        archive.write(f)


def command(guest, folder):
    """What starts the guest; its initramfs is in @folder, and its console and what it sends go there."""
    return [QEMU, "-accel", guest.accel + (",thread=multi" if guest.accel == "tcg" else ""), "-cpu", "max",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *guest.machine.arguments(),
            "-drive", f"file={disk(guest.cache)},if=virtio,format=raw,snapshot=on",
            "-chardev", f"file,id=console,path={folder}/console", "-serial", "chardev:console",
            *(option for n, port in enumerate(PORTS) for option in ("-chardev", f"file,id=sent{n},path={folder}/{port}")),
            "-serial", "chardev:sent0", "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=sent1",
            "-kernel", guest.kernel.image, "-initrd", f"{folder}/initramfs",
            # Where struct pages lie must not be left to chance; a panic ends the guest at once.
            "-append", "console=ttyS0 quiet nokaslr panic=-1 oops=panic random.trust_cpu=on"]


class Reader:
    """Takes what the guest sends apart, line by line."""

    def __init__(self, guest, numbers, results):
        """@numbers: the scripts of this boot, by their index in @results."""
        self.guest, self.numbers, self.results = guest, numbers, results
        self.at = None        # the script whose transcript is coming in, by index
        self.begun = self.booted = self.done = False
        self.fatal = None
        self.lines = []

    def line(self, line):
        if not line.startswith("\1"):
            if self.at is not None:
                self.lines.append(line + "\n")
            return
        word, _, rest = line[1:].partition(" ")
        if word == "kernel":
            self.booted, self.guest.version = True, rest
        elif word == "note":
            if rest not in self.guest.noted:
                self.guest.noted.add(rest)
                self.guest.say(f"note: {rest}")
        elif word == "begin":
            self.at, self.lines, self.begun = self.numbers[int(rest)], [], True
        elif word in ("end", "lost"):
            number, _, more = rest.partition(" ")
            result = Transcript("".join(self.lines))
            if word == "end":
                result.ms = int(more)
            else:
                result.lost = more
            self.results[self.numbers[int(number)]] = result
            self.at = None
        elif word == "fatal":
            self.fatal = rest
        elif word == "done":
            self.done = True

    def cut_off(self, why):
        """The guest is gone: whatever was coming in is lost."""
        if self.at is not None:
            self.results[self.at] = Transcript("".join(self.lines), lost=why)
            self.at = None


def last_words(console):
    """Why the kernel stopped, as its console tells; None when it does not."""
    for pattern in (r"Kernel panic - not syncing: .*", r"BUG: .*", r"Out of memory.*"):
        m = re.search(pattern, console)
        if m:
            return m[0].strip()
    return None


def slurp(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "replace")
    except OSError:
        return ""


class Tail:
    """The lines of a file that grows."""

    def __init__(self, path):
        self.path, self.file, self.pending = path, None, ""

    def lines(self):
        if not self.file and os.path.exists(self.path):
            self.file = open(self.path, "rb")
        *lines, self.pending = (self.pending + (self.file.read().decode("utf-8", "replace") if self.file else "")).split("\n")
        return lines

    def close(self):
        if self.file:
            self.file.close()


def follow(guest, process, folder, reader):
    """Read until the guest ends or is silent for too long. Return: why it ended badly, or None."""
    silent_since, limit = time.monotonic(), BOOT_S
    tails = [Tail(f"{folder}/{port}") for port in PORTS]
    try:
        while True:
            ended = process.poll() is not None
            lines = [line for tail in tails for line in tail.lines()]
            for line in lines:
                reader.line(line)
            if lines:
                silent_since = time.monotonic()
                if reader.booted:
                    limit = guest.timeout_s + GRACE_S
            elif ended:
                break
            elif time.monotonic() - silent_since > limit:
                process.kill()
                process.wait()
                return f"the guest was silent for {limit} s"
            else:
                time.sleep(0.05)
    finally:
        for tail in tails:
            tail.close()
    if reader.done:
        return None
    return reader.fatal or last_words(slurp(f"{folder}/console")) or f"the guest ended early (qemu: status {process.returncode})"


def boot(guest, scripts, numbers, results):
    """Play the scripts @numbers in one boot. Return: None, or why not all were played."""
    folder = tempfile.mkdtemp(prefix="oracle-")
    try:
        write_initramfs(f"{folder}/initramfs", guest, [scripts[n] for n in numbers])
        reader = Reader(guest, numbers, results)
        with open(f"{folder}/qemu", "wb") as log, \
                subprocess.Popen(command(guest, folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
            try:
                why = follow(guest, process, folder, reader)
            finally:
                process.kill()
        complaint = slurp(f"{folder}/qemu").strip().splitlines()
        if why and not reader.booted:
            console = slurp(f"{folder}/console").strip().splitlines()
            more = reader.fatal or (complaint[-1] if complaint else None) or last_words("\n".join(console)) or why
            raise Trouble(f"the guest does not start: {more}")
        reader.cut_off(why or "it was cut off")
        return why
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(guest, scripts, backwards=False, batch=BATCH):
    """
    Play @scripts, [(name, bytes)]. @backwards: the last one first, so that two runs show whether a transcript depends on what
    ran before.
    Return: a Transcript for each, in their order. Trouble: no script could be played at all.
    """
    results = [None] * len(scripts)
    waiting = list(range(len(scripts)))
    if backwards:
        waiting.reverse()
    while waiting:
        numbers = waiting[:batch]
        start = time.monotonic()
        why = boot(guest, scripts, numbers, results)
        played = [(results[n].ms, scripts[n][0]) for n in numbers if results[n]]
        if len(played) > 1:
            ms, slowest = max(played)
            guest.say(f"{len(played)} scripts in {time.monotonic() - start:.0f} s, slowest {slowest}, {ms / 1000:.1f} s")
        left = [n for n in waiting if results[n] is None]
        if len(left) == len(waiting):
            raise Trouble(f"the guest plays nothing: {why}")
        if why:
            guest.say(f"the guest stopped ({why}); {len(left)} scripts are left")
        waiting = left
    return results
