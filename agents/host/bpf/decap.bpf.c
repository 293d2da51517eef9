// SPDX-License-Identifier: GPL-2.0
/*
 * The decapsulator: takes the outer header off IP-in-IP (all four pairs of
 * families) that a known mux sent to a DIP of this host for a VIP served behind
 * it, and counts. Not an open decapsulator: whatever fails one of the three
 * tests keeps its header. Everything that isn't IP-in-IP to a DIP of ours passes
 * after two compares and two lookups at most.
 *
 * One text, compiled twice: at tc ingress for every device, and as XDP for
 * drivers that have it, before there is an skb. Where both are attached, what XDP
 * leaves (targets to be marked, headers to be pulled) is for tc. At tc egress,
 * what leaves with a VIP as source is metered, its SYNs clamped. Kernel 6.1 on.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>
#include "maps.h"
#include "meter.h"
#include "choose.h"

#define PROTO_IPV4	DUET_PROTO_IPIP
#define PROTO_IPV6	DUET_PROTO_IPV6
#define OPTIONS_MAX	40		/* bytes of TCP options */

const volatile bool metering = true;	/* [host] meter */

/* A packet as found: what its headers say. */
struct tunnelled {
	struct decap_key key;
	struct decap_addr mux, client;
	__u32 outer, inner;	/* lengths of the two headers */
	__u32 bytes;		/* of the inner packet */
	__u16 fragment;		/* of the inner packet: MF and offset, as IPv4 has them */
	__u8 outer_tos, tos;
	__u8 proto;		/* behind the inner header */
	__u8 ttl;
	bool six;		/* inner family */
};

#include "accept.h"

/* What a hook calls its answers. */
#define PASS	(xdp ? (int)XDP_PASS : TC_ACT_UNSPEC)
#define DROP	(xdp ? (int)XDP_DROP : TC_ACT_SHOT)

static __always_inline void *packet(void *ctx, const bool xdp)
{
	return xdp ? (void *)(long)((struct xdp_md *)ctx)->data : (void *)(long)((struct __sk_buff *)ctx)->data;
}

static __always_inline void *packet_end(void *ctx, const bool xdp)
{
	return xdp ? (void *)(long)((struct xdp_md *)ctx)->data_end : (void *)(long)((struct __sk_buff *)ctx)->data_end;
}

/* pulled - are the first @len bytes readable? */
static __always_inline bool pulled(void *ctx, const bool xdp, __u32 len)
{
	if (packet(ctx, xdp) + len <= packet_end(ctx, xdp))
		return true;
	return !xdp && !bpf_skb_pull_data(ctx, len) && packet(ctx, xdp) + len <= packet_end(ctx, xdp);
}

static __always_inline void six_to(struct decap_addr *to, const struct in6_addr *from)
{
	__builtin_memcpy(to, from, sizeof(*to));
}

/* is_mux - most have one address; those with a prefix of sources cost another lookup */
static __always_inline bool is_mux(const struct decap_addr *source)
{
	struct decap_prefix key = { .len = 128, .addr = *source };

	return bpf_map_lookup_elem(&muxes, source) || bpf_map_lookup_elem(&mux_prefixes, &key);
}

/* unserved - a packet that no pair served here is found for */
static __always_inline int unserved(const struct tunnelled *p, __u32 reason, const bool xdp)
{
	if (!bpf_map_lookup_elem(&dips, &p->key.dip))
		return PASS;
	if (!is_mux(&p->mux))
		return counted(DECAP_FOREIGN, PASS);
	return counted(reason, reason == DECAP_FRAGMENT ? PASS : DROP);
}

/* inner_header - read it; false: there is none */
static __always_inline bool inner_header(void *ctx, const bool xdp, struct tunnelled *p, const __u32 at)
{
	void *data = packet(ctx, xdp), *end = packet_end(ctx, xdp);

	if (p->six) {
		struct ipv6hdr *ip6 = data + at;

		if ((void *)(ip6 + 1) > end || ip6->version != 6)
			return false;
		six_to(&p->key.vip, &ip6->daddr);
		six_to(&p->client, &ip6->saddr);
		p->tos = duet_tclass6((void *)ip6);
		p->proto = ip6->nexthdr;
		p->ttl = ip6->hop_limit;
		p->bytes = sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
		p->inner = sizeof(*ip6);
		p->fragment = 0;
	} else {
		struct iphdr *ip = data + at;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return false;
		mapped(&p->key.vip, ip->daddr);
		mapped(&p->client, ip->saddr);
		p->tos = ip->tos;
		p->proto = ip->protocol;
		p->ttl = ip->ttl;
		p->bytes = bpf_ntohs(ip->tot_len);
		p->inner = ip->ihl * 4;
		p->fragment = bpf_ntohs(ip->frag_off) & DUET_IP_FRAGMENT;
	}
	return true;
}

/* aim - mark the packet for its target behind this host */
static __always_inline bool aim(struct __sk_buff *skb, const struct decap_served *s, const struct tunnelled *p)
{
	__u32 target = s->target, l4 = ETH_HLEN + p->outer + p->inner;
	struct duet_tuple t = { .proto = p->proto, .family = p->six ? 6 : 4 };

	if (s->delivery == DELIVER_VIRTUAL) {
		if (p->six) {
			words(t.src, &p->client);
			words(t.dst, &p->key.vip);
		} else {
			t.src[0] = bpf_ntohl(p->client.w[3]);
			t.dst[0] = bpf_ntohl(p->key.vip.w[3]);
		}
		if (!p->fragment)
			transport(skb, l4, &t);
		target = choose(s->index, s->key, &t);
	}
	if (!target)
		return false;
	skb->mark = DECAP_MARK | target;
	return true;
}

/* strip_skb - take @p->outer bytes off. The segment size is that of the inner
 * packet and stays; a checksum the NIC found good is the inner one too.
 */
static __always_inline bool strip_skb(struct __sk_buff *skb, struct tunnelled *p, bool outer6, __u8 tos)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	__be16 proto = p->six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), from, to;
	__be32 old, new;

	/* the one way to another family that 6.1 has: it turns the first 20 bytes
	 * of the outer header into 40, or back, and the rest goes after them
	 */
	if (outer6 != p->six && bpf_skb_change_proto(skb, proto, 0))
		return false;
	if (bpf_skb_adjust_room(skb, p->six ? -(int)sizeof(struct ipv6hdr) : -(int)sizeof(struct iphdr),
				BPF_ADJ_ROOM_MAC, flags))
		return false;
	if (outer6 != p->six && bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto), 0))
		return false;
	if (tos == p->tos)
		return true;
	if (p->six) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, &old, sizeof(old)))
			return false;
		new = bpf_htonl((bpf_ntohl(old) & ~0x0ff00000u) | (__u32)tos << 20);
		return !bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
	}
	from = bpf_htons((__u16)(0x40 | p->inner / 4) << 8 | p->tos);
	to = bpf_htons((__u16)(0x40 | p->inner / 4) << 8 | tos);
	return !bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, 2) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN, &to, sizeof(to), 0);
}

static __always_inline bool strip_xdp(struct xdp_md *ctx, struct tunnelled *p, __u8 tos)
{
	struct ethhdr *eth = (void *)(long)ctx->data, held;
	void *end = (void *)(long)ctx->data_end;
	__u32 sum;

	if ((void *)(eth + 1) > end)
		return false;
	held = *eth;
	held.h_proto = p->six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (bpf_xdp_adjust_head(ctx, p->outer))
		return false;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(eth + 1) + sizeof(struct iphdr) > end)
		return false;
	*eth = held;
	if (tos == p->tos)
		return true;
	if (p->six) {
		__be32 *first = (void *)(eth + 1);

		*first = bpf_htonl((bpf_ntohl(*first) & ~0x0ff00000u) | (__u32)tos << 20);
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		/* RFC 1624, equation 3 */
		sum = (__u16)~bpf_ntohs(ip->check) + (__u16)~(__u16)p->tos + tos;
		ip->check = bpf_htons(duet_fold(sum));
		ip->tos = tos;
	}
	return true;
}

/* checked - does the VIP accept it, and from this client? 0, or the reason to drop it */
static __always_inline int checked(void *ctx, const bool xdp, const struct tunnelled *p, __u32 at, const struct decap_served *s)
{
	struct decap_prefix client = { .len = 128, .addr = p->client };

	if (s->flags & DECAP_SOURCES && !bpf_map_lookup_elem(&sources, &client))
		return DECAP_SOURCE;
	if (!(s->flags & DECAP_RULES))
		return 0;
	return xdp ? accepts_xdp(ctx, p, at, s->index) : accepts_skb(ctx, p, at, s->index);
}

/* decap - the packet is IP, @outer6 its family; @p says its outer header */
static __always_inline int decap(void *ctx, const bool xdp, const bool outer6, struct tunnelled *p)
{
	const __u32 at = ETH_HLEN + (outer6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct decap_served *served_here;
	struct decap_meter *meter;
	__u32 segments = 1;
	int tos, why;

	p->outer = at - ETH_HLEN;
	if (!pulled(ctx, xdp, at + (p->six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr))) ||
	    !inner_header(ctx, xdp, p, at))
		return unserved(p, DECAP_MALFORMED, xdp);
	served_here = bpf_map_lookup_elem(&served, &p->key);
	if (!served_here)
		return unserved(p, DECAP_NOT_SERVED, xdp);
	if (!is_mux(&p->mux))
		return counted(DECAP_UNKNOWN_SOURCE, DROP);
	if (xdp && served_here->delivery != DELIVER_LO)
		return PASS;
	if (!p->ttl)
		return counted(DECAP_TTL, DROP);
	if (served_here->flags) {
		why = checked(ctx, xdp, p, at, served_here);
		if (why)
			return counted(why, DROP);
	}
	tos = duet_ecn_decap(p->outer_tos, p->tos);
	if (tos < 0)
		return counted(DECAP_ECN, DROP);
	tos |= p->tos & ~3;

	if (!xdp && served_here->delivery != DELIVER_LO && !aim(ctx, served_here, p))
		return counted(DECAP_NO_TARGET, DROP);
	if (metering) {
		if (!xdp)
			segments = on_the_wire(ctx, at, p->inner, p->proto, &p->bytes);
		meter = row(served_here->index, &p->client);
		if (meter) {
			meter->in_packets += segments;
			meter->in_bytes += p->bytes;
		}
	}
	if (xdp ? !strip_xdp(ctx, p, tos) : !strip_skb(ctx, p, outer6, tos))
		return counted(DECAP_FAILED, DROP);
	return counted(DECAP_OK, PASS);
}

static __always_inline int ingress4(void *ctx, const bool xdp)
{
	struct tunnelled p;
	struct iphdr *ip;

	if (!pulled(ctx, xdp, ETH_HLEN + sizeof(*ip)))
		return PASS;
	ip = packet(ctx, xdp) + ETH_HLEN;
	if ((void *)(ip + 1) > packet_end(ctx, xdp) || (ip->protocol != PROTO_IPV4 && ip->protocol != PROTO_IPV6))
		return PASS;
	mapped(&p.key.dip, ip->daddr);
	mapped(&p.mux, ip->saddr);
	p.outer_tos = ip->tos;
	p.six = ip->protocol == PROTO_IPV6;
	if (ip->frag_off & bpf_htons(DUET_IP_FRAGMENT))
		return unserved(&p, DECAP_FRAGMENT, xdp);
	if (ip->ihl != 5)
		return unserved(&p, DECAP_MALFORMED, xdp);
	return decap(ctx, xdp, false, &p);
}

static __always_inline int ingress6(void *ctx, const bool xdp)
{
	struct tunnelled p;
	struct ipv6hdr *ip6;
	__u8 *next;

	if (!pulled(ctx, xdp, ETH_HLEN + sizeof(*ip6)))
		return PASS;
	ip6 = packet(ctx, xdp) + ETH_HLEN;
	if ((void *)(ip6 + 1) > packet_end(ctx, xdp) ||
	    (ip6->nexthdr != PROTO_IPV4 && ip6->nexthdr != PROTO_IPV6 && ip6->nexthdr != DUET_EXT_FRAGMENT))
		return PASS;
	six_to(&p.key.dip, &ip6->daddr);
	six_to(&p.mux, &ip6->saddr);
	p.outer_tos = duet_tclass6((void *)ip6);
	p.six = ip6->nexthdr == PROTO_IPV6;
	if (ip6->nexthdr == DUET_EXT_FRAGMENT) {
		if (!pulled(ctx, xdp, ETH_HLEN + sizeof(*ip6) + 8))
			return PASS;
		next = packet(ctx, xdp) + ETH_HLEN + sizeof(*ip6);
		if ((void *)(next + 1) > packet_end(ctx, xdp) || (*next != PROTO_IPV4 && *next != PROTO_IPV6))
			return PASS;
		return unserved(&p, DECAP_FRAGMENT, xdp);
	}
	return decap(ctx, xdp, true, &p);
}

SEC("tc")
int duet_decap(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ingress4(skb, false);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return ingress6(skb, false);
	return TC_ACT_UNSPEC;
}

SEC("xdp")
int duet_decap_xdp(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return ingress4(ctx, true);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return ingress6(ctx, true);
	return XDP_PASS;
}

/* The options of a SYN, walked over. */
struct options {
	__u8 byte[OPTIONS_MAX];
	__u32 len, at;
	bool found;		/* an MSS, at `at` */
};

/* next_option - of a loop that the verifier looks through once, not once a step and path */
static long next_option(__u32 i, struct options *o)
{
	__u32 at = o->at;

	if (at >= OPTIONS_MAX - 3 || at + 4 > o->len || o->byte[at] == 0)
		return 1;
	if (o->byte[at] == 1) {
		o->at = at + 1;
		return 0;
	}
	if (o->byte[at] == 2) {
		o->found = o->byte[at + 1] == 4;
		return 1;
	}
	o->at = at + o->byte[at + 1];
	return o->byte[at + 1] < 2;
}

/* clamp - the MSS that a SYN at @l4 offers, to @mss; a SYN without one offers 536 */
static __always_inline void clamp(struct __sk_buff *skb, __u32 l4, __u16 mss)
{
	struct options o = {};
	struct tcphdr tcp;
	__be16 old, new = bpf_htons(mss);
	__u32 at;

	if (bpf_skb_load_bytes(skb, l4, &tcp, sizeof(tcp)) || !tcp.syn || tcp.doff < 6)
		return;
	o.len = tcp.doff * 4 - sizeof(tcp);
	if (o.len > OPTIONS_MAX || bpf_skb_load_bytes(skb, l4 + sizeof(tcp), o.byte, o.len))
		return;
	bpf_loop(OPTIONS_MAX, next_option, &o, 0);
	at = o.at;
	if (!o.found || at >= OPTIONS_MAX - 3)
		return;
	old = bpf_htons(o.byte[at + 2] << 8 | o.byte[at + 3]);
	if (bpf_ntohs(old) <= mss)
		return;
	/* the sum is over words, and the option may begin on either half of one */
	if (at & 1) {
		old = bpf_htons((__u16)(bpf_ntohs(old) << 8 | bpf_ntohs(old) >> 8));
		bpf_l4_csum_replace(skb, l4 + offsetof(struct tcphdr, check), old,
				    bpf_htons((__u16)(mss << 8 | mss >> 8)), 2);
	} else {
		bpf_l4_csum_replace(skb, l4 + offsetof(struct tcphdr, check), old, new, 2);
	}
	bpf_skb_store_bytes(skb, l4 + sizeof(tcp) + at + 2, &new, sizeof(new), 0);
	counted(DECAP_CLAMPED, 0);
}

SEC("tc")
int duet_egress(struct __sk_buff *skb)
{
	struct decap_addr from, to;
	struct decap_served *served_here;
	struct decap_meter *meter;
	__u32 header, bytes, segments;
	bool six = skb->protocol == bpf_htons(ETH_P_IPV6), first = true;
	__u8 proto;

	if (six) {
		struct ipv6hdr ip6;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6)))
			return TC_ACT_UNSPEC;
		six_to(&from, &ip6.saddr);
		six_to(&to, &ip6.daddr);
		proto = ip6.nexthdr;
		bytes = sizeof(ip6) + bpf_ntohs(ip6.payload_len);
		header = sizeof(ip6);
	} else if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return TC_ACT_UNSPEC;
		mapped(&from, ip.saddr);
		mapped(&to, ip.daddr);
		proto = ip.protocol;
		bytes = bpf_ntohs(ip.tot_len);
		header = ip.ihl * 4;
		first = !(ip.frag_off & bpf_htons(DUET_IP_OFFSET));
	} else {
		return TC_ACT_UNSPEC;
	}
	served_here = bpf_map_lookup_elem(&vips, &from);
	if (!served_here)
		return TC_ACT_UNSPEC;
	if (metering) {
		segments = on_the_wire(skb, ETH_HLEN, header, proto, &bytes);
		meter = row(served_here->index, &to);
		if (meter) {
			meter->out_packets += segments;
			meter->out_bytes += bytes;
		}
	}
	if (proto == IPPROTO_TCP && first)
		clamp(skb, ETH_HLEN + header, six ? served_here->mss6 : served_here->mss4);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
