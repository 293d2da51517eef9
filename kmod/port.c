// SPDX-License-Identifier: GPL-2.0
/*
 * Ports: netdevs whose ingress hook feeds a mux, before routing.
 *
 * The hook of a netdev sees what arrives for that netdev's own MAC address. A
 * member of a bridge, bond or team has, for it, the wrong one: frames for the
 * bridge's address come by any member, and a bond's idle member gets copies. So
 * only the device that has the IP address is a port, and its members can't be.
 * A macvlan (VRRP) beside the port's own address is a port of its own.
 */
#include "port.h"
#include "compat.h"
#include "rx.h"

#include <linux/if_vlan.h>
#include <net/l3mdev.h>

static __always_inline unsigned int duet_port_ip(struct duet_dev *dd,
						 struct sk_buff *skb)
{
	if (likely(skb->protocol == htons(ETH_P_IP)))
		return duet_rx_port(dd, skb, false);
	if (skb->protocol == htons(ETH_P_IPV6))
		return duet_rx_port(dd, skb, true);
	return NF_ACCEPT;
}

/* duet_port_prio - a tagged frame belongs to the VLAN device, which can be a
 * port itself; one of VLAN 0 has only a priority, and is the port's own. Sent
 * on, it has none.
 */
static noinline unsigned int duet_port_prio(struct duet_dev *dd,
					    struct sk_buff *skb)
{
	__be16 proto = skb->vlan_proto;
	u16 tci = skb->vlan_tci;
	unsigned int verdict;

	if (skb_vlan_tag_get_id(skb) || skb_shared(skb))
		return NF_ACCEPT;
	__vlan_hwaccel_clear_tag(skb);
	verdict = duet_port_ip(dd, skb);
	if (verdict == NF_ACCEPT)
		__vlan_hwaccel_put_tag(skb, proto, tci);
	return verdict;
}

static unsigned int duet_port_hook(void *priv, struct sk_buff *skb,
				   const struct nf_hook_state *state)
{
	struct duet_dev *dd = priv;

	if (skb->pkt_type != PACKET_HOST || !READ_ONCE(dd->running))
		return NF_ACCEPT;
	if (unlikely(skb_vlan_tag_present(skb)))
		return duet_port_prio(dd, skb);
	return duet_port_ip(dd, skb);
}

static struct duet_port *duet_port_find(struct duet_dev *dd, u32 ifindex)
{
	struct duet_port *port;

	duet_assert_locked(dd);
	list_for_each_entry(port, &dd->ports, node)
		if (port->dev->ifindex == ifindex)
			return port;
	return NULL;
}

/* duet_port_master - the netdev that takes what arrives on dev, NULL: dev does.
 * rtnl held.
 */
static const struct net_device *duet_port_master(struct net_device *dev)
{
	struct net_device *master = netdev_master_upper_dev_get(dev);

	/* a VRF takes nothing away: its member has the IP address */
	return master && !netif_is_l3_master(master) ? master : NULL;
}

/* duet_port_macvlan - a macvlan above dev that is no port of dd, or NULL. rtnl
 * and duet_net->lock held.
 */
static const struct net_device *duet_port_macvlan(struct duet_dev *dd,
						  struct net_device *dev)
{
	struct net_device *upper;
	struct list_head *iter;

	netdev_for_each_upper_dev_rcu(dev, upper, iter)
		if (netif_is_macvlan(upper) && !duet_port_find(dd, upper->ifindex))
			return upper;
	return NULL;
}

static int duet_port_check(struct duet_net *dn, struct duet_dev *dd,
			   struct net_device *dev, struct netlink_ext_ack *extack)
{
	const struct net_device *master;
	struct duet_dev *other;

	ASSERT_RTNL();
	if (dev->rtnl_link_ops == &duet_link_ops) {
		NL_SET_ERR_MSG(extack, "a mux can't be the port of a mux");
		return -EINVAL;
	}
	if (dev->flags & IFF_LOOPBACK) {
		NL_SET_ERR_MSG(extack, "the loopback device can't be a port");
		return -EINVAL;
	}
	master = duet_port_master(dev);
	if (master) {
		DUET_EXTACK_FMT(extack, "%s is a member of %s: make %s the port",
				dev->name, master->name, master->name);
		return -EINVAL;
	}
	list_for_each_entry(other, &dn->devices, node) {
		if (!duet_port_find(other, dev->ifindex))
			continue;
		if (other == dd) {
			NL_SET_ERR_MSG(extack, "netdev is a port of this mux already");
			return -EEXIST;
		}
		DUET_EXTACK_FMT(extack, "netdev %s is a port of %s already",
				dev->name, other->name);
		return -EBUSY;
	}
	if (dd->n_ports >= DUET_PORTS_MAX) {
		NL_SET_ERR_MSG(extack, "the mux has as many ports as it can");
		return -ENOSPC;
	}
	return 0;
}

int duet_port_add(struct duet_net *dn, struct duet_dev *dd,
		  struct net_device *dev, struct netlink_ext_ack *extack)
{
	const struct net_device *macvlan;
	struct duet_port *port;
	int ret;

	ret = duet_port_check(dn, dd, dev, extack);
	if (ret)
		return ret;
	port = kzalloc(sizeof(*port), GFP_KERNEL_ACCOUNT);
	if (!port) {
		NL_SET_ERR_MSG(extack, "out of memory for the port");
		return -ENOMEM;
	}
	port->dev = dev;
	strscpy(port->name, dev->name, sizeof(port->name));
	port->ops.hook = duet_port_hook;
	port->ops.priv = dd;
	port->ops.dev = dev;
	port->ops.pf = NFPROTO_NETDEV;
	port->ops.hooknum = NF_NETDEV_INGRESS;
	port->ops.priority = 0;
	ret = nf_register_net_hook(dd->net, &port->ops);
	if (ret) {
		NL_SET_ERR_MSG(extack, "can't hook the netdev's ingress");
		kfree(port);
		return ret;
	}
	netdev_hold(dev, &port->tracker, GFP_KERNEL);
	/* what hardware merged can't be sent on as the packets it was */
	dev_disable_lro(dev);
	list_add_tail_rcu(&port->node, &dd->ports);
	WRITE_ONCE(dd->n_ports, dd->n_ports + 1);
	duet_dev_changed(dd);
	/* a warning: the port is there */
	rcu_read_lock();
	macvlan = duet_port_macvlan(dd, dev);
	if (macvlan)
		DUET_EXTACK_FMT(extack, "%s: packets for %s's MAC address need it as a port, too",
				dev->name, macvlan->name);
	rcu_read_unlock();
	return 0;
}

static void duet_port_remove(struct duet_dev *dd, struct duet_port *port)
{
	list_del_rcu(&port->node);
	WRITE_ONCE(dd->n_ports, dd->n_ports - 1);
	nf_unregister_net_hook(dd->net, &port->ops);
	netdev_put(port->dev, &port->tracker);
	kfree_rcu(port, rcu);
	duet_dev_changed(dd);
}

int duet_port_del(struct duet_dev *dd, u32 ifindex,
		  struct netlink_ext_ack *extack)
{
	struct duet_port *port = duet_port_find(dd, ifindex);

	if (!port) {
		NL_SET_ERR_MSG(extack, "netdev is no port of this mux");
		return -ENOENT;
	}
	duet_port_remove(dd, port);
	return 0;
}

void duet_port_flush(struct duet_dev *dd)
{
	struct duet_port *port, *next;

	duet_assert_locked(dd);
	if (list_empty(&dd->ports))
		return;
	list_for_each_entry_safe(port, next, &dd->ports, node)
		duet_port_remove(dd, port);
	synchronize_net();
}

bool duet_port_gone(struct duet_dev *dd, const struct net_device *dev)
{
	struct duet_port *port = duet_port_find(dd, dev->ifindex);

	if (!port || port->dev != dev)
		return false;
	duet_port_remove(dd, port);
	return true;
}

int duet_client_vrf(const struct duet_dev *dd)
{
	int under = duet_link_vrf(dd), vrf = under;
	const struct duet_port *port;
	bool any = false;

	list_for_each_entry_rcu(port, &dd->ports, node) {
		any = true;
		vrf = l3mdev_master_ifindex_rcu(port->dev);
		if (vrf != under)
			return vrf;
	}
	return any ? vrf : l3mdev_master_ifindex_rcu(dd->dev);
}

int duet_port_joins(struct duet_net *dn, struct net_device *dev,
		    const struct net_device *master,
		    struct netlink_ext_ack *extack)
{
	struct duet_dev *dd;

	if (netif_is_l3_master(master))
		return 0;
	list_for_each_entry(dd, &dn->devices, node) {
		if (!duet_port_find(dd, dev->ifindex))
			continue;
		DUET_EXTACK_FMT(extack, "%s is a port of %s: make %s its port first",
				dev->name, dd->name, master->name);
		return -EBUSY;
	}
	return 0;
}
