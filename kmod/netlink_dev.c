// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink: commands on devices.
 */
#include "netlink.h"
#include "compat.h"
#include "guard.h"
#include "netlink_get.h"
#include "netlink_parse.h"
#include "vip.h"

#include <net/genetlink.h>
#include <net/inet_ecn.h>
#include <net/ipv6.h>

int duet_dev_get(struct sk_buff *skb, struct genl_info *info)
{
	struct duet_dev *dd;
	struct sk_buff *msg;
	void *hdr;

	dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(dd))
		return PTR_ERR(dd);
	msg = duet_nl_msg(duet_dev_size(dd), info->snd_portid, info->snd_seq, 0,
			  DUET_CMD_DEV_GET, &hdr);
	if (!msg) {
		duet_nl_unlock(dd);
		NL_SET_ERR_MSG(info->extack, "out of memory for the answer");
		return -ENOMEM;
	}
	if (WARN_ON_ONCE(duet_put_dev(msg, dd))) {
		duet_nl_unlock(dd);
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	duet_nl_unlock(dd);
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

int duet_dev_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	struct duet_net *dn = duet_pernet(sock_net(msg->sk));
	long skip = cb->args[0], i = 0;
	struct duet_dev *dd;
	void *hdr;

	mutex_lock(&dn->lock);
	cb->seq = dn->seq;
	list_for_each_entry(dd, &dn->devices, node) {
		if (i++ < skip)
			continue;
		hdr = genlmsg_put(msg, NETLINK_CB(cb->skb).portid,
				  cb->nlh->nlmsg_seq, &duet_family,
				  NLM_F_MULTI, DUET_CMD_DEV_GET);
		if (!hdr)
			break;
		genl_dump_check_consistent(cb, hdr);
		if (duet_put_dev(msg, dd)) {
			genlmsg_cancel(msg, hdr);
			break;
		}
		genlmsg_end(msg, hdr);
		cb->args[0] = i;
	}
	mutex_unlock(&dn->lock);
	return msg->len;
}

/* What DEV_SET changes, as it is to be. */
struct duet_dev_config {
	enum duet_mode mode;
	u8 keys[DUET_KEYS][DUET_KEY_LEN];
	__be32 local4;
	struct in6_addr local6;		/* any: none */
	struct duet_tables limits;
	struct duet_flow_config flows;
	u32 keepalive;			/* ms */
	struct duet_underlay underlay;
};

static int duet_parse_keys(struct duet_dev *dd, struct nlattr **attrs,
			   struct duet_dev_config *c,
			   struct netlink_ext_ack *extack)
{
	static const int types[DUET_KEYS] = { DUET_A_KEY, DUET_A_KEY1 };
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++) {
		if (!attrs[types[i]])
			continue;
		nla_memcpy(c->keys[i], attrs[types[i]], DUET_KEY_LEN);
		if (!memcmp(c->keys[i], dd->keys[i].bytes, DUET_KEY_LEN) ||
		    !duet_vips_use_key(dd, i))
			continue;
		NL_SET_ERR_MSG_ATTR(extack, attrs[types[i]],
				    "a key can't change while VIPs use it: set the other key, then move the VIPs to it");
		return -EBUSY;
	}
	return 0;
}

/* duet_parse_local - *addr: as it is; all zero: none */
static int duet_parse_local(struct duet_dev *dd, const struct nlattr *attr,
			    struct in6_addr *addr, struct netlink_ext_ack *extack)
{
	struct in6_addr was = *addr;
	int ret;

	if (!attr)
		return 0;
	memset(addr, 0, sizeof(*addr));
	if (!memcmp(nla_data(attr), addr, nla_len(attr)))
		return 0;
	ret = duet_parse_addr(attr, "local address", addr, extack);
	if (ret || ipv6_addr_equal(addr, &was))
		return ret;
	ret = duet_guard_local(dd, addr, extack);
	if (ret)
		NL_SET_BAD_ATTR(extack, attr);
	return ret;
}

static int duet_parse_link(struct duet_dev *dd, const struct nlattr *attr,
			   u32 *link, struct netlink_ext_ack *extack)
{
	const struct net_device *dev;
	int ret = 0;

	*link = nla_get_u32(attr);
	if (!*link)
		return 0;
	rcu_read_lock();
	dev = dev_get_by_index_rcu(dd->net, *link);
	if (!dev) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "no netdev with the link's index here");
		ret = -ENODEV;
	} else if (dev->rtnl_link_ops == &duet_link_ops) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "a mux can't be the link of a mux");
		ret = -EINVAL;
	}
	rcu_read_unlock();
	return ret;
}

static int duet_parse_underlay(struct duet_dev *dd, struct nlattr **attrs,
			       struct duet_underlay *u,
			       struct netlink_ext_ack *extack)
{
	int ret;

	if (attrs[DUET_A_LINK]) {
		ret = duet_parse_link(dd, attrs[DUET_A_LINK], &u->link, extack);
		if (ret)
			return ret;
	}
	if (attrs[DUET_A_MARK])
		u->mark = nla_get_u32(attrs[DUET_A_MARK]);
	if (attrs[DUET_A_TOS]) {
		u->tos = nla_get_u8(attrs[DUET_A_TOS]);
		if (u->tos != DUET_TOS_INHERIT && u->tos & INET_ECN_MASK) {
			NL_SET_ERR_MSG_ATTR(extack, attrs[DUET_A_TOS],
					    "the lowest two bits of a TOS are ECN, which is the inner packet's: they must be 0");
			return -EINVAL;
		}
	}
	if (attrs[DUET_A_SPREAD4])
		u->spread4 = nla_get_u8(attrs[DUET_A_SPREAD4]);
	return 0;
}

static int duet_parse_locals(struct duet_dev *dd, struct nlattr **attrs,
			     struct duet_dev_config *c,
			     struct netlink_ext_ack *extack)
{
	struct in6_addr mapped;
	int ret;

	ipv6_addr_set_v4mapped(c->local4, &mapped);
	ret = duet_parse_local(dd, attrs[DUET_A_LOCAL4], &mapped, extack);
	if (ret)
		return ret;
	c->local4 = mapped.s6_addr32[3];
	if (c->local4 && c->underlay.spread4 < 32 &&
	    (c->local4 != dd->local4 || c->underlay.spread4 != dd->underlay.spread4)) {
		ret = duet_guard_spread(dd, c->local4, c->underlay.spread4, extack);
		if (ret)
			return ret;
	}
	return duet_parse_local(dd, attrs[DUET_A_LOCAL6], &c->local6, extack);
}

static int duet_parse_dev(struct duet_dev *dd, struct nlattr **attrs,
			  struct duet_dev_config *c,
			  struct netlink_ext_ack *extack)
{
	int ret;

	if (attrs[DUET_A_MODE])
		c->mode = nla_get_u32(attrs[DUET_A_MODE]);
	if (c->mode != dd->mode && dd->used.vips) {
		NL_SET_ERR_MSG(extack, "mode can't change while the mux has VIPs");
		return -EBUSY;
	}
	ret = duet_parse_keys(dd, attrs, c, extack);
	if (ret)
		return ret;
	ret = duet_parse_underlay(dd, attrs, &c->underlay, extack);
	if (ret)
		return ret;
	ret = duet_parse_locals(dd, attrs, c, extack);
	if (ret)
		return ret;
	if (c->mode != dd->mode) {
		c->limits = *duet_dev_preset(c->mode);
		c->flows = duet_flow_default;
	}
	if (attrs[DUET_A_KEEPALIVE]) {
		c->keepalive = nla_get_u32(attrs[DUET_A_KEEPALIVE]);
		if (c->keepalive && (c->keepalive < DUET_KEEPALIVE_MIN ||
				     c->keepalive > DUET_KEEPALIVE_MAX)) {
			NL_SET_ERR_MSG_ATTR(extack, attrs[DUET_A_KEEPALIVE],
					    "a keepalive is 0 or from 100 to 600000 ms");
			return -ERANGE;
		}
	}
	if (attrs[DUET_A_LIMITS]) {
		ret = duet_parse_limits(dd, attrs[DUET_A_LIMITS], &c->limits, extack);
		if (ret)
			return ret;
	}
	if (!attrs[DUET_A_FLOWS])
		return 0;
	if (c->mode != DUET_MODE_SMUX) {
		NL_SET_ERR_MSG_ATTR(extack, attrs[DUET_A_FLOWS],
				    "only a mux in smux mode has a flow table");
		return -EINVAL;
	}
	return duet_parse_flows(attrs[DUET_A_FLOWS], &c->flows, extack);
}

static void duet_set_local6(struct duet_dev *dd, const struct in6_addr *addr)
{
	if (ipv6_addr_equal(addr, &dd->local6))
		return;
	/* 16 bytes can't be written at once: no packet looks meanwhile */
	WRITE_ONCE(dd->has_local6, false);
	synchronize_net();
	dd->local6 = *addr;
	/* a packet that sees the flag sees the address: duet_local6() */
	smp_store_release(&dd->has_local6, !ipv6_addr_any(addr));
}

static void duet_set_keys(struct duet_dev *dd, u8 bytes[DUET_KEYS][DUET_KEY_LEN])
{
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++) {
		struct duet_keys *keys = &dd->keys[i];

		if (!memcmp(keys->bytes, bytes[i], DUET_KEY_LEN))
			continue;
		/* no VIP uses it, but a packet may still have one that did */
		synchronize_net();
		memcpy(keys->bytes, bytes[i], DUET_KEY_LEN);
		duet_keys_ready(keys);
	}
}

int duet_dev_set(struct sk_buff *skb, struct genl_info *info)
{
	struct duet_net *dn = duet_pernet(genl_info_net(info));
	struct duet_dev_config was = {}, c;
	struct duet_flows *flows = NULL;
	struct duet_dev *dd;
	unsigned int i;
	u32 max;
	int ret;

again:
	dd = duet_nl_dev(genl_info_net(info), info->attrs, info->extack);
	if (IS_ERR(dd)) {
		ret = PTR_ERR(dd);
		goto out_clear;
	}
	was.mode = dd->mode;
	for (i = 0; i < DUET_KEYS; i++)
		memcpy(was.keys[i], dd->keys[i].bytes, DUET_KEY_LEN);
	was.local4 = dd->local4;
	was.local6 = dd->local6;
	was.limits = dd->limits;
	was.flows = dd->flow_config;
	was.keepalive = dd->keepalive.ms;
	was.underlay = dd->underlay;
	memcpy(&c, &was, sizeof(c));

	ret = duet_parse_dev(dd, info->attrs, &c, info->extack);
	if (ret)
		goto out;
	if (!memcmp(&c, &was, sizeof(c))) {
		duet_nl_notify_dev(dd, false, false, info);
		goto out;
	}
	max = c.mode == DUET_MODE_SMUX ? c.flows.max : 0;
	if (max && !duet_flows_is(duet_flows_locked(dd), max) &&
	    !duet_flows_is(flows, max)) {
		/* nobody waits for the lock while a large table is made; then
		 * all is looked at again
		 */
		duet_nl_unlock(dd);
		duet_flows_discard(dn, flows);
		flows = duet_flows_new(dn, max, info->extack);
		if (!IS_ERR(flows))
			goto again;
		ret = PTR_ERR(flows);
		flows = NULL;
		goto out_clear;
	}
	if (!duet_flows_is(duet_flows_locked(dd), max) ||
	    memcmp(&c.flows, &was.flows, sizeof(c.flows))) {
		struct duet_flow_config config = c.flows;

		config.max = max;
		if (duet_flows_is(duet_flows_locked(dd), max)) {
			duet_flows_set(dd, &config, NULL);
		} else {
			duet_flows_set(dd, &config, flows);
			flows = NULL;
		}
	}
	WRITE_ONCE(dd->mode, c.mode);
	dd->limits = c.limits;
	dd->flow_config = c.flows;
	duet_set_keys(dd, c.keys);
	WRITE_ONCE(dd->local4, c.local4);
	duet_set_local6(dd, &c.local6);
	duet_set_underlay(dd, &c.underlay);
	if (c.local4 != was.local4 || !ipv6_addr_equal(&c.local6, &was.local6) ||
	    memcmp(&c.underlay, &was.underlay, sizeof(c.underlay)))
		duet_tunnels_stale(dd);
	duet_dev_changed(dd);
	duet_nl_notify_dev(dd, false, true, info);
out:
	/* also the same again: that is what keeps it alive */
	if (!ret && info->attrs[DUET_A_KEEPALIVE])
		duet_keepalive_set(dd, c.keepalive);
	duet_nl_unlock(dd);
out_clear:
	memzero_explicit(&c, sizeof(c));
	memzero_explicit(&was, sizeof(was));
	duet_flows_discard(dn, flows);
	return ret;
}
