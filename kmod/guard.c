// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses that are taken.
 *
 * A VIP's packets are taken at the ports, before routing. If a VIP is an
 * address of this machine, the machine can't be reached by that address any
 * more; if it is the source of a tunnel, errors about the tunnel are balanced
 * like a client's packets. So both are refused, in whichever order they come,
 * but for one: an address that is added to an interface when the VIP is there
 * already. Refusing that one would leave a machine without its address at boot
 * or in the middle of DHCP, where nobody reads the sentence; the kernel log and
 * the mux agent's status have it instead.
 *
 * An address of lo with host scope (IPv6: deprecated) is no address the machine
 * is reached by: that is how a server answers as the VIP, and a mux can be such
 * a server, too.
 */
#include "guard.h"
#include "compat.h"
#include "port.h"
#include "tunnel.h"
#include "vip.h"

#include <duet/address.h>
#include <linux/inetdevice.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/l3mdev.h>
#include <net/route.h>

static bool duet_ifa4_served(const struct net_device *dev,
			     const struct in_ifaddr *ifa)
{
	return dev->flags & IFF_LOOPBACK && ifa->ifa_scope == RT_SCOPE_HOST;
}

/* duet_dev_has4 - is addr an address of dev; RCU */
static bool duet_dev_has4(const struct net_device *dev, __be32 addr)
{
	const struct in_device *in_dev = __in_dev_get_rcu(dev);
	const struct in_ifaddr *ifa;

	if (!in_dev)
		return false;
	in_dev_for_each_ifa_rcu(ifa, in_dev)
		if (ifa->ifa_local == addr && !duet_ifa4_served(dev, ifa))
			return true;
	return false;
}

#if IS_ENABLED(CONFIG_IPV6)
static bool duet_ifa6_served(const struct net_device *dev,
			     const struct inet6_ifaddr *ifa)
{
	return dev->flags & IFF_LOOPBACK && ifa->flags & IFA_F_DEPRECATED;
}

static bool duet_dev_has6(const struct net_device *dev,
			  const struct in6_addr *addr)
{
	const struct inet6_dev *in6_dev = __in6_dev_get(dev);
	const struct inet6_ifaddr *ifa;

	if (!in6_dev)
		return false;
	list_for_each_entry_rcu(ifa, &in6_dev->addr_list, if_list)
		if (ipv6_addr_equal(&ifa->addr, addr) && !duet_ifa6_served(dev, ifa))
			return true;
	return false;
}
#else
static bool duet_dev_has6(const struct net_device *dev,
			  const struct in6_addr *addr)
{
	return false;
}
#endif

/* duet_has_ifaddr - a cheap "no" for nearly every address; RCU */
static bool duet_has_ifaddr(struct net *net, const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		return __ip_dev_find(net, addr->s6_addr32[3], false);
#if IS_ENABLED(CONFIG_IPV6)
	return ipv6_mod_enabled() && ipv6_dev_find(net, addr, NULL);
#else
	return false;
#endif
}

/* duet_guard_ifaddr - the netdev that has addr, or NULL; RCU */
static const struct net_device *duet_guard_ifaddr(struct net *net,
						  const struct in6_addr *addr)
{
	const struct net_device *dev;
	bool v4 = ipv6_addr_v4mapped(addr);

	if (!duet_has_ifaddr(net, addr))
		return NULL;
	for_each_netdev_rcu(net, dev)
		if (v4 ? duet_dev_has4(dev, addr->s6_addr32[3]) :
			 duet_dev_has6(dev, addr))
			return dev;
	return NULL;
}

/* duet_guard_subnet - is addr the broadcast address (IPv6: the anycast address
 * of the routers) of a subnet of this machine, as the routing table vrf (0: the
 * main one) has it? The netdev's name in name.
 */
static bool duet_guard_subnet(struct net *net, const struct in6_addr *addr,
			      int vrf, char name[IFNAMSIZ])
{
	bool is = false;

	if (ipv6_addr_v4mapped(addr)) {
		struct flowi4 fl = {
			.flowi4_oif = vrf,
			.daddr = addr->s6_addr32[3],
		};
		struct rtable *rt = ip_route_output_key(net, &fl);

		if (IS_ERR(rt))
			return false;
		is = rt->rt_flags & RTCF_BROADCAST;
		strscpy(name, rt->dst.dev->name, IFNAMSIZ);
		ip_rt_put(rt);
		return is;
	}
#if IS_ENABLED(CONFIG_IPV6)
	if (ipv6_mod_enabled()) {
		struct flowi6 fl = { .flowi6_oif = vrf, .daddr = *addr };
		struct dst_entry *dst = ip6_route_output(net, NULL, &fl);

		is = !dst->error &&
		     ((struct rt6_info *)dst)->rt6i_flags & RTF_ANYCAST;
		strscpy(name, dst->dev->name, IFNAMSIZ);
		dst_release(dst);
	}
#endif
	return is;
}

/* duet_guard_broadcast - of any subnet that a mux's packets come from or go to */
static bool duet_guard_broadcast(struct duet_dev *dd, const struct in6_addr *addr,
				 char name[IFNAMSIZ])
{
	struct duet_port *port;
	int vrf, last = 0;

	if (duet_guard_subnet(dd->net, addr, 0, name))
		return true;
	if (dd->underlay.link && duet_guard_subnet(dd->net, addr, dd->underlay.link, name))
		return true;
	list_for_each_entry(port, &dd->ports, node) {
		vrf = l3mdev_master_ifindex(port->dev);
		if (!vrf || vrf == last)
			continue;
		if (duet_guard_subnet(dd->net, addr, vrf, name))
			return true;
		last = vrf;
	}
	return false;
}

static bool duet_is_source(const struct duet_dev *dd, const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		return duet_is_local4(dd, addr->s6_addr32[3]);
	return dd->has_local6 && ipv6_addr_equal(&dd->local6, addr);
}

/* duet_guard_source - refuse what is the source of the tunnels of any mux here */
static int duet_guard_source(struct duet_dev *dd, const char *what,
			     const struct in6_addr *addr,
			     struct netlink_ext_ack *extack)
{
	char text[DUET_ADDR_TEXT];
	struct duet_dev *other;

	list_for_each_entry(other, &duet_pernet(dd->net)->devices, node) {
		if (!duet_is_source(other, addr))
			continue;
		DUET_EXTACK_FMT(extack, "%s %s is the source of %s's tunnels", what,
				duet_addr_text(text, addr), other->name);
		return -EADDRINUSE;
	}
	return 0;
}

static int duet_guard_not_broadcast(struct duet_dev *dd, const char *what,
				    const struct in6_addr *addr,
				    struct netlink_ext_ack *extack)
{
	char text[DUET_ADDR_TEXT], name[IFNAMSIZ];

	if (!duet_guard_broadcast(dd, addr, name))
		return 0;
	DUET_EXTACK_FMT(extack, "%s %s is the %s address of %s", what,
			duet_addr_text(text, addr),
			ipv6_addr_v4mapped(addr) ? "broadcast" : "anycast", name);
	return -EADDRINUSE;
}

int duet_guard_vip(struct duet_dev *dd, const struct in6_addr *addr,
		   struct netlink_ext_ack *extack)
{
	const struct net_device *dev;
	char text[DUET_ADDR_TEXT];
	int ret;

	ret = duet_guard_source(dd, "VIP", addr, extack);
	if (ret)
		return ret;
	rcu_read_lock();
	dev = duet_guard_ifaddr(dd->net, addr);
	if (dev)
		DUET_EXTACK_FMT(extack, "VIP %s is an address of this machine, on %s",
				duet_addr_text(text, addr), dev->name);
	rcu_read_unlock();
	if (dev)
		return -EADDRINUSE;
	return duet_guard_not_broadcast(dd, "VIP", addr, extack);
}

int duet_guard_dip(struct duet_dev *dd, const struct in6_addr *addr,
		   struct netlink_ext_ack *extack)
{
	int ret = duet_guard_source(dd, "DIP", addr, extack);

	return ret ?: duet_guard_not_broadcast(dd, "DIP", addr, extack);
}

int duet_guard_local(struct duet_dev *dd, const struct in6_addr *addr,
		     struct netlink_ext_ack *extack)
{
	char text[DUET_ADDR_TEXT];
	struct duet_dev *other;

	list_for_each_entry(other, &duet_pernet(dd->net)->devices, node) {
		bool vip = duet_vip_find(other, addr);

		if (!vip && !duet_tunnel_find(other, addr->s6_addr))
			continue;
		DUET_EXTACK_FMT(extack, "local address %s is a %s of %s",
				duet_addr_text(text, addr), vip ? "VIP" : "DIP",
				other->name);
		return -EADDRINUSE;
	}
	return duet_guard_not_broadcast(dd, "local address", addr, extack);
}

/* duet_in_spread - is addr IPv4 and of the prefix */
static bool duet_in_spread(const struct in6_addr *addr, __be32 prefix, __be32 mask)
{
	return ipv6_addr_v4mapped(addr) && !((addr->s6_addr32[3] ^ prefix) & mask);
}

/* duet_guard_spread_of - no VIP and no DIP of other is of the prefix */
static int duet_guard_spread_of(struct duet_dev *other, __be32 addr,
				unsigned int len, struct netlink_ext_ack *extack)
{
	__be32 mask = inet_make_mask(len);
	struct duet_tunnel *tunnel;
	struct duet_vip *vip;
	unsigned int i;

	for (i = 0; i < 1 << DUET_VIP_HASH_BITS; i++)
		hlist_for_each_entry(vip, &other->vips[i], node)
			if (duet_in_spread(&vip->addr, addr, mask)) {
				DUET_EXTACK_FMT(extack, "sources %pI4/%u: %pI4 is a VIP of %s",
						&addr, len, &vip->addr4, other->name);
				return -EADDRINUSE;
			}
	for (i = 0; i < ARRAY_SIZE(other->tunnels); i++)
		hlist_for_each_entry(tunnel, &other->tunnels[i], node)
			if (duet_in_spread(&tunnel->addr, addr, mask)) {
				DUET_EXTACK_FMT(extack, "sources %pI4/%u: %pI4 is a DIP of %s",
						&addr, len, &tunnel->addr.s6_addr32[3],
						other->name);
				return -EADDRINUSE;
			}
	return 0;
}

int duet_guard_spread(struct duet_dev *dd, __be32 addr, unsigned int len,
		      struct netlink_ext_ack *extack)
{
	__be32 mask = inet_make_mask(len);
	struct in6_addr first, last;
	struct duet_dev *other;
	int ret;

	list_for_each_entry(other, &duet_pernet(dd->net)->devices, node) {
		ret = duet_guard_spread_of(other, addr, len, extack);
		if (ret)
			return ret;
	}
	ipv6_addr_set_v4mapped(addr & mask, &first);
	ipv6_addr_set_v4mapped(addr | ~mask, &last);
	if (duet_addr_class_text(duet_addr_class(first.s6_addr)) ||
	    duet_addr_class_text(duet_addr_class(last.s6_addr))) {
		DUET_EXTACK_FMT(extack, "sources %pI4/%u: not all of them are addresses of hosts",
				&addr, len);
		return -EINVAL;
	}
	ret = duet_guard_not_broadcast(dd, "source", &first, extack);
	return ret ?: duet_guard_not_broadcast(dd, "source", &last, extack);
}

/* duet_guard_added - an address came to an interface: say so if it is a VIP */
static void duet_guard_added(const struct net_device *dev,
			     const struct in6_addr *addr)
{
	char text[DUET_ADDR_TEXT];
	struct duet_dev *dd;

	rcu_read_lock();
	list_for_each_entry_rcu(dd, &duet_pernet(dev_net(dev))->devices, node) {
		struct duet_vip *vip = ipv6_addr_v4mapped(addr) ?
				       duet_vip_lookup4(dd, addr->s6_addr32[3]) :
				       duet_vip_lookup6(dd, addr);

		if (vip)
			net_warn_ratelimited("%s: %s, now an address of %s, is a VIP: its packets on ports go to the DIPs\n",
					     dd->dev->name,
					     duet_addr_text(text, addr), dev->name);
	}
	rcu_read_unlock();
}

static int duet_inetaddr_event(struct notifier_block *nb, unsigned long event,
			       void *ptr)
{
	const struct in_ifaddr *ifa = ptr;
	struct in6_addr addr;

	if (event != NETDEV_UP || duet_ifa4_served(ifa->ifa_dev->dev, ifa))
		return NOTIFY_DONE;
	ipv6_addr_set_v4mapped(ifa->ifa_local, &addr);
	duet_guard_added(ifa->ifa_dev->dev, &addr);
	return NOTIFY_DONE;
}

#if IS_ENABLED(CONFIG_IPV6)
static int duet_inet6addr_event(struct notifier_block *nb, unsigned long event,
				void *ptr)
{
	const struct inet6_ifaddr *ifa = ptr;

	if (event == NETDEV_UP && !duet_ifa6_served(ifa->idev->dev, ifa))
		duet_guard_added(ifa->idev->dev, &ifa->addr);
	return NOTIFY_DONE;
}

static struct notifier_block duet_inet6addr_notifier = {
	.notifier_call = duet_inet6addr_event,
};
#endif

static struct notifier_block duet_inetaddr_notifier = {
	.notifier_call = duet_inetaddr_event,
};

int duet_guard_init(void)
{
	int ret = register_inetaddr_notifier(&duet_inetaddr_notifier);

	if (ret)
		return ret;
#if IS_ENABLED(CONFIG_IPV6)
	ret = register_inet6addr_notifier(&duet_inet6addr_notifier);
	if (ret)
		unregister_inetaddr_notifier(&duet_inetaddr_notifier);
#endif
	return ret;
}

void duet_guard_exit(void)
{
#if IS_ENABLED(CONFIG_IPV6)
	unregister_inet6addr_notifier(&duet_inet6addr_notifier);
#endif
	unregister_inetaddr_notifier(&duet_inetaddr_notifier);
}
