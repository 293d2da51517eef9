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

/* duet_nl_send - an event; the asker gets it too if it set NLM_F_ECHO */
static void duet_nl_send(struct duet_dev *dd, struct sk_buff *msg, void *hdr,
			 struct genl_info *info)
{
	genlmsg_end(msg, hdr);
	if (info)
		genl_notify(&duet_family, msg, info, DUET_GROUP_EVENTS, GFP_KERNEL);
	else
		genlmsg_multicast_netns(&duet_family, dd->net, msg, 0,
					DUET_GROUP_EVENTS, GFP_KERNEL);
}

static bool duet_nl_wanted(struct duet_dev *dd, struct genl_info *info)
{
	return genl_has_listeners(&duet_family, dd->net, DUET_GROUP_EVENTS) ||
	       (info && info->nlhdr->nlmsg_flags & NLM_F_ECHO);
}

void duet_nl_notify_dev(struct duet_dev *dd, bool deleted)
{
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, NULL))
		return;
	msg = duet_nl_msg(NLMSG_GOODSIZE, 0, 0, 0, DUET_CMD_DEV_NTF, &hdr);
	if (!msg)
		return;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_string(msg, DUET_A_IFNAME, dd->dev->name) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD) ||
	    (deleted && nla_put_flag(msg, DUET_A_DELETED))) {
		nlmsg_free(msg);
		return;
	}
	duet_nl_send(dd, msg, hdr, NULL);
}

void duet_nl_notify_vip(struct duet_dev *dd, const struct in6_addr *addr,
			struct genl_info *info)
{
	const struct duet_vip *vip;
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, info))
		return;
	vip = duet_vip_find(dd, addr);
	msg = duet_nl_msg(vip ? duet_vip_size(vip) : NLMSG_GOODSIZE,
			  info->snd_portid, info->snd_seq, 0, DUET_CMD_VIP_NTF, &hdr);
	if (!msg)
		return;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD))
		goto err_free;
	if (vip) {
		if (WARN_ON_ONCE(duet_put_vip(msg, vip, false)))
			goto err_free;
	} else {
		struct nlattr *nest = nla_nest_start(msg, DUET_A_VIP);

		if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, addr))
			goto err_free;
		nla_nest_end(msg, nest);
		if (nla_put_flag(msg, DUET_A_DELETED))
			goto err_free;
	}
	duet_nl_send(dd, msg, hdr, info);
	return;

err_free:
	nlmsg_free(msg);
}

void duet_nl_notify_dip(struct duet_dev *dd, const struct in6_addr *vip,
			const struct in6_addr *dip, enum duet_dip_state state,
			struct genl_info *info)
{
	struct nlattr *nest;
	struct sk_buff *msg;
	void *hdr;

	if (!duet_nl_wanted(dd, info))
		return;
	msg = duet_nl_msg(NLMSG_GOODSIZE, info->snd_portid, info->snd_seq, 0,
			  DUET_CMD_DIP_NTF, &hdr);
	if (!msg)
		return;
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD))
		goto err_free;
	if (vip) {
		nest = nla_nest_start(msg, DUET_A_VIP);
		if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, vip))
			goto err_free;
		nla_nest_end(msg, nest);
	}
	nest = nla_nest_start(msg, DUET_A_DIP);
	if (!nest || duet_put_addr(msg, DUET_A_DIP_ADDR, dip) ||
	    nla_put_u32(msg, DUET_A_DIP_STATE, state))
		goto err_free;
	nla_nest_end(msg, nest);
	duet_nl_send(dd, msg, hdr, info);
	return;

err_free:
	nlmsg_free(msg);
}
