// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink: commands on the flow table.
 */
#include "flow.h"
#include "compat.h"
#include "netlink.h"
#include "netlink_get.h"
#include "netlink_parse.h"

#include <net/genetlink.h>

/* Which flows a request is about; NULL: all. */
struct duet_flow_filter {
	struct in6_addr vip_addr, dip_addr;
	const struct in6_addr *vip, *dip;
};

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

int duet_flow_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	struct nlattr **attrs = duet_dump_attrs(cb);
	u64 at = cb->args[0], next;
	struct duet_flow_filter filter;
	struct in6_addr flow_dip;
	struct duet_flow flow;
	struct duet_dev *dd;
	void *hdr;
	int ret;

	ret = duet_parse_filter(attrs, &filter, cb->extack);
	if (ret)
		return ret;
	dd = duet_nl_dev(sock_net(msg->sk), attrs, cb->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	for (;;) {
		next = at;
		if (!duet_flow_next(dd, &next, filter.vip, filter.dip, &flow,
				    &flow_dip))
			break;
		hdr = genlmsg_put(msg, NETLINK_CB(cb->skb).portid,
				  cb->nlh->nlmsg_seq, &duet_family,
				  NLM_F_MULTI, DUET_CMD_FLOW_GET);
		if (!hdr)
			goto out;
		if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
		    duet_put_flow(msg, &flow, &flow_dip)) {
			genlmsg_cancel(msg, hdr);
			goto out;
		}
		genlmsg_end(msg, hdr);
		at = next;
	}
	at = next;
out:
	cb->args[0] = at;
	duet_nl_unlock(dd);
	return msg->len;
}

int duet_flow_flush_cmd(struct sk_buff *skb, struct genl_info *info)
{
	struct duet_flow_filter filter;
	struct duet_dev *dd;
	int ret;

	ret = duet_parse_filter(info->attrs, &filter, info->extack);
	if (ret)
		return ret;
	dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	duet_flow_flush(dd, filter.vip, filter.dip);
	duet_nl_unlock(dd);
	return 0;
}
