# SPDX-License-Identifier: MIT
"""
Where the guest's kernel comes from: a Debian package (named, or as a .deb), or an image with its modules. Whatever it was, what
is needed of it ends up in a folder of the cache and is found there the next time:

    image      what qemu boots: the bare kernel if it has an entry for that (PVH), which spares the guest the
               unpacking; else the image as it was
    modules/   NAME.ko, and `order`, which names them as they are to be loaded

Modules that are not there are taken for built in; a kernel that has them neither way says so when it has booted.
"""
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile

from recorder import Trouble

META_PACKAGE = "linux-image-amd64"
DEFAULT_PACKAGE = r"linux-image-6\.1\.0-\d+-amd64_"
PACKAGE = re.compile(r"linux-image-[a-z0-9][a-z0-9.+~-]*$")
# What the guest uses: swap in memory, the disk with ext4 on it, the port it sends through. Then what some versions ask for by name only.
WANTED = ["zram", "virtio_pci", "virtio_blk", "virtio_console", "ext4", "crc32c_generic", "lzo", "lzo_rle"]
# Folders below lib/modules/VERSION/kernel/ in which these and whatever they depend on lie.
FOLDERS = ("arch/x86/crypto/", "crypto/", "drivers/block/", "drivers/char/", "drivers/virtio/", "fs/ext4/", "fs/jbd2/", "fs/mbcache", "lib/", "mm/")
MODULE = re.compile(r"(?:.*/)?lib/modules/([^/]+)/kernel/(.*\.ko(?:\.xz|\.zst|\.gz)?)$")


class Kernel:
    """@image: path for qemu -kernel. @modules: paths, in the order of loading. @title: what it was made from."""

    def __init__(self, folder, title):
        self.image = os.path.join(folder, "image")
        self.title = title
        with open(os.path.join(folder, "modules", "order"), encoding="utf-8") as order:
            self.modules = [os.path.join(folder, "modules", name) for name in order.read().split()]


# ---- pieces of files ----

def unpack(name, data):
    """A file that is perhaps compressed, by its name."""
    if name.endswith(".xz"):
        return lzma.decompress(data)
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst"):
        return zstd(data)
    return data


def zstd(data):
    if not shutil.which("zstd"):
        raise Trouble("the kernel or its modules are compressed with zstd: apt-get install zstd")
    return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=False).stdout


def has_pvh_entry(elf):
    """Whether the kernel has the note (owner Xen, type 18) that says where to jump to without a boot loader."""
    if elf[:5] != b"\x7fELF\x02":
        return False
    offset, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", elf, offset + i * size)
        end = start + length
        while kind == 4 and start + 12 <= min(end, len(elf)):
            owner, described, note = struct.unpack_from("<III", elf, start)
            if note == 18 and elf[start + 12:start + 12 + owner] == b"Xen\0":
                return True
            start += 12 + (owner + 3 & ~3) + (described + 3 & ~3)
    return False


def bare_kernel(image):
    """The kernel inside a bzImage (boot protocol 2.08), or None where it cannot be taken out or booted bare."""
    if image[0x202:0x206] != b"HdrS":
        return image if has_pvh_entry(image) else None
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[(sectors + 1) * 512 + offset:][:length]
    try:
        if payload[:6] == b"\xfd7zXZ\0":
            elf = lzma.LZMADecompressor().decompress(payload)
        elif payload[:2] == b"\x1f\x8b":
            elf = gzip.GzipFile(fileobj=io.BytesIO(payload)).read(1 << 30)
        elif payload[:4] == b"\x28\xb5\x2f\xfd" and shutil.which("zstd"):
            elf = zstd(payload[:-4])
        else:
            return None
    except (lzma.LZMAError, OSError, EOFError):
        return None
    return elf if has_pvh_entry(elf) else None


def release_of(image):
    """What a bzImage says `uname -r` will be; None when it does not say."""
    if image[0x202:0x206] != b"HdrS":
        return None
    at, = struct.unpack_from("<H", image, 0x20e)
    return image[at + 0x200:].split(b"\0", 1)[0].split(b" ")[0].decode("ascii", "replace") if at else None


def module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def dependencies(module):
    """The modules that must be there before: .modinfo holds "depends=a,b"."""
    m = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in (m[1].decode() if m else "").replace("-", "_").split(",") if name]


def loading_order(wanted, load):
    """
    @wanted and everything they depend on, dependencies first. @load(name) gives the bytes of a module, None when there is no
    such file. Return: [(name, bytes)].
    """
    order, seen = [], set()

    def visit(name):
        if name in seen:
            return
        seen.add(name)
        data = load(name)
        if data is None:
            return
        for other in dependencies(data):
            visit(other)
        order.append((name, data))
    for name in wanted:
        visit(name)
    return order


# ---- sources ----

def read_package(deb):
    """The image of a .deb, and its modules as {name: (file name, bytes)}."""
    if not shutil.which("dpkg-deb"):
        raise Trouble("dpkg-deb is missing: apt-get install dpkg")
    image, modules = None, {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dpkg:
        try:
            with tarfile.open(fileobj=dpkg.stdout, mode="r|") as archive:
                for member in archive:
                    m = MODULE.match(member.name)
                    if not member.isfile():
                        continue
                    if re.match(r"(\./)?boot/vmlinuz-", member.name):
                        image = archive.extractfile(member).read()
                    elif m and m[2].startswith(FOLDERS):
                        modules[module_name(member.name)] = member.name, archive.extractfile(member).read()
        except tarfile.TarError:
            dpkg.kill()
        complaint = dpkg.stderr.read().decode("utf-8", "replace").strip().splitlines()
    if image is None:
        raise Trouble(f"{deb}: holds no kernel" + (f" ({complaint[0]})" if complaint else ""))
    return image, modules


def read_image(path, modules_folder):
    """The same of an image and a folder of modules: lib/modules/VERSION, or one that has it somewhere below."""
    with open(path, "rb") as f:
        image = f.read()
    modules = {}
    if modules_folder and not os.path.isdir(modules_folder):
        raise Trouble(f"{modules_folder}: no such folder")
    release = release_of(image)
    folder = modules_folder or (release and os.path.join("/lib/modules", release))
    if folder and os.path.isdir(folder):
        for where, _, names in os.walk(folder):
            for name in names:
                if re.search(r"\.ko(\.xz|\.zst|\.gz)?$", name):
                    full = os.path.join(where, name)
                    modules[module_name(name)] = full, full
    if image[:4] != b"\x7fELF" and image[0x202:0x206] != b"HdrS":
        raise Trouble(f"{path}: is no kernel: expected a .deb, a vmlinuz (bzImage) or a vmlinux (ELF)")
    return image, modules


def prepare(folder, image, modules):
    """Fill @folder."""
    def load(name):
        if name not in modules:
            return None
        file, data = modules[name]
        if isinstance(data, str):
            with open(data, "rb") as f:
                data = f.read()
        return unpack(file, data)

    with open(os.path.join(folder, "image"), "wb") as f:
        f.write(bare_kernel(image) or image)
    os.mkdir(os.path.join(folder, "modules"))
    order = loading_order(WANTED, load)
    for name, data in order:
        with open(os.path.join(folder, "modules", name + ".ko"), "wb") as f:
            f.write(data)
    with open(os.path.join(folder, "modules", "order"), "w", encoding="utf-8") as f:
        f.write("".join(f"{name}.ko\n" for name, _ in order))


def cached(cache, source, modules_folder=None):
    """The kernel made from the file @source (and modules), made now if it is not in the cache yet."""
    here = os.stat(source)
    made_from = f"{os.path.abspath(source)} {here.st_size} {here.st_mtime_ns} {modules_folder} {WANTED}"
    key = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    title = os.path.basename(source)
    folder = os.path.join(cache, "kernels", f"{title.removesuffix('.deb')}.{key}")
    if not os.path.isdir(folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        image, modules = read_package(source) if source.endswith(".deb") else read_image(source, modules_folder)
        scratch = tempfile.mkdtemp(dir=os.path.dirname(folder))
        try:
            prepare(scratch, image, modules)
            os.rename(scratch, folder)
        except OSError:
            # Somebody else was faster.
            if not os.path.isdir(folder):
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return Kernel(folder, title)


# ---- packages ----

def default_package():
    """The kernel Debian installs today."""
    done = subprocess.run(["apt-cache", "depends", META_PACKAGE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    m = re.search(r"Depends: (linux-image-[0-9]\S*)", done.stdout)
    return m[1] if m else None


def downloaded(cache, pattern):
    """The newest .deb in the cache whose name begins like that, or None."""
    folder = os.path.join(cache, "packages")
    found = [os.path.join(folder, name) for name in (os.listdir(folder) if os.path.isdir(folder) else ()) if re.match(pattern, name)]
    return max(found, key=os.path.getmtime, default=None)


def download(cache, package):
    """Fetch a package with apt. Return: its path."""
    folder = os.path.join(cache, "packages")
    os.makedirs(folder, exist_ok=True)
    if not shutil.which("apt-get"):
        raise Trouble(f"there is no apt-get to fetch {package} with: give the kernel with --kernel")
    done = subprocess.run(["apt-get", "download", package], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "LC_ALL": "C"})
    found = downloaded(cache, re.escape(package) + "_")
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise Trouble(f"{package} cannot be fetched: {lines[0][3:] if lines else 'apt-get download failed'}"
                      " (apt-get update may help)")
    return found


def find(cache, wanted, modules_folder, may_fetch):
    """
    The kernel the user wants: a file, a package, or None for Debian's. @may_fetch: a package that is not in the cache is
    downloaded; else it is Trouble, which names it.
    """
    if wanted and not PACKAGE.match(wanted):
        if not os.path.isfile(wanted):
            raise Trouble(f"{wanted}: no such kernel: expected a .deb, an image, or a package linux-image-...")
        return cached(cache, wanted, modules_folder)
    # What was fetched once is used until another is asked for: a new one would make other transcripts.
    deb = downloaded(cache, re.escape(wanted) + "_" if wanted else DEFAULT_PACKAGE)
    if not deb:
        package = wanted or default_package() or META_PACKAGE
        if not may_fetch:
            raise Trouble(f"the kernel package {package} has not been fetched: tools/oracle --prepare fetches it, or give one with --kernel")
        deb = download(cache, package)
    return cached(cache, deb)
