// SPDX-License-Identifier: GPL-2.0
/*
 * The tunnelling table: DIP addresses and the routes to them.
 */
#include "tunnel.h"
#include "compat.h"
#include "neigh.h"
#include "percpu.h"

#include <linux/jhash.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>

struct kmem_cache *duet_tunnel_cache;

static struct hlist_head *duet_tunnel_head(struct duet_dev *dd, const u8 addr[16])
{
	u32 hash = jhash(addr, 16, 0);

	return &dd->tunnels[hash & ((1 << DUET_TUNNEL_HASH_BITS) - 1)];
}

struct duet_tunnel *duet_tunnel_find(struct duet_dev *dd, const u8 addr[16])
{
	struct duet_tunnel *tunnel;

	duet_assert_locked(dd);
	hlist_for_each_entry(tunnel, duet_tunnel_head(dd, addr), node)
		if (!memcmp(&tunnel->addr, addr, 16))
			return tunnel;
	return NULL;
}

struct duet_tunnel *duet_tunnel_peek(struct duet_dev *dd,
				     const struct in6_addr *addr)
{
	struct duet_tunnel *tunnel;

	hlist_for_each_entry_rcu(tunnel, duet_tunnel_head(dd, addr->s6_addr), node)
		if (ipv6_addr_equal(&tunnel->addr, addr))
			return tunnel;
	return NULL;
}

void duet_tunnel_stale(struct duet_tunnel *tunnel)
{
	int cpu;

	for_each_possible_cpu(cpu)
		WRITE_ONCE(per_cpu_ptr(tunnel->route, cpu)->mtu, DUET_MTU_NONE);
}

void duet_tunnels_stale(struct duet_dev *dd)
{
	struct duet_tunnel *tunnel;
	unsigned int i;

	duet_assert_locked(dd);
	/* a lookup that began before the change would write its route after this */
	synchronize_net();
	for (i = 0; i < ARRAY_SIZE(dd->tunnels); i++)
		hlist_for_each_entry(tunnel, &dd->tunnels[i], node)
			duet_tunnel_stale(tunnel);
}

struct duet_tunnel *duet_tunnel_get(struct duet_dev *dd, const u8 addr[16])
{
	struct duet_tunnel *tunnel = duet_tunnel_find(dd, addr);
	int cpu;

	if (tunnel) {
		tunnel->refs++;
		return tunnel;
	}
	tunnel = kmem_cache_zalloc(duet_tunnel_cache, GFP_KERNEL_ACCOUNT);
	if (!tunnel)
		return NULL;
	tunnel->route = duet_percpu_get(&duet_percpu_routes, &tunnel->route_slot);
	if (!tunnel->route) {
		kmem_cache_free(duet_tunnel_cache, tunnel);
		return NULL;
	}
	for_each_possible_cpu(cpu) {
		/* IDs of different CPUs start far from each other */
		per_cpu_ptr(tunnel->route, cpu)->id = get_random_u32();
		per_cpu_ptr(tunnel->route, cpu)->neigh_seq = DUET_NEIGH_NONE;
	}
	memcpy(&tunnel->addr, addr, 16);
	tunnel->v6 = !ipv6_addr_v4mapped(&tunnel->addr);
	tunnel->id = ++dd->last_tunnel;
	tunnel->refs = 1;
	hlist_add_head_rcu(&tunnel->node, duet_tunnel_head(dd, addr));
	dd->used.tunnels++;
	return tunnel;
}

static void duet_tunnel_free(struct rcu_head *rcu)
{
	struct duet_tunnel *tunnel = container_of(rcu, struct duet_tunnel, rcu);
	int cpu;

	for_each_possible_cpu(cpu)
		dst_release(per_cpu_ptr(tunnel->route, cpu)->dst);
	duet_percpu_put(&duet_percpu_routes, tunnel->route_slot);
	kmem_cache_free(duet_tunnel_cache, tunnel);
}

void duet_tunnel_put(struct duet_dev *dd, struct duet_tunnel *tunnel)
{
	duet_assert_locked(dd);
	if (--tunnel->refs)
		return;
	hlist_del_rcu(&tunnel->node);
	dd->used.tunnels--;
	call_rcu(&tunnel->rcu, duet_tunnel_free);
}

static struct dst_entry *duet_tunnel_lookup4(struct duet_dev *dd,
					     struct duet_tunnel *tunnel,
					     struct duet_route *route)
{
	struct flowi4 fl = {
		.flowi4_proto = IPPROTO_IPIP,
		.flowi4_oif = READ_ONCE(dd->link),
		.flowi4_mark = READ_ONCE(dd->mark),
		.daddr = tunnel->addr.s6_addr32[3],
		.saddr = READ_ONCE(dd->local4),
	};
	struct rtable *rt;

	duet_flow4_set_tos(&fl, READ_ONCE(dd->tos_set));
	rt = ip_route_output_key(dd->net, &fl);
	if (IS_ERR(rt))
		return NULL;
	if (rt->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)) {
		ip_rt_put(rt);
		return NULL;
	}
	WRITE_ONCE(route->mtu, rt->rt_pmtu ? DUET_MTU_ASK :
		   clamp_t(u32, dst_mtu(&rt->dst), DUET_MTU_MIN, U16_MAX));
	return &rt->dst;
}

static struct dst_entry *duet_tunnel_lookup6(struct duet_dev *dd,
					     struct duet_tunnel *tunnel,
					     struct duet_route *route)
{
	struct flowi6 fl = {
		.flowi6_proto = IPPROTO_IPV6,
		.flowi6_oif = READ_ONCE(dd->link),
		.flowi6_mark = READ_ONCE(dd->mark),
		.flowlabel = ip6_make_flowinfo(READ_ONCE(dd->tos_set), 0),
		.daddr = tunnel->addr,
		.saddr = dd->local6,
	};
	struct dst_entry *dst;

	/* netlink refuses such a tunnel where there is no IPv6 */
	if (!ipv6_mod_enabled())
		return NULL;
	dst = ip6_route_output(dd->net, NULL, &fl);
	if (dst->error) {
		dst_release(dst);
		return NULL;
	}
	route->cookie = rt6_get_cookie((struct rt6_info *)dst);
	route->until = (u32)jiffies + HZ;
	WRITE_ONCE(route->mtu, DUET_MTU_ASK);
	return dst;
}

noinline struct dst_entry *duet_tunnel_lookup(struct duet_dev *dd,
					      struct duet_tunnel *tunnel,
					      struct duet_route *route)
{
	struct dst_entry *old = route->dst, *dst;

	if (route->neigh_seq != DUET_NEIGH_LOST)
		route->neigh_seq = DUET_NEIGH_NONE;
	dst = tunnel->v6 ? duet_tunnel_lookup6(dd, tunnel, route) :
			   duet_tunnel_lookup4(dd, tunnel, route);
	if (dst && dst->dev->rtnl_link_ops == &duet_link_ops) {
		dst_release(dst);
		dst = NULL;
	}
	if (!dst)
		WRITE_ONCE(route->mtu, DUET_MTU_NONE);
	route->dst = dst;
	dst_release(old);
	return dst;
}
