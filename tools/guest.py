# SPDX-License-Identifier: Apache-2.0
"""Boots another kernel and runs programs of this machine in it, as root.

QEMU emulates the machine (TCG): KVM is not to be had everywhere, and where it looks as
if it were, a kernel may still not boot below it.  All that the guest has is an initramfs
of busybox and of the files that it is given, at the paths that they have here: no disk,
no module, nothing shared with this machine.
"""

import os
import re
import shlex
import stat
import subprocess
import tempfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
MEMORY_MIB = 1024
CPUS = 2
ENVIRONMENT = {"HOME": "/root", "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
FOLDERS = ("dev", "proc", "root", "run", "sys", "tmp")

#: The console has what the kernel says; what programs print has a port of its own.
INIT = """\
#!/busybox sh
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sysfs /sys
/busybox mount -t devtmpfs dev /dev
/busybox ip link set lo up
exec >/dev/ttyS1 2>&1 </dev/null
{commands}
/busybox poweroff -f
"""
COMMAND = """\
echo '== {name}'
{command}
printf '\\n== status %d\\n' $?
"""
ANSWER = re.compile(r"^== (\S+)\n(.*?)^== status (\d+)$", re.M | re.S)


class Files:
    """Paths for an archive, with the folders and links on the way to them."""

    def __init__(self):
        self.paths = set()
        self._place(Path("/etc/ld.so.cache"))

    def _place(self, path):
        """Where that really is."""
        place = Path("/")
        for part in path.parts[1:]:
            place = place.parent if part == ".." else place / part
            self.paths.add(place)
            if place.is_symlink():
                place = self._place(place.parent / place.readlink())
        return place

    def add(self, path):
        """A file, or a folder with all that is in it; of programs the libraries, too."""
        place = self._place(Path(path).absolute())
        programs = [place] if os.access(place, os.X_OK) and place.is_file() else []
        for folder, folders, names in os.walk(place):
            for name in folders + names:
                inner = self._place(Path(folder, name))
                programs += [inner] if inner.suffix == ".so" else []
        if programs:
            # It fails for scripts among them, and tells of the others.
            told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
            for library in set(re.findall(r"(?:=> |^\t)(/\S+)", told.stdout, re.M)):
                self._place(Path(library))

    def write(self, archive):
        """In the format "newc" of cpio, without its end."""
        for path in sorted(self.paths):
            about = path.lstat()
            data = b""
            if stat.S_ISLNK(about.st_mode):
                data = os.fsencode(path.readlink())
            elif stat.S_ISREG(about.st_mode):
                data = path.read_bytes()
            write_entry(archive, str(path)[1:], about.st_mode, data, int(about.st_mtime))


def write_entry(archive, name, mode, data=b"", changed=0):
    name = os.fsencode(name) + b"\0"
    # inode, mode, user, group, links, time, size, device, device of the node, length of the
    # name, checksum
    fields = (0, mode, 0, 0, 1, changed, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    archive.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))


def write_initramfs(archive, files, commands):
    for folder in FOLDERS:
        write_entry(archive, folder, stat.S_IFDIR | 0o755)
    write_entry(archive, "busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes())
    environment = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in ENVIRONMENT.items()
    )
    script = "".join(
        COMMAND.format(name=name, command=shlex.join(map(str, command)))
        for name, command in commands.items()
    )
    init = INIT.format(commands=environment + script)
    write_entry(archive, "init", stat.S_IFREG | 0o755, init.encode())
    files.write(archive)
    write_entry(archive, "TRAILER!!!", 0)


def run(kernel, files, commands, seconds):
    """Boot it and run {name: command line}, one after the other.

    Returns {name: (exit status, what it printed)} and what else was said, by a command
    that did not end as well; the guest is not given more than so many seconds.
    """
    with tempfile.TemporaryDirectory(prefix="loopscope-guest-") as name:
        folder = Path(name)
        with (folder / "initramfs").open("wb") as archive:
            write_initramfs(archive, files, commands)
        # One thread for all CPUs is as fast here. With one for each, a guest of some hundred
        # stood still: its second CPU had no timer interrupt any more, and the first waited.
        line = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max"]
        line += ["-smp", str(CPUS), "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none"]
        line += ["-serial", f"file:{folder}/console", "-serial", f"file:{folder}/output"]
        line += ["-kernel", str(kernel), "-initrd", f"{folder}/initramfs", "-no-reboot"]
        # The kernel does not trust the clock of an emulated CPU by itself, and others are slow.
        options = "panic=-1 mitigations=off tsc=reliable softlockup_all_cpu_backtrace=1"
        line += ["-append", f"console=ttyS0 ignore_loglevel {options}"]
        try:
            done = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                check=False,
            )
            said = done.stdout
        except subprocess.TimeoutExpired:
            said = f"qemu: no end after {seconds} s\n"
        output, console = (
            path.read_text(errors="replace").replace("\r", "") if path.exists() else ""
            for path in (folder / "output", folder / "console")
        )
    answers = {name: (int(status), text) for name, text, status in ANSWER.findall(output)}
    return answers, ANSWER.sub("", output).lstrip() + said + console
