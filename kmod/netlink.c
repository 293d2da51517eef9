// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink: the family, and its commands on VIPs. Those on devices and
 * on flows are in netlink_dev.c and netlink_flow.c, requests are parsed in
 * netlink_parse.c, answers written in netlink_get.c, events in netlink_event.c.
 */
#include "netlink.h"
#include "compat.h"
#include "netlink_get.h"
#include "netlink_parse.h"
#include "port.h"

#include <linux/rtnetlink.h>
#include <net/genetlink.h>
#include <net/ipv6.h>

#define DUET_NLA_NAME	{ .type = NLA_NUL_STRING, .len = IFNAMSIZ - 1 }

#define DUET_DEV_POLICY							\
	[DUET_A_IFINDEX] = NLA_POLICY_MIN(NLA_S32, 1),			\
	[DUET_A_IFNAME]	 = DUET_NLA_NAME

static const struct nla_policy duet_get_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
};

static const struct nla_policy duet_set_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_MODE]	= NLA_POLICY_MAX(NLA_U32, DUET_MODE_SMUX),
	[DUET_A_KEY]	= NLA_POLICY_EXACT_LEN(DUET_KEY_LEN),
	[DUET_A_KEY1]	= NLA_POLICY_EXACT_LEN(DUET_KEY_LEN),
	[DUET_A_LOCAL4] = NLA_POLICY_EXACT_LEN(4),
	[DUET_A_LOCAL6] = NLA_POLICY_EXACT_LEN(16),
	[DUET_A_LIMITS] = NLA_POLICY_NESTED(duet_table_policy),
	[DUET_A_FLOWS]	= NLA_POLICY_NESTED(duet_flows_policy),
	[DUET_A_KEEPALIVE] = { .type = NLA_U32 },
	[DUET_A_LINK]	= NLA_POLICY_MIN(NLA_S32, 0),
	[DUET_A_MARK]	= { .type = NLA_U32 },
	[DUET_A_TOS]	= { .type = NLA_U8 },
	[DUET_A_SPREAD4] = NLA_POLICY_RANGE(NLA_U8, DUET_SPREAD4_MIN, 32),
};

static const struct nla_policy duet_port_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_PORT_IFINDEX] = NLA_POLICY_MIN(NLA_S32, 1),
};

static const struct nla_policy duet_vip_cmd_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_VIP] = NLA_POLICY_NESTED(duet_vip_policy),
};

static const struct nla_policy duet_vip_del_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_VIP]   = NLA_POLICY_NESTED(duet_vip_policy),
	[DUET_A_FLUSH] = { .type = NLA_FLAG },
};

static const struct nla_policy duet_dip_cmd_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_VIP] = NLA_POLICY_NESTED(duet_vip_policy),
	[DUET_A_DIP] = NLA_POLICY_NESTED(duet_dip_policy),
};

static const struct nla_policy duet_flow_cmd_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_VIP] = NLA_POLICY_NESTED(duet_vip_policy),
	[DUET_A_DIP] = NLA_POLICY_NESTED(duet_dip_policy),
};

static const struct nla_policy duet_trace_policy[DUET_A_MAX + 1] = {
	DUET_DEV_POLICY,
	[DUET_A_FLOW] = NLA_POLICY_NESTED(duet_flow_policy),
};

struct duet_dev *duet_nl_dev(struct net *net, struct nlattr **attrs,
			     struct netlink_ext_ack *extack)
{
	struct duet_net *dn = duet_pernet(net);
	const char *name = NULL;
	struct duet_dev *dd;
	u32 ifindex = 0;

	if (attrs[DUET_A_IFINDEX])
		ifindex = nla_get_u32(attrs[DUET_A_IFINDEX]);
	else if (attrs[DUET_A_IFNAME])
		name = nla_data(attrs[DUET_A_IFNAME]);
	if (!ifindex && !name) {
		NL_SET_ERR_MSG(extack, "no device is named");
		return ERR_PTR(-EINVAL);
	}
	mutex_lock(&dn->lock);
	dd = duet_dev_find(dn, ifindex, name);
	if (dd)
		return dd;
	mutex_unlock(&dn->lock);
	if (name)
		DUET_EXTACK_FMT(extack, "no duet device %s here", name);
	else
		DUET_EXTACK_FMT(extack, "no duet device with index %u here", ifindex);
	return ERR_PTR(-ENODEV);
}

void duet_nl_unlock(struct duet_dev *dd)
{
	mutex_unlock(&duet_pernet(dd->net)->lock);
}

/* Port changes take rtnl first: netdevs come and go under it. */
static int duet_port_change(struct genl_info *info, bool add)
{
	struct net *net = genl_info_net(info);
	struct duet_net *dn = duet_pernet(net);
	struct net_device *dev;
	struct duet_dev *dd;
	u32 ifindex;
	int ret;

	if (!info->attrs[DUET_A_PORT_IFINDEX]) {
		NL_SET_ERR_MSG(info->extack, "no port is named");
		return -EINVAL;
	}
	ifindex = nla_get_u32(info->attrs[DUET_A_PORT_IFINDEX]);

	rtnl_lock();
	dd = duet_nl_dev(net, info->attrs, info->extack);
	if (IS_ERR(dd)) {
		ret = PTR_ERR(dd);
		goto out_rtnl;
	}
	dev = __dev_get_by_index(net, ifindex);
	if (!dev) {
		NL_SET_ERR_MSG(info->extack, "no netdev with the port's index here");
		ret = -ENODEV;
		goto out_lock;
	}
	if (add && dn->guest && dd->n_ports >= DUET_GUEST_PORTS) {
		DUET_EXTACK_FMT(info->extack, "a mux of an unprivileged namespace has at most %u ports",
				DUET_GUEST_PORTS);
		ret = -ENOSPC;
	} else if (add) {
		ret = duet_port_add(dn, dd, dev, info->extack);
	} else {
		ret = duet_port_del(dd, ifindex, info->extack);
	}
	if (!ret)
		duet_nl_notify_dev(dd, false, true, info);
out_lock:
	duet_nl_unlock(dd);
out_rtnl:
	rtnl_unlock();
	return ret;
}

static int duet_port_add_cmd(struct sk_buff *skb, struct genl_info *info)
{
	return duet_port_change(info, true);
}

static int duet_port_del_cmd(struct sk_buff *skb, struct genl_info *info)
{
	return duet_port_change(info, false);
}

static int duet_vip_set_cmd(struct sk_buff *skb, struct genl_info *info)
{
	struct duet_vip_config *config;
	struct duet_dev *dd;
	bool changed;
	int ret;

	config = duet_vip_config_new(info->attrs[DUET_A_VIP]);
	if (!config) {
		NL_SET_ERR_MSG(info->extack, "out of memory for the request");
		return -ENOMEM;
	}
	ret = duet_parse_vip(info->attrs[DUET_A_VIP], config, info->extack);
	if (ret)
		goto out_free;
	dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(dd)) {
		ret = PTR_ERR(dd);
		goto out_free;
	}
	ret = duet_vip_set(dd, config, &changed, info->extack);
	if (!ret)
		duet_nl_notify_vip(dd, &config->addr, changed, info);
	duet_nl_unlock(dd);
out_free:
	kvfree(config);
	return ret;
}

static int duet_vip_del_cmd(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	struct in6_addr addr;
	struct duet_dev *dd;
	bool changed;
	int ret = 0;

	if (!attrs[DUET_A_VIP] == !attrs[DUET_A_FLUSH]) {
		NL_SET_ERR_MSG(info->extack, "either one VIP or flush is to be given");
		return -EINVAL;
	}
	if (attrs[DUET_A_VIP]) {
		ret = duet_parse_vip_addr(attrs[DUET_A_VIP], &addr, info->extack);
		if (ret)
			return ret;
	}
	dd = duet_nl_dev(genl_info_net(info), attrs, info->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	if (attrs[DUET_A_VIP]) {
		ret = duet_vip_del(dd, &addr, info->extack);
		if (!ret)
			duet_nl_notify_vip(dd, &addr, true, info);
	} else {
		changed = dd->used.vips;
		duet_vip_flush(dd);
		duet_nl_notify_dev(dd, false, changed, info);
	}
	duet_nl_unlock(dd);
	return ret;
}

static int duet_vip_get_cmd(struct sk_buff *skb, struct genl_info *info)
{
	const struct duet_vip *vip;
	struct in6_addr addr;
	struct duet_dev *dd;
	struct sk_buff *msg;
	void *hdr;
	int ret;

	ret = duet_parse_vip_addr(info->attrs[DUET_A_VIP], &addr, info->extack);
	if (ret)
		return ret;
	dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	vip = duet_vip_find(dd, &addr);
	if (!vip) {
		NL_SET_ERR_MSG(info->extack, "the mux has no such VIP");
		ret = -ENOENT;
		goto out;
	}
	ret = -ENOMEM;
	msg = duet_nl_msg(duet_vip_size(dd, vip), info->snd_portid, info->snd_seq, 0,
			  DUET_CMD_VIP_GET, &hdr);
	if (!msg) {
		NL_SET_ERR_MSG(info->extack, "out of memory for the answer");
		goto out;
	}
	ret = duet_put_vip(msg, dd, vip, true);
	WARN_ON_ONCE(ret == -EMSGSIZE);
	if (ret) {
		nlmsg_free(msg);
		goto out;
	}
	duet_nl_unlock(dd);
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
out:
	duet_nl_unlock(dd);
	return ret;
}

/* Room for the largest VIP, or device with all its ports, that there may be: a
 * dump's buffers are made once.
 */
static int duet_dump_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = 65536;
	return 0;
}

static int duet_vip_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	long bucket = cb->args[0], skip = cb->args[1], i;
	const struct duet_vip *vip;
	struct duet_dev *dd;
	int ret = 0;
	void *hdr;

	if (duet_dump_attrs(cb)[DUET_A_VIP]) {
		NL_SET_ERR_MSG(cb->extack, "a dump is of all VIPs, ask for one without");
		return -EINVAL;
	}
	dd = duet_nl_dev(sock_net(msg->sk), duet_dump_attrs(cb), cb->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	cb->seq = (unsigned int)dd->generation;
	for (; bucket < 1 << DUET_VIP_HASH_BITS; bucket++, skip = 0) {
		i = 0;
		hlist_for_each_entry(vip, &dd->vips[bucket], node) {
			if (i++ < skip)
				continue;
			hdr = genlmsg_put(msg, NETLINK_CB(cb->skb).portid,
					  cb->nlh->nlmsg_seq, &duet_family,
					  NLM_F_MULTI, DUET_CMD_VIP_GET);
			if (!hdr)
				goto out;
			genl_dump_check_consistent(cb, hdr);
			ret = duet_put_vip(msg, dd, vip, true);
			if (ret) {
				genlmsg_cancel(msg, hdr);
				goto out;
			}
			genlmsg_end(msg, hdr);
			skip = i;
		}
	}
out:
	cb->args[0] = bucket;
	cb->args[1] = skip;
	duet_nl_unlock(dd);
	/* what is there goes first, and the next round tries again */
	return ret == -ENOMEM && !msg->len ? ret : msg->len;
}

static int duet_dip_set_cmd(struct sk_buff *skb, struct genl_info *info)
{
	struct netlink_ext_ack *extack = info->extack;
	struct nlattr *tb[DUET_A_DIP_MAX + 1];
	struct in6_addr vip, dip;
	enum duet_dip_state state;
	struct duet_dev *dd;
	bool changed, one;
	int ret;

	if (!info->attrs[DUET_A_DIP]) {
		NL_SET_ERR_MSG(extack, "no DIP is named");
		return -EINVAL;
	}
	ret = duet_parse_nest(tb, DUET_A_DIP_MAX, info->attrs[DUET_A_DIP], extack);
	if (ret)
		return ret;
	ret = duet_parse_addr(tb[DUET_A_DIP_ADDR], "DIP", &dip, extack);
	if (ret)
		return ret;
	if (!tb[DUET_A_DIP_STATE]) {
		NL_SET_ERR_MSG(extack, "no state is given for the DIP");
		return -EINVAL;
	}
	if (tb[DUET_A_DIP_WEIGHT]) {
		NL_SET_ERR_MSG(extack, "a weight changes by setting the VIP");
		return -EINVAL;
	}
	state = nla_get_u32(tb[DUET_A_DIP_STATE]);
	one = info->attrs[DUET_A_VIP];
	if (one) {
		ret = duet_parse_vip_addr(info->attrs[DUET_A_VIP], &vip, extack);
		if (ret)
			return ret;
	}
	dd = duet_nl_dev(genl_info_net(info), info->attrs, extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	ret = duet_dip_set(dd, one ? &vip : NULL, &dip, state, &changed, extack);
	if (!ret)
		duet_nl_notify_dip(dd, one ? &vip : NULL, &dip, state, changed, info);
	duet_nl_unlock(dd);
	return ret;
}

static int duet_trace_cmd(struct sk_buff *skb, struct genl_info *info)
{
	enum duet_verdict verdict = DUET_VERDICT_PASS;
	struct duet_choice choice = {};
	struct duet_tuple tuple;
	struct in6_addr addr;
	struct duet_vip *vip;
	struct duet_dev *dd;
	struct sk_buff *msg;
	void *hdr;
	int ret;

	ret = duet_parse_flow(info->attrs[DUET_A_FLOW], &tuple, info->extack);
	if (ret)
		return ret;
	dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	ret = -ENOMEM;
	msg = duet_nl_msg(NLMSG_GOODSIZE, info->snd_portid, info->snd_seq, 0,
			  DUET_CMD_TRACE, &hdr);
	if (!msg) {
		NL_SET_ERR_MSG(info->extack, "out of memory for the answer");
		goto out;
	}

	duet_tuple_addr(tuple.dst, tuple.family, &addr);
	vip = duet_vip_find(dd, &addr);
	if (vip) {
		local_bh_disable();
		rcu_read_lock();
		verdict = duet_choose(dd, vip, &tuple, true, &choice);
		rcu_read_unlock();
		local_bh_enable();
	}
	/* the lock keeps what was chosen */

	ret = vip ? duet_put_trace(msg, vip, &choice,
				   verdict == DUET_VERDICT_ENCAP) : 0;
	if (!ret && ((verdict == DUET_VERDICT_ENCAP && !choice.kept &&
		      (nla_put_u32(msg, DUET_A_HASH, choice.hash) ||
		       nla_put_u32(msg, DUET_A_BUCKET, choice.bucket))) ||
		     nla_put_u32(msg, DUET_A_VERDICT, verdict)))
		ret = -EMSGSIZE;
	if (ret) {
		nlmsg_free(msg);
		goto out;
	}
	duet_nl_unlock(dd);
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
out:
	duet_nl_unlock(dd);
	return ret;
}

/* Every command, those that only read too, needs CAP_NET_ADMIN in the user
 * namespace that owns the network namespace: clients' addresses, the deployment's
 * keys and what the mux chooses are secrets. There is no other way to write one.
 */
#define DUET_OP(c, p, ...) {						\
	.cmd = c, .policy = p, .maxattr = DUET_A_MAX,			\
	.flags = GENL_UNS_ADMIN_PERM, __VA_ARGS__			\
}

static const struct genl_ops duet_ops[] = {
	DUET_OP(DUET_CMD_DEV_GET, duet_get_policy,
		.doit = duet_dev_get, .start = duet_dump_start,
		.dumpit = duet_dev_dump),
	DUET_OP(DUET_CMD_DEV_SET, duet_set_policy,
		.doit = duet_dev_set),
	DUET_OP(DUET_CMD_PORT_ADD, duet_port_policy,
		.doit = duet_port_add_cmd),
	DUET_OP(DUET_CMD_PORT_DEL, duet_port_policy,
		.doit = duet_port_del_cmd),
	DUET_OP(DUET_CMD_VIP_SET, duet_vip_cmd_policy,
		.doit = duet_vip_set_cmd),
	DUET_OP(DUET_CMD_VIP_DEL, duet_vip_del_policy,
		.doit = duet_vip_del_cmd),
	DUET_OP(DUET_CMD_VIP_GET, duet_vip_cmd_policy,
		.doit = duet_vip_get_cmd, .start = duet_dump_start,
		.dumpit = duet_vip_dump),
	DUET_OP(DUET_CMD_DIP_SET, duet_dip_cmd_policy,
		.doit = duet_dip_set_cmd),
	DUET_OP(DUET_CMD_TRACE, duet_trace_policy, .doit = duet_trace_cmd),
	DUET_OP(DUET_CMD_FLOW_GET, duet_flow_cmd_policy,
		.dumpit = duet_flow_dump),
	DUET_OP(DUET_CMD_FLOW_FLUSH, duet_flow_cmd_policy,
		.doit = duet_flow_flush_cmd),
};

static const struct genl_multicast_group duet_groups[] = {
	[DUET_GROUP_EVENTS] = {
		.name = DUET_GENL_MCGRP_EVENTS,
		DUET_GROUP_ADMIN
	},
};

struct genl_family duet_family __ro_after_init = {
	.name	  = DUET_GENL_NAME,
	.version  = DUET_GENL_VERSION,
	.maxattr  = DUET_A_MAX,
	.netnsok  = true,
	.parallel_ops = true,	/* duet_net->lock is of one namespace */
	.module	  = THIS_MODULE,
	.ops	  = duet_ops,
	.n_ops	  = ARRAY_SIZE(duet_ops),
	.mcgrps	  = duet_groups,
	.n_mcgrps = ARRAY_SIZE(duet_groups),
};

int duet_nl_init(void)
{
	return genl_register_family(&duet_family);
}

void duet_nl_exit(void)
{
	genl_unregister_family(&duet_family);
}
