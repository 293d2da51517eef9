/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between the kernels we build for, by feature: DUET_HAVE_* is what
 * kmod/probe.sh found out by compiling, so that backports don't matter.
 */
#ifndef DUET_COMPAT_H
#define DUET_COMPAT_H

#include "probed.h"

#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#if DUET_HAVE_LINUX_NETFILTER_NETDEV_H
#include <linux/netfilter_netdev.h>
#endif
#include <net/genetlink.h>
#include <net/flow.h>
#include <net/ip.h>
#if DUET_HAVE_FLOWI4_DSCP
#include <net/inet_dscp.h>
#endif

/* GSO got a header of its own */
#if DUET_HAVE_NET_GSO_H
#include <net/gso.h>
#endif

#ifndef __flatten
#define __flatten	__attribute__((flatten))
#endif

/* not worth its cost on each packet where the compiler zeroes the stack */
#ifndef __uninitialized
#define __uninitialized
#endif

/* No transmit lock, no move to another namespace: once features, then bits of
 * struct net_device, the second of which was renamed.
 */
static inline void duet_set_netdev_flags(struct net_device *dev)
{
#if DUET_HAVE_DEV_LLTX
	dev->lltx = true;
#else
	dev->features |= NETIF_F_LLTX;
#endif
#if DUET_HAVE_DEV_NETNS_IMMUTABLE
	dev->netns_immutable = true;
#elif DUET_HAVE_DEV_NETNS_LOCAL
	dev->netns_local = true;
#else
	dev->features |= NETIF_F_NETNS_LOCAL;
#endif
}

static inline bool duet_netdev_lltx(const struct net_device *dev)
{
#if DUET_HAVE_DEV_LLTX
	return dev->lltx;
#else
	return dev->features & NETIF_F_LLTX;
#endif
}

static inline void duet_flow4_set_tos(struct flowi4 *fl, u8 tos)
{
#if DUET_HAVE_FLOWI4_DSCP
	fl->flowi4_dscp = inet_dsfield_to_dscp(tos);
#else
	fl->flowi4_tos = tos;
#endif
}

/* Every way to look at what leaves a netdev must be known before one may be left
 * out: see transmit.h.
 */
#if (DUET_EXPORTED_dev_nit_active || DUET_EXPORTED_dev_nit_active_rcu) &&	\
	(DUET_HAVE_DEV_TCX_EGRESS || DUET_HAVE_DEV_MINIQ_EGRESS ||		\
	 !IS_ENABLED(CONFIG_NET_CLS_ACT)) &&					\
	(DUET_HAVE_DEV_NF_HOOKS_EGRESS || !IS_ENABLED(CONFIG_NETFILTER_EGRESS))
#define DUET_DIRECT	1
#else
#define DUET_DIRECT	0
#endif

/* References to a netdev are tracked only where there is a tracker */
#if !DUET_HAVE_DEV_HOLD
struct duet_no_tracker {};

#define netdevice_tracker struct duet_no_tracker

static inline void netdev_hold(struct net_device *dev,
			       netdevice_tracker *tracker, gfp_t gfp)
{
	dev_hold(dev);
}

static inline void netdev_put(struct net_device *dev, netdevice_tracker *tracker)
{
	dev_put(dev);
}
#endif

/* genl_info is part of genl_dumpit_info */
#if DUET_HAVE_GENL_INFO_DUMP
#define duet_dump_attrs(cb)	(genl_info_dump(cb)->attrs)
#else
#define duet_dump_attrs(cb)	(genl_dumpit_info(cb)->attrs)
#endif

/* Who joins the group of events needs CAP_NET_ADMIN in the user namespace that
 * owns the network namespace. Genetlink demands that by one of two names. Where
 * it can't (5.10 before Debian's 5.10.218), netlink_event.c sends each event only
 * to sockets that were opened with it.
 */
#ifdef GENL_MCAST_CAP_NET_ADMIN
#define DUET_GROUP_ADMIN	.flags = GENL_MCAST_CAP_NET_ADMIN,
#elif DUET_HAVE_GROUP_FLAGS
#define DUET_GROUP_ADMIN	.flags = GENL_UNS_ADMIN_PERM,
#else
#define DUET_GROUP_ADMIN
#define DUET_EVENTS_FILTERED	1
#endif

/* The kernel's global limit of ICMP errors: of the machine, then of the
 * namespace, then not exported any more. An older one charges what it allows, a
 * newer one has two steps.
 */
#if !DUET_EXPORTED_icmp_global_allow
/* duet_icmp_ratelimit - the kernel's default of icmp_msgs_per_sec, the module's */
bool duet_icmp_ratelimit(void);
#endif

static inline bool duet_icmp_global_allow(struct net *net)
{
#if !DUET_EXPORTED_icmp_global_allow
	return duet_icmp_ratelimit();
#elif DUET_HAVE_ICMP_GLOBAL_NET
	return icmp_global_allow(net);
#else
	return icmp_global_allow();
#endif
}

static inline void duet_icmp_global_consume(struct net *net)
{
#if !DUET_EXPORTED_icmp_global_allow
#elif DUET_HAVE_ICMP_CONSUME_NET
	icmp_global_consume(net);
#elif DUET_HAVE_ICMP_CONSUME
	icmp_global_consume();
#endif
}

#if !DUET_HAVE_SKB_CLEAR_TSTAMP
static inline void skb_clear_tstamp(struct sk_buff *skb)
{
	skb->tstamp = 0;
}
#endif

/* An extack sentence with numbers in it. Older kernels keep a pointer and read
 * it after the handler returned, so there the text lives in a ring of buffers
 * until many more refusals were written.
 */
#ifdef NL_SET_ERR_MSG_FMT
#define DUET_EXTACK_FMT		NL_SET_ERR_MSG_FMT
#else
char *duet_extack_buf(void);
#define DUET_EXTACK_LEN		160
#define DUET_EXTACK_FMT(extack, fmt, ...) do {				\
	struct netlink_ext_ack *__extack = (extack);			\
	char *__buf = duet_extack_buf();				\
									\
	snprintf(__buf, DUET_EXTACK_LEN, fmt, ##__VA_ARGS__);		\
	if (__extack)							\
		__extack->_msg = __buf;					\
} while (0)
#endif

#endif
