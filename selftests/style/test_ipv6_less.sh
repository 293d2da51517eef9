#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The module is built as for a kernel with CONFIG_IPV6=n: it compiles without a
# warning and needs no symbol of IPv6. Such a kernel's structures differ from
# those of the headers that are here, so the result is never loaded.
cd "$(dirname "$0")/../.." || exit 1
kver=$(scripts/kernel-list | head -n 1)
for build in "/lib/modules/$kver/build" "${O:-out}/kernels/$kver/build"; do
	[ ! -e "$build/Makefile" ] || break
done
[ -e "$build/Makefile" ] || { echo "1..0 # SKIP no headers of $kver"; exit 4; }
echo 1..2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar cf - Kbuild kmod/*.[ch] kmod/probe.sh include/duet/*.h include/uapi/linux/*.h | tar xf - -C "$work"
grep -ohE 'CONFIG_(IPV6|INET6)\w*' "$build/include/generated/autoconf.h" | sed 's/^/#undef /' >"$work/less.h"
log=$(nice make -s -C "$(realpath "$build")" M="$work" KCFLAGS="-include $work/less.h" modules 2>&1 | grep -v 'BTF generation')
failed=0
if [ -z "$log" ] && [ -e "$work/duet.ko" ]; then
	echo "ok 1 - it compiles without IPv6"
else
	echo "$log" | head -n 20 | sed 's/^/# /'
	echo "not ok 1 - it compiles without IPv6"
	failed=1
fi
# what net/ipv6 builds in every kernel is there
wanted=$(nm -u "$work/duet.ko" 2>&1 | grep -iE 'ip6|ipv6|icmpv6|nd_tbl|in6_' | grep -vE ' (__ipv6_addr_type|csum_ipv6_magic|ipv6_stub)$')
if [ -z "$wanted" ]; then
	echo "ok 2 - it needs no symbol of IPv6"
else
	echo "# needs: ${wanted//$'\n'/ }"
	echo "not ok 2 - it needs no symbol of IPv6"
	failed=1
fi
exit $failed
