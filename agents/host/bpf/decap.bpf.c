// SPDX-License-Identifier: GPL-2.0
/*
 * The decapsulator: takes the outer header off IPv4-in-IPv4 that a known mux
 * sent to a DIP of this host for a VIP served behind it, and counts. Not an
 * open decapsulator: whatever fails one of the three tests keeps its header.
 * Everything that isn't IPv4-in-IPv4 to a DIP of ours passes after two compares
 * and a lookup at most. Runs at tc ingress, kernel 6.1 and later.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>
#include "decap.h"

#define FRAGMENT	0x3fff	/* MF and offset */
#define ECN_MASK	0x3
#define ECN_ECT1	0x1
#define ECN_CE		0x3

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_MUXES);
	__type(key, __be32);
	__type(value, __u8);
} muxes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_SERVED);
	__type(key, __be32);
	__type(value, __u8);
} dips SEC(".maps");

/* Being in here is being served: one lookup says yes and finds the counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, DECAP_MAX_SERVED);
	__type(key, struct decap_key);
	__type(value, struct decap_stat);
} served SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, __DECAP_MAX);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct decap_meta);
} meta SEC(".maps");

static __always_inline int counted(__u32 reason, int action)
{
	__u64 *n = bpf_map_lookup_elem(&reasons, &reason);

	if (n)
		(*n)++;
	return action;
}

/* meter - a packet that GRO or a virtual NIC made of several counts as those */
static __always_inline void meter(struct __sk_buff *skb, struct decap_stat *stat,
				  const struct iphdr *inner)
{
	__u32 segments = skb->gso_segs, bytes = skb->len - ETH_HLEN - sizeof(struct iphdr);
	__u32 header = inner->ihl * 4;
	__u8 offset;

	if (segments < 2) {
		segments = 1;
	} else if (inner->protocol == IPPROTO_TCP) {
		/* byte 12 of a TCP header: its length in words, in the upper half */
		if (!bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(*inner) + header + 12, &offset, 1))
			header += (offset >> 4) * 4;
		bytes += (segments - 1) * header;
	} else {
		bytes += (segments - 1) * (header + 8);
	}
	stat->packets += segments;
	stat->bytes += bytes;
}

SEC("tc")
int duet_decap(struct __sk_buff *skb)
{
	const __u32 inner_off = ETH_HLEN + sizeof(struct iphdr);
	const __u32 need = inner_off + sizeof(struct iphdr);
	struct iphdr *outer, *inner;
	struct decap_stat *stat;
	struct decap_key key;
	void *data, *end;
	__be16 from, to;
	__u8 ecn, tos;
	__be32 source;
	__u8 *mux;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_UNSPEC;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + need > end) {
		if (bpf_skb_pull_data(skb, need))
			return TC_ACT_UNSPEC;	/* shorter than two headers */
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		if (data + need > end)
			return TC_ACT_UNSPEC;
	}
	outer = data + ETH_HLEN;
	if (outer->protocol != IPPROTO_IPIP)
		return TC_ACT_UNSPEC;
	key.dip = outer->daddr;
	if (!bpf_map_lookup_elem(&dips, &key.dip))
		return TC_ACT_UNSPEC;

	inner = data + inner_off;
	source = outer->saddr;
	mux = bpf_map_lookup_elem(&muxes, &source);
	key.vip = inner->daddr;
	stat = bpf_map_lookup_elem(&served, &key);
	if (!mux)
		return stat ? counted(DECAP_UNKNOWN_SOURCE, TC_ACT_SHOT) :
			      counted(DECAP_FOREIGN, TC_ACT_UNSPEC);
	if (outer->frag_off & bpf_htons(FRAGMENT))
		return counted(DECAP_FRAGMENT, TC_ACT_SHOT);
	if (outer->ihl != 5 || inner->version != 4 || inner->ihl < 5)
		return counted(DECAP_MALFORMED, TC_ACT_SHOT);
	if (!stat)
		return counted(DECAP_NOT_SERVED, TC_ACT_SHOT);

	tos = inner->tos;
	ecn = outer->tos & ECN_MASK;
	if (ecn == ECN_CE) {
		if (!(tos & ECN_MASK))
			return counted(DECAP_ECN, TC_ACT_SHOT);
		tos |= ECN_CE;
	} else if (ecn == ECN_ECT1 && (tos & ECN_MASK) == 2) {
		tos ^= ECN_MASK;	/* ECT(0) becomes ECT(1) */
	}
	from = bpf_htons((__u16)(0x40 | inner->ihl) << 8 | inner->tos);
	to = bpf_htons((__u16)(0x40 | inner->ihl) << 8 | tos);
	meter(skb, stat, inner);

	/* The segment size is that of the inner packet and stays; a checksum the
	 * NIC found good is the inner one too, the outer packet has none.
	 */
	if (bpf_skb_adjust_room(skb, -(int)sizeof(struct iphdr), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return counted(DECAP_FAILED, TC_ACT_SHOT);
	if (from != to &&
	    (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, 2) ||
	     bpf_skb_store_bytes(skb, ETH_HLEN, &to, sizeof(to), 0)))
		return counted(DECAP_FAILED, TC_ACT_SHOT);
	return counted(DECAP_OK, TC_ACT_UNSPEC);
}

char _license[] SEC("license") = "GPL";
