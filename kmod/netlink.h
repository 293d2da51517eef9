/* SPDX-License-Identifier: GPL-2.0 */
/* Generic netlink family "duet": include/uapi/linux/duet.h is its manual. */
#ifndef DUET_NETLINK_H
#define DUET_NETLINK_H

#include "device.h"

struct duet_vip;
struct genl_info;
struct netlink_callback;
struct nlattr;

enum { DUET_GROUP_EVENTS };

extern struct genl_family duet_family;

int duet_nl_init(void);
void duet_nl_exit(void);

/* duet_nl_msg - a message begun, *hdr for genlmsg_end(); NULL: no memory */
struct sk_buff *duet_nl_msg(size_t size, u32 portid, u32 seq, int flags,
			    u8 cmd, void **hdr);

/* duet_nl_dev - the device a request names, duet_net->lock taken; ERR_PTR with
 * extack filled and no lock held if there is none
 */
struct duet_dev *duet_nl_dev(struct net *net, struct nlattr **attrs,
			     struct netlink_ext_ack *extack);
void duet_nl_unlock(struct duet_dev *dd);

/* Commands, netlink_dev.c and netlink_flow.c. */
int duet_dev_get(struct sk_buff *skb, struct genl_info *info);
int duet_dev_dump(struct sk_buff *msg, struct netlink_callback *cb);
int duet_dev_set(struct sk_buff *skb, struct genl_info *info);
int duet_flow_dump(struct sk_buff *msg, struct netlink_callback *cb);
int duet_flow_flush_cmd(struct sk_buff *skb, struct genl_info *info);

/* Events to group "events", if something changed, and to the asker if he wants
 * an echo; duet_net->lock held. info: of the request, if one made the change.
 */
void duet_nl_notify_dev(struct duet_dev *dd, bool deleted, bool changed,
			struct genl_info *info);
void duet_nl_notify_vip(struct duet_dev *dd, const struct in6_addr *addr,
			bool changed, struct genl_info *info);
void duet_nl_notify_dip(struct duet_dev *dd, const struct in6_addr *vip,
			const struct in6_addr *dip, enum duet_dip_state state,
			bool changed, struct genl_info *info);
/* duet_nl_notify_full - vip was refused for want of room in the table */
void duet_nl_notify_full(struct duet_dev *dd, enum duet_table_attr table,
			 const struct in6_addr *vip);
/* duet_nl_notify_flows_full - the flow table of size entries has begun to lack
 * room; full: packets so far. Without the lock.
 */
void duet_nl_notify_flows_full(struct duet_dev *dd, u32 size, u64 full);

#endif
