#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# probe.sh HEADER SYMVERS COMPILER FLAGS... - write what this kernel's headers have
#
# Kbuild calls it with the compiler and the flags of the module, so it sees the
# kernel that is being built for, whether by make, DKMS or a distribution's
# build. Version numbers say nothing of backports, so every difference is tried:
# all probes are one source file, a line each, and a probe fails if the compiler
# reports an error on its line. kmod/compat.h gives the results their meaning.
set -eu

header=$1
symvers=$2
shift 2
dir=$(dirname "$header")
work=$dir/.probe
mkdir -p "$work"

# NAME|statements that compile if and only if the kernel has it
probes='
WORKS|struct net_device *dev = NULL; (void)dev->features;
DEV_LLTX|struct net_device *dev = NULL; dev->lltx = true;
DEV_NETNS_IMMUTABLE|struct net_device *dev = NULL; dev->netns_immutable = true;
DEV_NETNS_LOCAL|struct net_device *dev = NULL; dev->netns_local = true;
DEV_MINIQ_EGRESS|(void)rcu_access_pointer(((struct net_device *)NULL)->miniq_egress);
DEV_TCX_EGRESS|(void)rcu_access_pointer(((struct net_device *)NULL)->tcx_egress);
DEV_NF_HOOKS_EGRESS|(void)rcu_access_pointer(((struct net_device *)NULL)->nf_hooks_egress);
FLOWI4_DSCP|((struct flowi4 *)NULL)->flowi4_dscp = 0;
DEV_HOLD|netdev_put((struct net_device *)NULL, (netdevice_tracker *)NULL);
GROUP_FLAGS|struct genl_multicast_group group = { .flags = GENL_UNS_ADMIN_PERM }; (void)group;
GENL_INFO_DUMP|(void)genl_info_dump((struct netlink_callback *)NULL)->attrs;
NEWLINK_PARAMS|struct rtnl_link_ops ops = { .newlink = newlink_params }; (void)ops;
ICMP_GLOBAL_NET|bool (*allow)(struct net *) = icmp_global_allow; (void)allow;
ICMP_CONSUME_NET|void (*consume)(struct net *) = icmp_global_consume; (void)consume;
ICMP_CONSUME|(void)&icmp_global_consume;
SKB_CLEAR_TSTAMP|skb_clear_tstamp((struct sk_buff *)NULL);
DROP_REASONS|kfree_skb_reason((struct sk_buff *)NULL, SKB_DROP_REASON_NOT_SPECIFIED + SKB_DROP_REASON_IP_INHDR + SKB_DROP_REASON_NO_SOCKET + SKB_DROP_REASON_NETFILTER_DROP + SKB_DROP_REASON_PKT_TOO_BIG + SKB_DROP_REASON_IP_OUTNOROUTES + SKB_DROP_REASON_NOMEM + SKB_DROP_REASON_IP_INADDRERRORS + SKB_DROP_REASON_UNHANDLED_PROTO);
'

# Headers that only some kernels have
optional='net/gso.h linux/netfilter_netdev.h'

# Functions that a header declares and only some kernels export: as Module.symvers says.
exports='icmp_global_allow dev_nit_active dev_nit_active_rcu'

{
	echo '/* made by kmod/probe.sh: what the compiler said of it is in log */'
	echo '#include <linux/kconfig.h>'
	for h in linux/if_link.h linux/module.h linux/netdevice.h linux/netlink.h linux/rtnetlink.h \
		linux/skbuff.h linux/types.h net/dst.h net/genetlink.h net/icmp.h net/ip.h \
		net/net_namespace.h net/route.h net/rtnetlink.h; do
		echo "#include <$h>"
	done
	for h in $optional; do
		printf '#if __has_include(<%s>)\n#pragma message "has %s"\n#endif\n' "$h" "$h"
	done
	echo 'struct rtnl_newlink_params;'
	echo 'static int newlink_params(struct net_device *dev, struct rtnl_newlink_params *params, struct netlink_ext_ack *extack) { return 0; }'
	echo '#line 1 "PROBE"'
	printf '%s' "$probes" | sed -n 's/^\([A-Z0-9_]*\)|\(.*\)/static void __attribute__((used)) probe_\1(void) { \2 }/p'
} >"$work/probe.c"

# every error counts, a warning only where the kernel would mean another type
LC_ALL=C "$@" -fsyntax-only -fmax-errors=0 -Wno-error \
	-Werror=implicit-function-declaration -Werror=incompatible-pointer-types \
	-Werror=int-conversion "$work/probe.c" >"$work/log" 2>&1 || :

failed=" $(sed -n 's/^PROBE:\([0-9]*\):.*error:.*/\1/p' "$work/log" | sort -nu | tr '\n' ' ')"
if grep -v '^PROBE:' "$work/log" | grep -q 'error:' || [ "${failed#* 1 }" != "$failed" ]; then
	grep 'error:' "$work/log" | head -n 5 >&2
	echo "duet: the headers of this kernel don't compile, so nothing can be found out about them (see $work/log)" >&2
	exit 1
fi

n=0
{
	echo '/* SPDX-License-Identifier: GPL-2.0 */'
	echo '/* made by kmod/probe.sh */'
	printf '%s' "$probes" | sed -n 's/^\([A-Z0-9_]*\)|.*/\1/p' | while read -r name; do
		n=$((n + 1))
		case $failed in
		*" $n "*) echo "#define DUET_HAVE_$name 0" ;;
		*) echo "#define DUET_HAVE_$name 1" ;;
		esac
	done
	for h in $optional; do
		name=$(echo "$h" | tr 'a-z/.' 'A-Z__')
		if grep -q "#pragma message: has $h" "$work/log"; then
			echo "#define DUET_HAVE_$name 1"
		else
			echo "#define DUET_HAVE_$name 0"
		fi
	done
	for name in $exports; do
		if [ ! -s "$symvers" ] || grep -q "[[:space:]]${name}[[:space:]]" "$symvers"; then
			echo "#define DUET_EXPORTED_$name 1"
		else
			echo "#define DUET_EXPORTED_$name 0"
		fi
	done
} >"$header.new"
mv "$header.new" "$header"
