# SPDX-License-Identifier: GPL-2.0
"""Where the module can run: this kernel, or a virtual machine made by scripts/vm."""
import contextlib
import os
import subprocess

import config
from testbed import Failed


def vm():
    return os.path.join(config.TOP, "scripts", "vm")


def emulated():
    return os.environ.get("DUET_VM") in ("tcg", "icount")


def loaded():
    return os.path.isdir("/sys/module/duet")


def here():
    """is this the place: in the VM, or told so by DEMO=host, or the module is loaded already"""
    return bool(os.environ.get("DUET_VM")) or os.environ.get("DEMO") == "host" or loaded()


def site(module):
    """values for BIRD that fit the place: software emulation is too slow for BFD and short hold times"""
    if emulated() and module:
        return {"BFD_ON": 0, "HOLD_TIME": 30}
    return {}


@contextlib.contextmanager
def module(wanted):
    """duet.ko in this kernel, and out again if it was put there here"""
    if not wanted or loaded():
        yield
        return
    ko = os.path.join(config.OUT, "kmod", os.uname().release, "duet.ko")
    if not os.path.exists(ko):
        raise Failed(f"no {ko}: this kernel's headers are not installed, or run make; without DEMO=host a VM is used")
    told = subprocess.run(["insmod", ko], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if told.returncode:
        raise Failed(f"this kernel does not take {ko}: {told.stdout.strip()}")
    try:
        yield
    finally:
        subprocess.run(["rmmod", "duet"], check=False)
