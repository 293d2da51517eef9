#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# installed.sh VERSION - run by scripts/deb in a chroot where all packages were
# just installed: is everything there, and is it what it says?
set -eu
version=$1

fail() { echo "not ok - $*"; exit 1; }
is() { echo "# $*"; }

for p in duet duetctl duet-setup duet-sim duet-mux-agent duet-host-agent duet-controller; do
	said=$("$p" --version) || fail "$p --version"
	[ "$said" = "$p $version" ] || fail "$p --version says '$said', and the packages are of $version"
	man -w "$p" >/dev/null 2>&1 || [ -e "/usr/share/man/man8/$p.8.gz" ] || [ -e "/usr/share/man/man1/$p.1.gz" ] || fail "no manual page of $p"
done
is "programs say $version, each has its manual page"

for d in mux host; do
	duet-$d-agent -c /etc/duet/$d-agent.conf --check-config 2>&1 | grep -q 'tls/cert.pem: No such file' ||
		fail "/etc/duet/$d-agent.conf is wrong in more than certificates that aren't there yet"
done
duet-controller -c /etc/duet/controller.conf --check-config 2>&1 | grep -q 'tls/cert.pem: No such file' ||
	fail "/etc/duet/controller.conf is wrong in more than certificates that aren't there yet"
is "configurations are right but for certificates"

for u in duet-mux-agent duet-host-agent duet-controller; do
	f=$(ls /lib/systemd/system/$u.service /usr/lib/systemd/system/$u.service 2>/dev/null | head -n 1)
	[ "$f" ] || fail "no unit $u"
	said=$(systemd-analyze verify --man=no "$f" 2>&1 | grep -F "$u" || :)
	[ -z "$said" ] || fail "$u: $said"
	[ "$(systemctl is-enabled $u 2>/dev/null)" != enabled ] || fail "$u is enabled before anybody configured it"
done
is "units are right, and wait to be enabled"
getent passwd duet >/dev/null || fail "no user duet"
[ "$(stat -c %a /etc/duet)" = 755 ] || fail "/etc/duet has mode $(stat -c %a /etc/duet)"
[ -e /usr/share/bash-completion/completions/duetctl ] || fail "no completion"
[ -e /usr/share/duet/bird/switch.conf ] || fail "no configurations of BIRD"

built=0
for headers in /lib/modules/*/build; do
	kver=$(basename "${headers%/build}")
	dkms status duet -k "$kver" | grep -q installed || fail "DKMS has no module for $kver: $(dkms status duet)"
	ko=$(find "/lib/modules/$kver/updates" -name 'duet.ko*' | head -n 1)
	[ "$ko" ] || fail "no duet.ko for $kver"
	[ "$(modinfo -F version "$ko")" = "$version" ] || fail "modinfo of $ko says version $(modinfo -F version "$ko")"
	modinfo -F alias "$ko" | grep -q rtnl-link-duet || fail "'ip link add type duet' wouldn't load the module"
	is "DKMS built the module for $kver"
	built=$((built + 1))
done
[ $built -gt 0 ] || fail "no kernel headers to build the module for"
echo "ok - packages install"
