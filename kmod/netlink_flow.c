// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink: commands on the flow table.
 */
#include "flow.h"
#include "compat.h"
#include "netlink.h"
#include "netlink_get.h"
#include "netlink_parse.h"

#include <linux/sched/signal.h>
#include <net/genetlink.h>

static int duet_parse_filter(struct nlattr **attrs,
			     struct duet_flow_filter *filter,
			     struct netlink_ext_ack *extack)
{
	struct nlattr *tb[DUET_A_DIP_MAX + 1];
	int ret;

	filter->vip = NULL;
	filter->dip = NULL;
	if (attrs[DUET_A_VIP]) {
		ret = duet_parse_vip_addr(attrs[DUET_A_VIP], &filter->vip_addr, extack);
		if (ret)
			return ret;
		filter->vip = &filter->vip_addr;
	}
	if (attrs[DUET_A_DIP]) {
		ret = duet_parse_nest(tb, DUET_A_DIP_MAX, attrs[DUET_A_DIP], extack);
		if (!ret)
			ret = duet_parse_addr(tb[DUET_A_DIP_ADDR], "DIP",
					      &filter->dip_addr, extack);
		if (ret)
			return ret;
		filter->dip = &filter->dip_addr;
	}
	return 0;
}

/* duet_flow_fill - one step of a dump; *at behind what is in the message */
static enum duet_flow_step duet_flow_fill(struct duet_dev *dd, struct sk_buff *msg,
					  struct netlink_callback *cb, u64 *at,
					  const struct duet_flow_filter *filter,
					  bool *full)
{
	enum duet_flow_step step;
	struct in6_addr flow_dip;
	struct duet_flow flow;
	u64 next = *at;
	void *hdr;

	for (;;) {
		step = duet_flow_next(dd, &next, filter, &flow, &flow_dip);
		if (step != DUET_FLOW_FOUND)
			break;
		hdr = genlmsg_put(msg, NETLINK_CB(cb->skb).portid,
				  cb->nlh->nlmsg_seq, &duet_family,
				  NLM_F_MULTI, DUET_CMD_FLOW_GET);
		if (!hdr)
			goto out_full;
		if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
		    duet_put_flow(msg, &flow, &flow_dip)) {
			genlmsg_cancel(msg, hdr);
			goto out_full;
		}
		genlmsg_end(msg, hdr);
		*at = next;
	}
	*at = next;
	return step;
out_full:
	*full = true;
	return DUET_FLOW_MORE;
}

int duet_flow_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	struct nlattr **attrs = duet_dump_attrs(cb);
	struct duet_flow_filter filter;
	enum duet_flow_step step;
	u64 at = cb->args[0];
	struct duet_dev *dd;
	bool full = false;
	int ret;

	ret = duet_parse_filter(attrs, &filter, cb->extack);
	if (ret)
		return ret;
	/* the lock is given back after each step, so that who waits for it,
	 * under rtnl, doesn't wait for a filter that wants nothing
	 */
	do {
		dd = duet_nl_dev(sock_net(msg->sk), attrs, cb->extack);
		if (IS_ERR(dd))
			return PTR_ERR(dd);
		step = duet_flow_fill(dd, msg, cb, &at, &filter, &full);
		duet_nl_unlock(dd);
		cond_resched();
	} while (step == DUET_FLOW_MORE && !full && !fatal_signal_pending(current));
	cb->args[0] = at;
	return msg->len;
}

int duet_flow_flush_cmd(struct sk_buff *skb, struct genl_info *info)
{
	struct duet_flow_filter filter;
	enum duet_flow_step step;
	struct duet_dev *dd;
	u64 at = 0;
	int ret;

	ret = duet_parse_filter(info->attrs, &filter, info->extack);
	if (ret)
		return ret;
	do {
		dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
		if (IS_ERR(dd))
			return PTR_ERR(dd);
		step = duet_flow_flush(dd, &at, &filter);
		duet_nl_unlock(dd);
		cond_resched();
	} while (step == DUET_FLOW_MORE && !fatal_signal_pending(current));
	return step == DUET_FLOW_MORE ? -EINTR : 0;
}
