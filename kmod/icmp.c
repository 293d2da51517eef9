// SPDX-License-Identifier: GPL-2.0
/*
 * ICMP of a mux.
 *
 * The kernel's icmp_send() wants a route on the packet, which one taken at
 * ingress doesn't have, and picks its own source; so errors are built here.
 * What the DIP could have said comes from the VIP; that the packet died on its
 * way comes from the mux, so that traceroute shows it as the hop it is.
 */
#include "icmp.h"
#include "compat.h"
#include "port.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter_ipv4.h>
#include <linux/siphash.h>
#include <net/addrconf.h>
#include <net/icmp.h>
#include <net/ip6_checksum.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/l3mdev.h>
#include <net/route.h>

/* How much one destination is answered. "Too big" is no part of the kernel's
 * limits for all of the machine, like in the kernel itself: without it
 * connections stand still, so a flood of packets that don't fit may neither
 * silence it nor use up what is for other errors. What bounds it is this: so many
 * at once, and so many a second, to one address.
 */
#define DUET_BIG_BURST		1000
#define DUET_BIG_INTERVAL	1	/* ms */
/* All others: as the kernel does it, by its sysctl. */
#define DUET_ERROR_BURST	6

#define DUET_ERROR_INTERVAL	(60 * MSEC_PER_SEC)	/* at most */

#define DUET_ICMP_BUCKETS	256	/* a power of 2 */

/* A token bucket, its tokens in milliseconds. One destination may displace
 * another, which then begins with a full bucket: nobody is starved by others.
 */
struct duet_icmp_bucket {
	u64 key;
	u32 tokens;
	u32 stamp;		/* jiffies */
};

struct duet_icmp_buckets {
	struct duet_icmp_bucket b[DUET_ICMP_BUCKETS];
};

static struct duet_icmp_buckets __percpu *duet_icmp_buckets;
static siphash_key_t duet_icmp_key;

/* duet_icmp_bucket - of a destination, for "too big" or for the rest; BH off */
static struct duet_icmp_bucket *duet_icmp_bucket(const struct duet_dev *dd,
						 const struct duet_tuple *t,
						 bool big, u32 room)
{
	u64 words[3] = { (u64)t->src[0] << 32, 0,
			 (unsigned long)dd->net ^ (u64)t->family << 56 ^ big };
	struct duet_icmp_bucket *bucket;
	u64 key;

	if (t->family == 6) {
		words[0] |= t->src[1];
		words[1] = (u64)t->src[2] << 32 | t->src[3];
	}
	key = siphash_3u64(words[0], words[1], words[2], &duet_icmp_key);
	bucket = &this_cpu_ptr(duet_icmp_buckets)->b[key % DUET_ICMP_BUCKETS];
	if (bucket->key != key) {
		bucket->key = key;
		bucket->tokens = room;
		bucket->stamp = jiffies;
	}
	return bucket;
}

/* duet_icmp_interval - ms between two errors to one destination, 0: any */
static u32 duet_icmp_interval(const struct net *net, u8 family)
{
	int limit = 0;

	if (family == 4)
		limit = READ_ONCE(net->ipv4.sysctl_icmp_ratelimit);
#if IS_ENABLED(CONFIG_IPV6)
	else
		limit = READ_ONCE(net->ipv6.sysctl.icmpv6_time);
#endif
	return min_t(u32, jiffies_to_msecs(max(limit, 0)), DUET_ERROR_INTERVAL);
}

/* duet_icmp_allow - may the source of the packet be sent an error? BH off. */
static bool duet_icmp_allow(struct duet_dev *dd, const struct duet_tuple *t,
			    bool big)
{
	u32 interval = big ? DUET_BIG_INTERVAL : duet_icmp_interval(dd->net, t->family);
	u32 room = interval * (big ? DUET_BIG_BURST : DUET_ERROR_BURST);
	u32 now = jiffies, passed;

	if (interval) {
		struct duet_icmp_bucket *bucket = duet_icmp_bucket(dd, t, big, room);

		passed = jiffies_to_msecs(min_t(u32, now - bucket->stamp, 600 * HZ));
		bucket->tokens = min(bucket->tokens + passed, room);
		bucket->stamp = now;
		if (bucket->tokens < interval)
			return false;
		bucket->tokens -= interval;
	}
	if (big)
		return true;
	if (!duet_icmp_global_allow(dd->net))
		return false;
	duet_icmp_global_consume(dd->net);
	return true;
}

/* duet_icmp_route - to the client, who is in this VRF (0: in none); with a reference,
 * NULL: none. src, 16 bytes: the address that the kernel would send from, network
 * order.
 */
static struct dst_entry *duet_icmp_route(struct duet_dev *dd, int vrf,
					 const struct duet_tuple *t, u8 *src)
{
	struct flowi4 fl4 = {
		.flowi4_proto = IPPROTO_ICMP,
		.flowi4_oif = vrf,
		.daddr = cpu_to_be32(t->src[0]),
	};
	struct flowi6 fl6 = { .flowi6_proto = IPPROTO_ICMPV6, .flowi6_oif = vrf };
	struct dst_entry *dst;
	struct rtable *rt;

	if (t->family == 4) {
		rt = ip_route_output_key(dd->net, &fl4);
		if (IS_ERR(rt))
			return NULL;
		memcpy(src, &fl4.saddr, sizeof(fl4.saddr));
		return &rt->dst;
	}
	/* without IPv6 a TIP can still have IPv6 inside */
	if (!ipv6_mod_enabled())
		return NULL;
	duet_tuple_addr(t->src, t->family, &fl6.daddr);
	dst = ip6_route_output(dd->net, NULL, &fl6);
	if (!dst->error && !ipv6_dev_get_saddr(dd->net, dst->dev, &fl6.daddr, 0,
					       (struct in6_addr *)src))
		return dst;
	dst_release(dst);
	return NULL;
}

/* duet_icmp_send - about the packet that is at offset at of skb, 0: it came from the
 * client as it is; hop: from the mux, not from the VIP
 */
static void duet_icmp_send(struct duet_dev *dd, const struct sk_buff *skb,
			   unsigned int at, const struct duet_tuple *t,
			   u8 type, u8 code, u32 info, bool hop)
{
	bool big = t->family == 4 ? type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED :
				    type == ICMPV6_PKT_TOOBIG;
	unsigned int headers = DUET_ICMP_HEADER +
			       (t->family == 4 ? DUET_IP4_HEADER : DUET_IP6_HEADER);
	u32 quote = duet_icmp_quote(t->family, skb->len - at);
	u8 src[16] __aligned(4);
	struct dst_entry *dst;
	struct sk_buff *msg;

	if (!duet_may_answer(t, skb->data + at) || !duet_icmp_allow(dd, t, big))
		return;
	dst = duet_icmp_route(dd, at ? duet_client_vrf(dd) :
				       l3mdev_master_ifindex_rcu(skb->dev), t, src);
	if (!dst)
		return;
	msg = alloc_skb(LL_RESERVED_SPACE(dst->dev) + headers + quote, GFP_ATOMIC);
	if (!msg)
		goto err_route;
	skb_reserve(msg, LL_RESERVED_SPACE(dst->dev));
	skb_reset_network_header(msg);
	skb_put(msg, headers + quote);
	if (skb_copy_bits(skb, at, msg->data + headers, quote))
		goto err_free;
	duet_put_icmp(msg->data, t->family, hop ? src : NULL, quote, type, code,
		      info, get_random_u32());
	skb_set_transport_header(msg, headers - DUET_ICMP_HEADER);
	skb_dst_set(msg, dst);
	if (t->family == 4) {
		msg->protocol = htons(ETH_P_IP);
		ip_local_out(dd->net, NULL, msg);
	} else if (IS_ENABLED(CONFIG_IPV6)) {
		msg->protocol = htons(ETH_P_IPV6);
		ip6_local_out(dd->net, NULL, msg);
	}
	return;

err_free:
	kfree_skb(msg);
err_route:
	dst_release(dst);
}

static void duet_icmp_big_at(struct duet_dev *dd, const struct sk_buff *skb,
			     unsigned int at, const struct duet_tuple *t, u32 mtu)
{
	if (t->family == 4)
		duet_icmp_send(dd, skb, at, t, ICMP_DEST_UNREACH,
			       ICMP_FRAG_NEEDED, min_t(u32, mtu, U16_MAX), false);
	else
		duet_icmp_send(dd, skb, at, t, ICMPV6_PKT_TOOBIG, 0,
			       max_t(u32, mtu, IPV6_MIN_MTU), false);
}

static void duet_icmp_unreachable_at(struct duet_dev *dd,
				     const struct sk_buff *skb, unsigned int at,
				     const struct duet_tuple *t)
{
	if (t->family == 4)
		duet_icmp_send(dd, skb, at, t, ICMP_DEST_UNREACH,
			       ICMP_HOST_UNREACH, 0, false);
	else
		duet_icmp_send(dd, skb, at, t, ICMPV6_DEST_UNREACH,
			       ICMPV6_ADDR_UNREACH, 0, false);
}

void duet_icmp_too_big(struct duet_dev *dd, const struct sk_buff *skb,
		       const struct duet_tuple *t, unsigned int mtu)
{
	duet_icmp_big_at(dd, skb, 0, t, mtu);
}

void duet_icmp_unreachable(struct duet_dev *dd, const struct sk_buff *skb,
			   const struct duet_tuple *t)
{
	duet_icmp_unreachable_at(dd, skb, 0, t);
}

void duet_icmp_expired(struct duet_dev *dd, const struct sk_buff *skb,
		       const struct duet_tuple *t)
{
	if (t->family == 4)
		duet_icmp_send(dd, skb, 0, t, ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, 0, true);
	else
		duet_icmp_send(dd, skb, 0, t, ICMPV6_TIME_EXCEED,
			       ICMPV6_EXC_HOPLIMIT, 0, true);
}

/* duet_icmp_learn4 - ipv4_update_pmtu() takes no mark, and finds no route for a source
 * that is no address of this machine. So the tunnel's own route is told, and given
 * what it was looked up by.
 */
static void duet_icmp_learn4(struct duet_dev *dd, struct duet_tunnel *tunnel,
			     struct sk_buff *skb, u32 mtu)
{
	struct duet_route *route = duet_tunnel_route(dd, tunnel);
	struct net_device *dev = skb->dev;
	u32 mark = skb->mark;

	if (!route)
		return;
	skb->mark = READ_ONCE(dd->mark);
	skb->dev = route->dst->dev;
	skb_reset_network_header(skb);
	route->dst->ops->update_pmtu(route->dst, NULL, skb, mtu, false);
	skb->dev = dev;
	skb->mark = mark;
}

/* duet_icmp_learn - the path's MTU, so that the next packet is answered here */
static void duet_icmp_learn(struct duet_dev *dd, struct duet_tunnel *tunnel,
			    struct sk_buff *skb,
			    const struct duet_outer_error *error, bool v6)
{
	unsigned int header = skb_network_offset(skb);

	skb_pull(skb, error->quoted);
	if (v6 && IS_ENABLED(CONFIG_IPV6))
		ip6_update_pmtu(skb, dd->net, cpu_to_be32(error->mtu), READ_ONCE(dd->link),
				READ_ONCE(dd->mark), INVALID_UID);
	else if (!v6)
		duet_icmp_learn4(dd, tunnel, skb, error->mtu);
	skb_push(skb, error->quoted);
	skb_set_network_header(skb, header);
}

/* duet_icmp_good - the mux is who the error is for, so it looks at the checksum */
static bool duet_icmp_good(const struct sk_buff *skb, unsigned int at, bool v6)
{
	unsigned int len = skb->len - at;
	__wsum sum = skb_checksum(skb, at, len, 0);
	const struct ipv6hdr *ip6;

	if (!v6)
		return !csum_fold(sum);
	ip6 = (const struct ipv6hdr *)skb->data;
	return !csum_ipv6_magic(&ip6->saddr, &ip6->daddr, len, IPPROTO_ICMPV6, sum);
}

bool duet_icmp_outer(struct duet_dev *dd, struct sk_buff *skb, bool v6)
{
	struct duet_outer_error error;
	struct duet_tuple t;
	struct duet_view view;
	struct duet_tunnel *tunnel;
	struct in6_addr addr;
	bool known;

	for (;;) {
		view.data = skb->data;
		view.linear = skb_headlen(skb);
		view.len = skb->len;
		view.gso = false;
		if (duet_parse_outer_error(&view, v6, &error, &t))
			break;
		if (!view.want || skb_shared(skb) || !pskb_may_pull(skb, view.want))
			return false;
	}
	duet_tuple_addr(error.dip, v6 ? 6 : 4, &addr);
	tunnel = duet_tunnel_peek(dd, &addr);
	if (!tunnel)
		return false;
	duet_tuple_addr(t.dst, t.family, &addr);
	known = t.family == 4 ? duet_vip_lookup4(dd, addr.s6_addr32[3]) :
				duet_vip_lookup6(dd, &addr);
	if (!known || skb_shared(skb) ||
	    (skb->len > view.len && pskb_trim_rcsum(skb, view.len)) ||
	    !duet_icmp_good(skb, view.l4, v6))
		return false;

	duet_count(dd, DUET_VERDICT_OUTER_ERROR, skb->len);
	if (error.mtu) {
		u32 outer = v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER;

		duet_icmp_learn(dd, tunnel, skb, &error, v6);
		duet_tunnel_stale(tunnel);
		duet_icmp_big_at(dd, skb, error.inner, &t, error.mtu - outer);
	} else {
		duet_icmp_unreachable_at(dd, skb, error.inner, &t);
	}
	consume_skb(skb);
	return true;
}

/* duet_icmp_local - errors about tunnels come by whatever way the network has to
 * us, which need not be a port; and the kernel's own, that a DIP's neighbour
 * doesn't answer, by none.
 */
static unsigned int duet_icmp_local(void *priv, struct sk_buff *skb,
				    const struct nf_hook_state *state)
{
	bool v6 = state->pf == NFPROTO_IPV6;
	struct duet_dev *dd;

	if (likely(v6 ? ipv6_hdr(skb)->nexthdr != IPPROTO_ICMPV6 :
			ip_hdr(skb)->protocol != IPPROTO_ICMP))
		return NF_ACCEPT;
	list_for_each_entry_rcu(dd, &duet_pernet(state->net)->devices, node)
		if (READ_ONCE(dd->running) && duet_icmp_is_outer(dd, skb, v6) &&
		    duet_icmp_outer(dd, skb, v6))
			return NF_STOLEN;
	return NF_ACCEPT;
}

/* Before a filter, like ports: one that drops all ICMP would cut off clients
 * whose path is narrow.
 */
static const struct nf_hook_ops duet_icmp_hooks[] = {
	{
		.hook	  = duet_icmp_local,
		.pf	  = NFPROTO_IPV4,
		.hooknum  = NF_INET_LOCAL_IN,
		.priority = NF_IP_PRI_FILTER - 1,
	}, {
		.hook	  = duet_icmp_local,
		.pf	  = NFPROTO_IPV6,
		.hooknum  = NF_INET_LOCAL_IN,
		.priority = NF_IP_PRI_FILTER - 1,
	},
};

int duet_icmp_attach(struct net *net)
{
	return nf_register_net_hooks(net, duet_icmp_hooks, ARRAY_SIZE(duet_icmp_hooks));
}

void duet_icmp_detach(struct net *net)
{
	nf_unregister_net_hooks(net, duet_icmp_hooks, ARRAY_SIZE(duet_icmp_hooks));
}

int __init duet_icmp_init(void)
{
	get_random_bytes(&duet_icmp_key, sizeof(duet_icmp_key));
	duet_icmp_buckets = alloc_percpu(struct duet_icmp_buckets);
	return duet_icmp_buckets ? 0 : -ENOMEM;
}

void duet_icmp_exit(void)
{
	free_percpu(duet_icmp_buckets);
}
