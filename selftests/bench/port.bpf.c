// SPDX-License-Identifier: GPL-2.0
/*
 * XDP programs of the port under test. With one attached, veth hands the stack
 * a buffer of its own, as a network card does; without, the stack gets
 * pktgen's, which pktgen still holds, and every path would begin by copying it.
 *
 * pktgen makes UDP only, so the others make of its packet what a path wants.
 * What that costs is in the path's `receive` too.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ROUTER	0x0a090001	/* 10.9.0.1, who sends to TIPs and reports errors */
#define TIP	0xcb007109	/* 203.0.113.9 */

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
} __attribute__((packed));

static __always_inline __u16 sum(const void *p, int len)
{
	__u32 s = bpf_csum_diff(0, 0, (void *)p, len, 0);

	s = (s & 0xffff) + (s >> 16);
	return ~((s & 0xffff) + (s >> 16));
}

static __always_inline void outer(void *at, __u32 dst, __u8 proto, __u16 len)
{
	struct iphdr *ip = at;

	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = proto;
	ip->tot_len = bpf_htons(len);
	ip->saddr = bpf_htonl(ROUTER);
	ip->daddr = dst;
	ip->check = sum(ip, sizeof(*ip));
}

/* push - room between the Ethernet header and the IP header */
static __always_inline struct headers *push(struct xdp_md *ctx, int room)
{
	struct ethhdr eth, *p = (void *)(long)ctx->data;

	if ((void *)(p + 1) > (void *)(long)ctx->data_end)
		return 0;
	eth = *p;
	if (bpf_xdp_adjust_head(ctx, -room))
		return 0;
	p = (void *)(long)ctx->data;
	if ((void *)p + sizeof(struct headers) + room > (void *)(long)ctx->data_end)
		return 0;
	*p = eth;
	return (void *)p;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* tcp - the UDP packet is a segment with ACK */
SEC("xdp")
int tcp(struct xdp_md *ctx)
{
	struct headers *h = (void *)(long)ctx->data;
	struct tcphdr *t = (void *)(h + 1);

	if ((void *)(t + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	h->ip.protocol = IPPROTO_TCP;
	h->ip.check = 0;
	h->ip.check = sum((void *)h + ETH_HLEN, sizeof(h->ip));
	t->doff = 5;
	t->ack = 1;
	return XDP_PASS;
}

/* Bytes that a connection of train() has sent. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sent SEC(".maps");

struct segment {
	struct headers h;
	struct tcphdr tcp;
	__u32 zero;		/* of pktgen's own header; all behind it is zero */
} __attribute__((packed));

/* train - the UDP packet is the next segment of one connection, which GRO merges with those before it */
SEC("xdp")
int train(struct xdp_md *ctx)
{
	struct segment *s = (void *)(long)ctx->data;
	__u32 zero = 0, *seq = bpf_map_lookup_elem(&sent, &zero);
	__u32 len = ctx->data_end - ctx->data - ETH_HLEN - sizeof(struct iphdr);
	struct {
		__u32 src, dst;
		__u16 proto, len;
		struct tcphdr tcp;
	} __attribute__((packed)) summed;

	if ((void *)(s + 1) > (void *)(long)ctx->data_end || !seq)
		return XDP_DROP;
	s->h.ip.protocol = IPPROTO_TCP;
	s->h.ip.frag_off = bpf_htons(0x4000);	/* DF: GRO needs no count of IDs */
	s->h.ip.check = 0;
	s->h.ip.check = sum((void *)s + ETH_HLEN, sizeof(s->h.ip));
	__builtin_memset(&s->tcp, 0, sizeof(s->tcp));
	s->zero = 0;
	s->tcp.source = bpf_htons(1024);
	s->tcp.dest = bpf_htons(80);
	s->tcp.seq = bpf_htonl(*seq);
	s->tcp.ack_seq = bpf_htonl(1);
	s->tcp.doff = 5;
	s->tcp.ack = 1;
	s->tcp.window = bpf_htons(1024);
	*seq += len - sizeof(s->tcp);
	summed.src = s->h.ip.saddr;
	summed.dst = s->h.ip.daddr;
	summed.proto = bpf_htons(IPPROTO_TCP);
	summed.len = bpf_htons(len);
	summed.tcp = s->tcp;
	s->tcp.check = sum(&summed, sizeof(summed));
	return XDP_PASS;
}

/* tip - another mux sent it to a TIP */
SEC("xdp")
int tip(struct xdp_md *ctx)
{
	struct headers *h = push(ctx, sizeof(struct iphdr));

	if (!h)
		return XDP_DROP;
	outer((void *)h + ETH_HLEN, bpf_htonl(TIP), IPPROTO_IPIP,
	      (void *)(long)ctx->data_end - ((void *)h + ETH_HLEN));
	return XDP_PASS;
}

/* error - a router says that VIP can't reach the client of the flow */
SEC("xdp")
int error(struct xdp_md *ctx)
{
	struct report {
		struct headers h;
		struct {
			__u8 type, code;
			__u16 checksum;
			__u32 info;
		} icmp;
		struct iphdr ip;
		struct udphdr udp;
	} __attribute__((packed)) *r;
	__u32 addr;
	__u16 port;

	if (bpf_xdp_adjust_tail(ctx, (int)sizeof(struct headers) + (int)sizeof(struct udphdr) -
				     (int)(ctx->data_end - ctx->data)))
		return XDP_DROP;
	r = (void *)push(ctx, sizeof(struct iphdr) + sizeof(r->icmp));
	if (!r || (void *)(r + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	addr = r->ip.saddr;
	r->ip.saddr = r->ip.daddr;
	r->ip.daddr = addr;
	port = r->udp.source;
	r->udp.source = r->udp.dest;
	r->udp.dest = port;
	__builtin_memset(&r->icmp, 0, sizeof(r->icmp));
	r->icmp.type = 3;	/* destination unreachable: host */
	r->icmp.code = 1;
	r->icmp.checksum = sum(&r->icmp, sizeof(*r) - sizeof(r->h));
	outer((void *)r + ETH_HLEN, r->ip.saddr, IPPROTO_ICMP, sizeof(*r) - sizeof(struct ethhdr));
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
