/* SPDX-License-Identifier: GPL-2.0 */
/* Generic netlink family "duet": include/uapi/linux/duet.h is its manual. */
#ifndef DUET_NETLINK_H
#define DUET_NETLINK_H

#include "device.h"

struct duet_vip;
struct genl_info;

int duet_nl_init(void);
void duet_nl_exit(void);

/* Events to group "events"; duet_net->lock held. */
void duet_nl_notify_dev(struct duet_dev *dd, bool deleted);
void duet_nl_notify_vip(struct duet_dev *dd, const struct in6_addr *addr,
			struct genl_info *info);
void duet_nl_notify_dip(struct duet_dev *dd, const struct in6_addr *vip,
			const struct in6_addr *dip, enum duet_dip_state state,
			struct genl_info *info);

#endif
