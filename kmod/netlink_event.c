// SPDX-License-Identifier: GPL-2.0
/*
 * Events: what changed, told to the group "events".
 */
#include "netlink.h"
#include "netlink_get.h"

#include <net/genetlink.h>

struct sk_buff *duet_nl_msg(size_t size, u32 portid, u32 seq, int flags,
			    u8 cmd, void **hdr)
{
	struct sk_buff *msg = genlmsg_new(size, GFP_KERNEL);

	if (!msg)
		return NULL;
	*hdr = genlmsg_put(msg, portid, seq, &duet_family, flags, cmd);
	if (!*hdr) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

#ifdef DUET_EVENTS_FILTERED
/* duet_nl_unfit - was the listener's socket opened without CAP_NET_ADMIN? Its
 * file is there while netlink has it among its listeners.
 */
static int duet_nl_unfit(struct sock *listener, struct sk_buff *msg, void *net)
{
	return !file_ns_capable(listener->sk_socket->file,
				((struct net *)net)->user_ns, CAP_NET_ADMIN);
}
#endif

/* duet_nl_multicast - to who listens; portid gets a copy by itself and is left out */
static void duet_nl_multicast(struct duet_dev *dd, struct sk_buff *msg, u32 portid)
{
#ifndef DUET_EVENTS_FILTERED
	genlmsg_multicast_netns(&duet_family, dd->net, msg, portid,
				DUET_GROUP_EVENTS, GFP_KERNEL);
#else
	u32 group = duet_family.mcgrp_offset + DUET_GROUP_EVENTS;

	NETLINK_CB(msg).dst_group = group;
	netlink_broadcast_filtered(dd->net->genl_sock, msg, portid, group, GFP_KERNEL,
				   duet_nl_unfit, dd->net);
#endif
}

/* duet_nl_send - an event; the asker gets it too if it set NLM_F_ECHO, and he
 * alone if nothing changed
 */
static void duet_nl_send(struct duet_dev *dd, struct sk_buff *msg, void *hdr,
			 struct genl_info *info, bool changed)
{
	genlmsg_end(msg, hdr);
	if (!changed) {
		genlmsg_unicast(dd->net, msg, info->snd_portid);
	} else if (info && info->nlhdr->nlmsg_flags & NLM_F_ECHO) {
		/* as genl_notify(): each of the two eats a reference */
		skb_get(msg);
		duet_nl_multicast(dd, msg, info->snd_portid);
		genlmsg_unicast(dd->net, msg, info->snd_portid);
	} else {
		duet_nl_multicast(dd, msg, 0);
	}
}

static bool duet_nl_wanted(struct duet_dev *dd, struct genl_info *info,
			   bool changed)
{
	if (info && info->nlhdr->nlmsg_flags & NLM_F_ECHO)
		return true;
	return changed && genl_has_listeners(&duet_family, dd->net,
					     DUET_GROUP_EVENTS);
}

/* duet_nl_lost - listeners miss an event and are told so: ENOBUFS, dump again */
static void duet_nl_lost(struct duet_dev *dd, struct sk_buff *msg)
{
	nlmsg_free(msg);
	genl_set_err(&duet_family, dd->net, 0, DUET_GROUP_EVENTS, -ENOBUFS);
}

void duet_nl_notify_dev(struct duet_dev *dd, bool deleted, bool changed,
			struct genl_info *info)
{
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, info, changed))
		return;
	msg = duet_nl_msg(NLMSG_GOODSIZE, info ? info->snd_portid : 0,
			  info ? info->snd_seq : 0, 0, DUET_CMD_DEV_NTF, &hdr);
	if (!msg)
		goto err_lost;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_string(msg, DUET_A_IFNAME, dd->name) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD) ||
	    (deleted && nla_put_flag(msg, DUET_A_DELETED)))
		goto err_lost;
	duet_nl_send(dd, msg, hdr, info, changed);
	return;

err_lost:
	duet_nl_lost(dd, msg);
}

void duet_nl_notify_vip(struct duet_dev *dd, const struct in6_addr *addr,
			bool changed, struct genl_info *info)
{
	const struct duet_vip *vip;
	struct sk_buff *msg;
	void *hdr;
	int ret;

	if (!duet_nl_wanted(dd, info, changed))
		return;
	vip = duet_vip_find(dd, addr);
	msg = duet_nl_msg(vip ? duet_vip_size(dd, vip) : NLMSG_GOODSIZE,
			  info->snd_portid, info->snd_seq, 0, DUET_CMD_VIP_NTF, &hdr);
	if (!msg)
		goto err_lost;
	if (vip) {
		ret = duet_put_vip(msg, dd, vip, false);
		WARN_ON_ONCE(ret == -EMSGSIZE);
		if (ret)
			goto err_lost;
	} else {
		struct nlattr *nest;

		if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
		    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation,
				      DUET_A_PAD))
			goto err_lost;
		nest = nla_nest_start(msg, DUET_A_VIP);
		if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, addr))
			goto err_lost;
		nla_nest_end(msg, nest);
		if (nla_put_flag(msg, DUET_A_DELETED))
			goto err_lost;
	}
	duet_nl_send(dd, msg, hdr, info, changed);
	return;

err_lost:
	duet_nl_lost(dd, msg);
}

void duet_nl_notify_dip(struct duet_dev *dd, const struct in6_addr *vip,
			const struct in6_addr *dip, enum duet_dip_state state,
			bool changed, struct genl_info *info)
{
	struct nlattr *nest;
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, info, changed))
		return;
	msg = duet_nl_msg(NLMSG_GOODSIZE, info->snd_portid, info->snd_seq, 0,
			  DUET_CMD_DIP_NTF, &hdr);
	if (!msg)
		goto err_lost;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD))
		goto err_lost;
	if (vip) {
		nest = nla_nest_start(msg, DUET_A_VIP);
		if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, vip))
			goto err_lost;
		nla_nest_end(msg, nest);
	}
	nest = nla_nest_start(msg, DUET_A_DIP);
	if (!nest || duet_put_addr(msg, DUET_A_DIP_ADDR, dip) ||
	    nla_put_u32(msg, DUET_A_DIP_STATE, state))
		goto err_lost;
	nla_nest_end(msg, nest);
	duet_nl_send(dd, msg, hdr, info, changed);
	return;

err_lost:
	duet_nl_lost(dd, msg);
}

/* Of a table that is full, to everybody. */
static void duet_nl_send_full(struct duet_dev *dd, struct sk_buff *msg, void *hdr)
{
	genlmsg_end(msg, hdr);
	duet_nl_multicast(dd, msg, 0);
}

void duet_nl_notify_full(struct duet_dev *dd, enum duet_table_attr table,
			 const struct in6_addr *vip)
{
	struct nlattr *nest;
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, NULL, true))
		return;
	msg = duet_nl_msg(NLMSG_GOODSIZE, 0, 0, 0, DUET_CMD_FULL_NTF, &hdr);
	if (!msg)
		goto err_lost;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD) ||
	    nla_put_u32(msg, DUET_A_TABLE, table))
		goto err_lost;
	nest = nla_nest_start(msg, DUET_A_VIP);
	if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, vip))
		goto err_lost;
	nla_nest_end(msg, nest);
	duet_nl_send_full(dd, msg, hdr);
	return;

err_lost:
	duet_nl_lost(dd, msg);
}

void duet_nl_notify_flows_full(struct duet_dev *dd, u32 size, u64 full)
{
	struct nlattr *nest;
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, NULL, true))
		return;
	msg = duet_nl_msg(NLMSG_GOODSIZE, 0, 0, 0, DUET_CMD_FULL_NTF, &hdr);
	if (!msg)
		goto err_lost;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex))
		goto err_lost;
	nest = nla_nest_start(msg, DUET_A_FLOWS);
	if (!nest || nla_put_u32(msg, DUET_A_FLOWS_SIZE, size) ||
	    nla_put_u64_64bit(msg, DUET_A_FLOWS_FULL, full, DUET_A_FLOWS_PAD))
		goto err_lost;
	nla_nest_end(msg, nest);
	duet_nl_send_full(dd, msg, hdr);
	return;

err_lost:
	duet_nl_lost(dd, msg);
}
