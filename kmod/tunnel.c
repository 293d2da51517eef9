// SPDX-License-Identifier: GPL-2.0
/*
 * The tunnelling table: DIP addresses and the routes to them.
 */
#include "tunnel.h"

#include <linux/jhash.h>
#include <net/route.h>

static struct hlist_head *duet_tunnel_head(struct duet_dev *dd, const u8 addr[16])
{
	u32 hash = jhash(addr, 16, 0);

	return &dd->tunnels[hash & ((1 << DUET_TUNNEL_HASH_BITS) - 1)];
}

static struct duet_tunnel *duet_tunnel_find(struct duet_dev *dd, const u8 addr[16])
{
	struct duet_tunnel *tunnel;

	hlist_for_each_entry(tunnel, duet_tunnel_head(dd, addr), node)
		if (!memcmp(&tunnel->addr, addr, 16))
			return tunnel;
	return NULL;
}

bool duet_tunnel_known(struct duet_dev *dd, const u8 addr[16])
{
	return duet_tunnel_find(dd, addr);
}

struct duet_tunnel *duet_tunnel_get(struct duet_dev *dd, const u8 addr[16])
{
	struct duet_tunnel *tunnel = duet_tunnel_find(dd, addr);

	if (tunnel) {
		tunnel->refs++;
		return tunnel;
	}
	tunnel = kzalloc(sizeof(*tunnel), GFP_KERNEL);
	if (!tunnel)
		return NULL;
	tunnel->route = alloc_percpu(struct dst_entry *);
	if (!tunnel->route) {
		kfree(tunnel);
		return NULL;
	}
	memcpy(&tunnel->addr, addr, 16);
	tunnel->refs = 1;
	hlist_add_head(&tunnel->node, duet_tunnel_head(dd, addr));
	dd->used.tunnels++;
	return tunnel;
}

static void duet_tunnel_free(struct rcu_head *rcu)
{
	struct duet_tunnel *tunnel = container_of(rcu, struct duet_tunnel, rcu);
	int cpu;

	for_each_possible_cpu(cpu)
		dst_release(*per_cpu_ptr(tunnel->route, cpu));
	free_percpu(tunnel->route);
	kfree(tunnel);
}

void duet_tunnel_put(struct duet_dev *dd, struct duet_tunnel *tunnel)
{
	if (--tunnel->refs)
		return;
	hlist_del(&tunnel->node);
	dd->used.tunnels--;
	call_rcu(&tunnel->rcu, duet_tunnel_free);
}

static noinline struct dst_entry *
duet_tunnel_lookup4(struct duet_dev *dd, struct duet_tunnel *tunnel,
		    struct dst_entry **slot, __be32 src)
{
	struct flowi4 fl = {
		.flowi4_proto = IPPROTO_IPIP,
		.daddr = tunnel->addr.s6_addr32[3],
		.saddr = src,
	};
	struct dst_entry *old = *slot;
	struct rtable *rt;

	rt = ip_route_output_key(dd->net, &fl);
	if (IS_ERR(rt))
		rt = NULL;
	if (rt && (rt->dst.dev->rtnl_link_ops == &duet_link_ops ||
		   rt->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST))) {
		ip_rt_put(rt);
		rt = NULL;
	}
	*slot = rt ? &rt->dst : NULL;
	dst_release(old);
	return rt ? &rt->dst : NULL;
}

struct dst_entry *duet_tunnel_route4(struct duet_dev *dd,
				     struct duet_tunnel *tunnel, __be32 src)
{
	struct dst_entry **slot = this_cpu_ptr(tunnel->route);
	struct dst_entry *dst = *slot;

	if (likely(dst && dst_check(dst, 0)))
		return dst;
	return duet_tunnel_lookup4(dd, tunnel, slot, src);
}
