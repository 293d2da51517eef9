// SPDX-License-Identifier: GPL-2.0
/*
 * Connections that targets behind the host open, with a VIP as source: given to
 * conntrack with the translation chosen here; conntrack translates, times out and
 * answers for TIME_WAIT. An object of its own: these functions of conntrack are
 * there only while nf_conntrack and nf_nat are loaded, with their BTF.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "pick.h"

#define CT_TIMEOUT_MS	120000	/* of the first packet; conntrack's own rules follow */

struct bpf_ct_opts {
	__s32 netns_id, error;
	__u8 l4proto, dir, reserved[2];
};

/* structures, not only names of such, or libbpf finds the functions incompatible */
struct nf_conn {
	long unused;
};
struct nf_conn___init {
	long unused;
};
enum nf_nat_manip_type { NF_NAT_MANIP_SRC };

union nf_inet_addr {
	__u32 all[4];
};

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern struct nf_conn___init *bpf_skb_ct_alloc(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size,
					       struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern int bpf_ct_set_nat_info(struct nf_conn___init *ct, union nf_inet_addr *addr, int port,
			       enum nf_nat_manip_type manip) __ksym;
extern void bpf_ct_set_timeout(struct nf_conn___init *ct, __u32 timeout) __ksym;
extern struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *ct) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;

/* translated - a conntrack entry with this source; false: another has these numbers */
static __always_inline bool translated(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size, __u8 proto,
				       const struct decap_addr *vip, bool six, __u32 port)
{
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = proto };
	struct nf_conn___init *new;
	union nf_inet_addr addr = {};
	struct nf_conn *ct;

	if (six)
		__builtin_memcpy(&addr, vip, sizeof(*vip));
	else
		addr.all[0] = vip->w[3];
	new = bpf_skb_ct_alloc(skb, tuple, size, &opts, sizeof(opts));
	if (!new)
		return false;
	bpf_ct_set_timeout(new, CT_TIMEOUT_MS);
	bpf_ct_set_nat_info(new, &addr, port, NF_NAT_MANIP_SRC);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return false;
	bpf_ct_release(ct);
	return true;
}

/* forwarded - a flow that a target behind the host opens; @size: of the tuple */
static __always_inline int forwarded(struct __sk_buff *skb, const struct decap_addr *from, const struct decap_addr *to,
				     struct bpf_sock_tuple *tuple, __u32 size, __be16 to_port, __u8 proto, bool six)
{
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = proto };
	struct snat_source *source = bpf_map_lookup_elem(&clients, from);
	struct search s = {};
	struct nf_conn *ct;
	__u32 port, k;

	if (!source || excepted(to))
		return TC_ACT_UNSPEC;
	ct = bpf_skb_ct_lookup(skb, tuple, size, &opts, sizeof(opts));
	if (ct) {
		bpf_ct_release(ct);
		return TC_ACT_UNSPEC;
	}
	s.t.proto = proto;
	s.t.family = six ? 6 : 4;
	s.t.sport = bpf_ntohs(to_port);
	words(s.t.src, to, six);
	words(s.t.dst, &source->vip, six);
	s.client = *from;
	for (k = 0; k < SNAT_TRIES; k++) {
		port = pick(&s);
		if (!port)
			break;
		if (translated(skb, tuple, size, proto, &source->vip, six, port)) {
			count(SNAT_PICKED);
			return TC_ACT_UNSPEC;
		}
		count(SNAT_TAKEN);
	}
	count(SNAT_EXHAUSTED);
	return TC_ACT_SHOT;
}

SEC("tc")
int duet_snat(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = {};
	struct decap_addr from, to;
	struct ports { __be16 source, dest; } ports;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) ||
		    (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP) ||
		    (ip.frag_off & bpf_htons(DUET_IP_FRAGMENT)) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, &ports, sizeof(ports)))
			return TC_ACT_UNSPEC;
		from = (struct decap_addr){ { 0, 0, bpf_htonl(0xffff), ip.saddr } };
		to = (struct decap_addr){ { 0, 0, bpf_htonl(0xffff), ip.daddr } };
		tuple.ipv4.saddr = ip.saddr;
		tuple.ipv4.daddr = ip.daddr;
		tuple.ipv4.sport = ports.source;
		tuple.ipv4.dport = ports.dest;
		return forwarded(skb, &from, &to, &tuple, sizeof(tuple.ipv4), ports.dest, ip.protocol, false);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip6;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6)) ||
		    (ip6.nexthdr != IPPROTO_TCP && ip6.nexthdr != IPPROTO_UDP) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip6), &ports, sizeof(ports)))
			return TC_ACT_UNSPEC;
		__builtin_memcpy(&from, &ip6.saddr, sizeof(from));
		__builtin_memcpy(&to, &ip6.daddr, sizeof(to));
		__builtin_memcpy(tuple.ipv6.saddr, &ip6.saddr, sizeof(from));
		__builtin_memcpy(tuple.ipv6.daddr, &ip6.daddr, sizeof(to));
		tuple.ipv6.sport = ports.source;
		tuple.ipv6.dport = ports.dest;
		return forwarded(skb, &from, &to, &tuple, sizeof(tuple.ipv6), ports.dest, ip6.nexthdr, true);
	}
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
