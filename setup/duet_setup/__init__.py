# SPDX-License-Identifier: GPL-2.0
"""duet-setup: inventory.py reads, files.py and bird.py write texts, authority.py
has the certificates, output.py compares with what is on disk and checks it."""


class Refused(Exception):
    """what is wrong, on what, and what to do: one sentence for the user"""
