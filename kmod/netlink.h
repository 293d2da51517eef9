/* SPDX-License-Identifier: GPL-2.0 */
/* Generic netlink family "duet": include/uapi/linux/duet.h is its manual. */
#ifndef DUET_NETLINK_H
#define DUET_NETLINK_H

#include "device.h"

struct duet_vip;
struct genl_info;

enum { DUET_GROUP_EVENTS };

extern struct genl_family duet_family;

int duet_nl_init(void);
void duet_nl_exit(void);

/* duet_nl_msg - a message begun, *hdr for genlmsg_end(); NULL: no memory */
struct sk_buff *duet_nl_msg(size_t size, u32 portid, u32 seq, int flags,
			    u8 cmd, void **hdr);

/* Events to group "events"; duet_net->lock held. */
void duet_nl_notify_dev(struct duet_dev *dd, bool deleted);
void duet_nl_notify_vip(struct duet_dev *dd, const struct in6_addr *addr,
			struct genl_info *info);
void duet_nl_notify_dip(struct duet_dev *dd, const struct in6_addr *vip,
			const struct in6_addr *dip, enum duet_dip_state state,
			struct genl_info *info);

#endif
