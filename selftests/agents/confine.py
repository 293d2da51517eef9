#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""confine.py UNIT RW[:RW...] COMMAND... - run a command in what a systemd unit lets its service do, as far as that can be had without
systemd: capabilities, NoNewPrivileges, the filter of system calls, and all of the file system read-only but ReadWritePaths and RW.
The caller gives a mount namespace."""
import ctypes
import os
import re
import struct
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 24, 22, 38
SYS_MOUNT_SETATTR, AT_RECURSIVE, RDONLY = 442, 0x8000, 1
ALLOW, EPERM_ERRNO = 0x7fff0000, 0x00050001
CAPS = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE""".split()


def settings(unit):
    found = {}
    with open(unit, encoding="utf-8") as f:
        for line in f:
            if "=" in line and line[0] not in "#[":
                key, value = line.strip().split("=", 1)
                found.setdefault(key, []).append(value)
    return found


def calls(name):
    """the system calls of a set, or the one of that name"""
    if name[0] != "@":
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], stdout=subprocess.PIPE, check=True, text=True).stdout
    words = [l.strip() for l in listed.splitlines()[1:] if l.strip() and not l.strip().startswith("#")]
    return set().union(*[calls(w) for w in words])


def numbers():
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", encoding="ascii") as f:
        return {name: int(n) for name, n in re.findall(r"#define __NR_(\w+) (\d+)", f.read())}


def seccomp(lines):
    allowed = set()
    for line in lines:
        for word in line.lstrip("~").split():
            allowed = allowed - calls(word) if line[0] == "~" else allowed | calls(word)
    known = numbers()
    program = struct.pack("HBBI", 0x20, 0, 0, 0)
    for n in sorted(known[name] for name in allowed if name in known):
        program += struct.pack("HBBI", 0x15, 0, 1, n) + struct.pack("HBBI", 6, 0, 0, ALLOW)
    program += struct.pack("HBBI", 6, 0, 0, EPERM_ERRNO)
    held = ctypes.create_string_buffer(program)
    return ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))), held


def attr(path, on, off):
    value = struct.pack("QQQQ", on, off, 0, 0)
    if LIBC.syscall(SYS_MOUNT_SETATTR, -100, path.encode(), AT_RECURSIVE, value, len(value)):
        raise OSError(ctypes.get_errno(), f"mount_setattr {path}")


def main():
    unit, writable = settings(sys.argv[1]), sys.argv[2].split(":")
    writable += [p.lstrip("-") for line in unit.get("ReadWritePaths", []) for p in line.split()]
    writable = [p for p in writable if os.path.exists(p)]
    for path in writable:
        subprocess.run(["mount", "--rbind", path, path], check=True)
    attr("/", RDONLY, 0)
    for path in writable:
        attr(path, 0, RDONLY)
    keep = {c.removeprefix("CAP_") for line in unit["CapabilityBoundingSet"] for c in line.split()}
    program = seccomp(unit["SystemCallFilter"])
    for number, name in enumerate(CAPS):
        if name not in keep:
            LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    os.umask(int(unit["UMask"][0], 8))
    if unit["NoNewPrivileges"] != ["yes"] or LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no NoNewPrivileges")
    if LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(program[0])), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execv(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
