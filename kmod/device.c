// SPDX-License-Identifier: GPL-2.0
/*
 * The net_device of a mux, its life, and the namespaces it lives in.
 *
 * A device belongs to one namespace for good: its VIPs and ports are meaningless
 * elsewhere.
 */
#include "device.h"
#include "backend.h"
#include "compat.h"
#include "flow.h"
#include "guard.h"
#include "guest.h"
#include "icmp.h"
#include "netlink.h"
#include "port.h"
#include "rx.h"
#include "vip.h"

#include <linux/if_arp.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <net/addrconf.h>
#include <net/inet_ecn.h>
#include <net/ip_tunnels.h>
#include <net/l3mdev.h>
#include <net/rtnetlink.h>

static unsigned int duet_net_id __read_mostly;

struct duet_net *duet_pernet(const struct net *net)
{
	return net_generic(net, duet_net_id);
}

struct duet_dev *duet_dev_find(struct duet_net *dn, u32 ifindex, const char *name)
{
	struct duet_dev *dd;

	lockdep_assert_held(&dn->lock);
	list_for_each_entry(dd, &dn->devices, node) {
		if (ifindex ? dd->dev->ifindex == ifindex :
			      name && !strcmp(dd->name, name))
			return dd;
	}
	return NULL;
}

const struct duet_tables *duet_dev_preset(enum duet_mode mode)
{
	static const struct duet_tables paper = {
		.vips = DUET_PAPER_VIPS,
		.rules = DUET_PAPER_RULES,
		.members = DUET_PAPER_MEMBERS,
		.tunnels = DUET_PAPER_TUNNELS,
		.backends = DUET_BACKENDS_HMUX,
	}, unbounded = {
		.backends = DUET_BACKENDS_SMUX,
	};

	return mode == DUET_MODE_HMUX ? &paper : &unbounded;
}

void duet_keys_ready(struct duet_keys *keys)
{
	duet_key_init(&keys->level1, keys->bytes);
	duet_key_level2(&keys->level2, &keys->level1);
}

void duet_set_underlay(struct duet_dev *dd, const struct duet_underlay *underlay)
{
	bool inherit = underlay->tos == DUET_TOS_INHERIT;

	dd->underlay = *underlay;
	WRITE_ONCE(dd->link, underlay->link);
	WRITE_ONCE(dd->mark, underlay->mark);
	WRITE_ONCE(dd->tos_keep, inherit ? 0xff : INET_ECN_MASK);
	WRITE_ONCE(dd->tos_set, inherit ? 0 : underlay->tos);
	WRITE_ONCE(dd->mask4, inet_make_mask(underlay->spread4));
}

int duet_link_vrf(const struct duet_dev *dd)
{
	u32 link = READ_ONCE(dd->link);

	return link ? l3mdev_master_ifindex_by_index(dd->net, link) : 0;
}

static int duet_open(struct net_device *dev)
{
	struct duet_dev *dd = netdev_priv(dev);

	WRITE_ONCE(dd->running, true);
	return 0;
}

static int duet_stop(struct net_device *dev)
{
	struct duet_dev *dd = netdev_priv(dev);

	WRITE_ONCE(dd->running, false);
	return 0;
}

static netdev_tx_t duet_start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	/* the stack calls with BH off and under rcu_read_lock_bh() */
	rcu_read_lock();
	skb_reset_network_header(skb);
	duet_rx_route(netdev_priv(dev), skb);
	rcu_read_unlock();
	return NETDEV_TX_OK;
}

static void duet_get_stats64(struct net_device *dev,
			     struct rtnl_link_stats64 *stats)
{
	struct duet_dev *dd = netdev_priv(dev);
	int v;

	for (v = DUET_VERDICT_ENCAP; v < __DUET_VERDICT_MAX; v++) {
		struct duet_stats_sum sum = {};

		duet_stats_read(&dd->verdicts->v[v], &sum);
		if (v == DUET_VERDICT_ENCAP) {
			stats->tx_packets = sum.packets;
			stats->tx_bytes = sum.bytes;
		} else if (v != DUET_VERDICT_OUTER_ERROR) {
			stats->tx_dropped += sum.packets;
		}
	}
}

static const struct net_device_ops duet_netdev_ops = {
	.ndo_open	 = duet_open,
	.ndo_stop	 = duet_stop,
	.ndo_start_xmit	 = duet_start_xmit,
	.ndo_get_stats64 = duet_get_stats64,
};

static const struct device_type duet_type = { .name = "duet" };

static void duet_destructor(struct net_device *dev)
{
	struct duet_dev *dd = netdev_priv(dev);

	duet_backend_exit(dd);
	free_percpu(dd->verdicts);
	kvfree(dd->vips);
}

static void duet_setup(struct net_device *dev)
{
	dev->netdev_ops = &duet_netdev_ops;
	SET_NETDEV_DEVTYPE(dev, &duet_type);
	dev->type = ARPHRD_NONE;
	/* the protocol of a packet of AF_PACKET that doesn't name it */
	dev->header_ops = &ip_tunnel_header_ops;
	dev->flags = IFF_NOARP;
	dev->priv_flags |= IFF_NO_QUEUE;
	dev->hard_header_len = 0;
	dev->addr_len = 0;
	dev->needed_headroom = LL_MAX_HEADER + sizeof(struct ipv6hdr);
	/* packets are judged against the route to the DIP, not here */
	dev->mtu = 65535 - sizeof(struct iphdr);
	dev->max_mtu = dev->mtu;
	dev->min_mtu = 68;
	dev->features |= NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA |
			 NETIF_F_GSO_SOFTWARE | NETIF_F_HW_CSUM;
	dev->hw_features |= dev->features;
	duet_set_netdev_flags(dev);
	netif_keep_dst(dev);
	dev->needs_free_netdev = true;
}

/* duet_dev_bytes - what a device takes by itself */
static long duet_dev_bytes(void)
{
	return sizeof(struct net_device) + sizeof(struct duet_dev) +
	       (sizeof(struct hlist_head) << DUET_VIP_HASH_BITS) +
	       sizeof(struct duet_verdicts) * num_possible_cpus();
}

/* duet_dev_check - may a guest have one more */
static int duet_dev_check(struct duet_net *dn, struct netlink_ext_ack *extack)
{
	const struct duet_dev *dd;
	unsigned int n = 0;

	if (!dn->guest)
		return 0;
	/* devices come and go under rtnl only */
	list_for_each_entry(dd, &dn->devices, node)
		n++;
	if (n < DUET_GUEST_DEVICES)
		return duet_guest_check(dn, extack);
	DUET_EXTACK_FMT(extack, "an unprivileged network namespace has at most %u muxes",
			DUET_GUEST_DEVICES);
	return -ENOSPC;
}

/* duet_attach, duet_detach - a namespace has hooks while it has muxes, so that
 * others don't pay for them; rtnl held
 */
static int duet_attach(struct duet_net *dn, struct net *net)
{
	int ret;

	if (dn->n_attached++)
		return 0;
	ret = duet_icmp_attach(net);
	if (ret)
		dn->n_attached--;
	return ret;
}

static void duet_detach(struct duet_net *dn, struct net *net)
{
	if (!--dn->n_attached)
		duet_icmp_detach(net);
}

static const struct duet_underlay duet_underlay_default = {
	.tos = DUET_TOS_INHERIT,
	.spread4 = 32,
};

static const struct nla_policy duet_link_policy[IFLA_DUET_MAX + 1] = {
	[IFLA_DUET_MODE]   = NLA_POLICY_MAX(NLA_U32, DUET_MODE_SMUX),
	[IFLA_DUET_LOCAL4] = { .type = NLA_REJECT },
	[IFLA_DUET_LOCAL6] = { .type = NLA_REJECT },
	[IFLA_DUET_PORTS]  = { .type = NLA_REJECT },
	[IFLA_DUET_VIPS]   = { .type = NLA_REJECT },
	[IFLA_DUET_LINK]   = { .type = NLA_REJECT },
	[IFLA_DUET_MARK]   = { .type = NLA_REJECT },
	[IFLA_DUET_TOS]	   = { .type = NLA_REJECT },
	[IFLA_DUET_SPREAD4] = { .type = NLA_REJECT },
};

static int duet_validate(struct nlattr *tb[], struct nlattr *data[],
			 struct netlink_ext_ack *extack)
{
	if (tb[IFLA_ADDRESS]) {
		NL_SET_ERR_MSG_ATTR(extack, tb[IFLA_ADDRESS],
				    "a mux has no link-layer address");
		return -EINVAL;
	}
	return 0;
}

static int duet_changelink(struct net_device *dev, struct nlattr *tb[],
			   struct nlattr *data[], struct netlink_ext_ack *extack)
{
	NL_SET_ERR_MSG(extack, "a mux is changed by the duet netlink family: duet dev set");
	return -EOPNOTSUPP;
}

static size_t duet_link_size(const struct net_device *dev)
{
	return 5 * nla_total_size(sizeof(u32)) + 2 * nla_total_size(sizeof(u8)) +
	       nla_total_size(sizeof(struct in_addr)) +
	       nla_total_size(sizeof(struct in6_addr));
}

/* Anybody may read links, so nothing secret is here. Called under rtnl, which
 * doesn't keep the configuration still.
 */
static int duet_fill_link(struct sk_buff *skb, const struct net_device *dev)
{
	const struct duet_dev *dd = netdev_priv(dev);
	__be32 local4 = READ_ONCE(dd->local4), mask4 = READ_ONCE(dd->mask4);
	u32 link = READ_ONCE(dd->link), mark = READ_ONCE(dd->mark);
	u8 tos = READ_ONCE(dd->tos_keep) == 0xff ? DUET_TOS_INHERIT :
						    READ_ONCE(dd->tos_set);
	const struct in6_addr *local6;
	int ret = 0;

	if (nla_put_u32(skb, IFLA_DUET_MODE, READ_ONCE(dd->mode)) ||
	    (local4 && nla_put_in_addr(skb, IFLA_DUET_LOCAL4, local4)) ||
	    nla_put_u32(skb, IFLA_DUET_PORTS, READ_ONCE(dd->n_ports)) ||
	    nla_put_u32(skb, IFLA_DUET_VIPS, READ_ONCE(dd->used.vips)) ||
	    (link && nla_put_u32(skb, IFLA_DUET_LINK, link)) ||
	    (mark && nla_put_u32(skb, IFLA_DUET_MARK, mark)) ||
	    nla_put_u8(skb, IFLA_DUET_TOS, tos) ||
	    nla_put_u8(skb, IFLA_DUET_SPREAD4, inet_mask_len(mask4)))
		return -EMSGSIZE;
	rcu_read_lock();
	local6 = duet_local6(dd);
	if (local6)
		ret = nla_put_in6_addr(skb, IFLA_DUET_LOCAL6, local6);
	rcu_read_unlock();
	return ret;
}

/* duet_no_address - a mux is no host: IPv6 gives it no address of its own, so
 * nothing is sent into it by itself
 */
static void duet_no_address(struct net_device *dev)
{
#if IS_ENABLED(CONFIG_IPV6)
	struct inet6_dev *in6_dev = __in6_dev_get(dev);

	if (in6_dev)
		in6_dev->cnf.addr_gen_mode = IN6_ADDR_GEN_MODE_NONE;
#endif
}

#if DUET_HAVE_NEWLINK_PARAMS
static int duet_newlink(struct net_device *dev,
			struct rtnl_newlink_params *params,
			struct netlink_ext_ack *extack)
{
	struct nlattr **data = params->data;
#else
static int duet_newlink(struct net *src_net, struct net_device *dev,
			struct nlattr *tb[], struct nlattr *data[],
			struct netlink_ext_ack *extack)
{
#endif
	struct duet_dev *dd = netdev_priv(dev);
	struct duet_net *dn = duet_pernet(dev_net(dev));
	struct duet_flows *flows = NULL;
	int cpu, v, ret;

	duet_account(dn, duet_dev_bytes());
	ret = duet_dev_check(dn, extack);
	if (ret)
		goto err_account;

	dd->dev = dev;
	dd->net = dev_net(dev);
	INIT_LIST_HEAD(&dd->ports);
	INIT_LIST_HEAD(&dd->node);
	ida_init(&dd->slot_ids);
	duet_keepalive_init(dd);
	dd->mode = data && data[IFLA_DUET_MODE] ?
		   nla_get_u32(data[IFLA_DUET_MODE]) : DUET_MODE_HMUX;
	dd->limits = *duet_dev_preset(dd->mode);
	dd->flow_config = duet_flow_default;
	dd->entropy = get_random_u32();
	duet_set_underlay(dd, &duet_underlay_default);

	ret = -ENOMEM;
	dd->vips = kvcalloc(1 << DUET_VIP_HASH_BITS, sizeof(*dd->vips), GFP_KERNEL_ACCOUNT);
	if (!dd->vips)
		goto err_account;
	dd->verdicts = alloc_percpu_gfp(struct duet_verdicts, GFP_KERNEL_ACCOUNT);
	if (!dd->verdicts)
		goto err_free_vips;
	for_each_possible_cpu(cpu)
		for (v = 0; v < __DUET_VERDICT_MAX; v++)
			u64_stats_init(&per_cpu_ptr(dd->verdicts, cpu)->v[v].syncp);

	if (dd->mode == DUET_MODE_SMUX) {
		flows = duet_flows_new(dn, dd->flow_config.max, extack);
		ret = PTR_ERR_OR_ZERO(flows);
		if (ret)
			goto err_free_verdicts;
	}

	ret = duet_attach(dn, dd->net);
	if (ret)
		goto err_discard_flows;
	ret = register_netdevice(dev);
	if (ret)
		goto err_detach;
	/* only now: register_netdevice() would call it on failure */
	dev->priv_destructor = duet_destructor;
	duet_no_address(dev);

	mutex_lock(&dn->lock);
	strscpy(dd->name, dev->name, sizeof(dd->name));
	if (flows)
		duet_flows_set(dd, &dd->flow_config, flows);
	list_add_tail_rcu(&dd->node, &dn->devices);
	dn->seq++;
	duet_nl_notify_dev(dd, false, true, NULL);
	mutex_unlock(&dn->lock);
	return 0;

err_detach:
	duet_detach(dn, dd->net);
err_discard_flows:
	duet_flows_discard(dn, flows);
err_free_verdicts:
	free_percpu(dd->verdicts);
err_free_vips:
	kvfree(dd->vips);
err_account:
	duet_account(dn, -duet_dev_bytes());
	return ret;
}

static void duet_dellink(struct net_device *dev, struct list_head *head)
{
	struct duet_dev *dd = netdev_priv(dev);
	struct duet_net *dn = duet_pernet(dd->net);

	mutex_lock(&dn->lock);
	WRITE_ONCE(dd->running, false);
	duet_port_flush(dd);
	duet_vip_flush(dd);
	duet_flows_free(dd);
	duet_account(dn, -duet_dev_bytes());
	list_del_rcu(&dd->node);
	dn->seq++;
	duet_nl_notify_dev(dd, true, true, NULL);
	mutex_unlock(&dn->lock);
	duet_detach(dn, dd->net);
	/* nobody finds the device to set it again */
	duet_keepalive_stop(dd);
	unregister_netdevice_queue(dev, head);
}

struct rtnl_link_ops duet_link_ops __read_mostly = {
	.kind	    = "duet",
	.maxtype    = IFLA_DUET_MAX,
	.policy	    = duet_link_policy,
	.priv_size  = sizeof(struct duet_dev),
	.setup	    = duet_setup,
	.validate   = duet_validate,
	.newlink    = duet_newlink,
	.changelink = duet_changelink,
	.dellink    = duet_dellink,
	.get_size   = duet_link_size,
	.fill_info  = duet_fill_link,
};

/* duet_dev_renamed - names of netdevs change under rtnl, and are read without: so
 * under the lock there are copies
 */
static void duet_dev_renamed(struct duet_dev *dd, const struct net_device *dev)
{
	struct duet_port *port;

	if (dd->dev == dev)
		strscpy(dd->name, dev->name, sizeof(dd->name));
	list_for_each_entry(port, &dd->ports, node)
		if (port->dev == dev)
			strscpy(port->name, dev->name, sizeof(port->name));
}

/* duet_netdev_upper - a port that became a member of a bridge would get nothing
 * any more, without a word
 */
static int duet_netdev_upper(struct duet_net *dn, struct net_device *dev,
			     struct netdev_notifier_changeupper_info *info)
{
	int ret;

	if (!info->master || !info->linking)
		return NOTIFY_DONE;
	mutex_lock(&dn->lock);
	ret = duet_port_joins(dn, dev, info->upper_dev, info->info.extack);
	mutex_unlock(&dn->lock);
	return notifier_from_errno(ret);
}

/* Netdevs that leave their namespace stop being ports. */
static int duet_netdev_event(struct notifier_block *nb, unsigned long event,
			     void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct duet_net *dn = duet_pernet(dev_net(dev));
	struct duet_dev *dd;

	if (event == NETDEV_PRECHANGEUPPER)
		return duet_netdev_upper(dn, dev, ptr);
	if (event != NETDEV_UNREGISTER && event != NETDEV_CHANGENAME)
		return NOTIFY_DONE;
	mutex_lock(&dn->lock);
	list_for_each_entry(dd, &dn->devices, node) {
		if (event == NETDEV_CHANGENAME)
			duet_dev_renamed(dd, dev);
		else if (duet_port_gone(dd, dev))
			duet_nl_notify_dev(dd, false, true, NULL);
	}
	mutex_unlock(&dn->lock);
	return NOTIFY_DONE;
}

static struct notifier_block duet_notifier = {
	.notifier_call = duet_netdev_event,
};

static int __net_init duet_net_init(struct net *net)
{
	struct duet_net *dn = duet_pernet(net);

	mutex_init(&dn->lock);
	INIT_LIST_HEAD(&dn->devices);
	dn->seq = 1;
	dn->guest = net->user_ns != &init_user_ns;
	atomic_long_set(&dn->bytes, 0);
	return 0;
}

/* Devices of a namespace that dies go by rtnl's own clean-up (the link ops'
 * dellink), before this.
 */
static void __net_exit duet_net_exit(struct net *net)
{
	WARN_ON_ONCE(!list_empty(&duet_pernet(net)->devices));
}

static struct pernet_operations duet_pernet_ops = {
	.init = duet_net_init,
	.exit = duet_net_exit,
	.id   = &duet_net_id,
	.size = sizeof(struct duet_net),
};

int duet_nets_init(void)
{
	return register_pernet_subsys(&duet_pernet_ops);
}

void duet_nets_exit(void)
{
	unregister_pernet_subsys(&duet_pernet_ops);
}

int duet_device_init(void)
{
	int ret;

	ret = register_netdevice_notifier(&duet_notifier);
	if (ret)
		return ret;
	ret = duet_guard_init();
	if (ret)
		goto err_notifier;
	ret = rtnl_link_register(&duet_link_ops);
	if (ret)
		goto err_guard;
	return 0;

err_guard:
	duet_guard_exit();
err_notifier:
	unregister_netdevice_notifier(&duet_notifier);
	return ret;
}

void duet_device_exit(void)
{
	rtnl_link_unregister(&duet_link_ops);
	duet_guard_exit();
	unregister_netdevice_notifier(&duet_notifier);
}
