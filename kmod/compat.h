/* SPDX-License-Identifier: GPL-2.0 */
/* Differences between the kernels we build for, by feature. */
#ifndef DUET_COMPAT_H
#define DUET_COMPAT_H

#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/version.h>
#include <net/genetlink.h>

/* 6.5 gave GSO a header of its own */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#include <net/gso.h>
#endif

/* No transmit lock, no move to another namespace. 6.12: features became bits
 * of struct net_device (netns_immutable by a stable backport).
 */
static inline void duet_set_netdev_flags(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	dev->lltx = true;
	dev->netns_immutable = true;
#else
	dev->features |= NETIF_F_LLTX | NETIF_F_NETNS_LOCAL;
#endif
}

/* 6.7: genl_info is part of genl_dumpit_info */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define duet_dump_attrs(cb)	(genl_info_dump(cb)->attrs)
#else
#define duet_dump_attrs(cb)	(genl_dumpit_info(cb)->attrs)
#endif

/* An extack sentence with numbers in it. Kernels older than 6.3 keep a pointer
 * and read it after the handler returned, so there the text lives in a ring of
 * buffers until many more refusals were written.
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
