/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The second level: which of the targets behind this host a packet is for. The
 * hash is hash.h's under the key of level two, the table is table.h's, built by
 * the agent over those that are up.
 */
#ifndef DUET_HOST_CHOOSE_H
#define DUET_HOST_CHOOSE_H

#include <duet/packet.h>
#include "maps.h"

/* words - addresses as duet_tuple has them */
static __always_inline void words(__u32 *to, const struct decap_addr *a)
{
	to[0] = bpf_ntohl(a->w[0]);
	to[1] = bpf_ntohl(a->w[1]);
	to[2] = bpf_ntohl(a->w[2]);
	to[3] = bpf_ntohl(a->w[3]);
}

/* transport - ports, or the identifier of an echo, at @l4. An error about a flow
 * needs none: conntrack knows whose it is.
 */
static __always_inline void transport(struct __sk_buff *skb, __u32 l4, struct duet_tuple *t)
{
	__u8 p[8] = {};

	if (bpf_skb_load_bytes(skb, l4, p, sizeof(p)))
		return;
	if (duet_has_ports(t->proto)) {
		t->sport = duet_get16(p);
		t->dport = duet_get16(p + 2);
	} else if (t->proto == (t->family == 4 ? DUET_PROTO_ICMP : DUET_PROTO_ICMPV6)) {
		t->sport = duet_get16(p + 4);
	}
}

/* choose - number of the target; 0: none. Not static: the verifier looks at it once, not at every path to it */
__attribute__((noinline)) int choose(__u32 index, __u32 hash_key, const struct duet_tuple *t)
{
	__u32 zero = 0, key = index, *buckets, *target;
	struct decap_settings *s = bpf_map_lookup_elem(&settings, &zero);
	void *table = bpf_map_lookup_elem(&choices, &key);

	if (!t || !s || !table || hash_key >= DUET_KEYS)
		return 0;
	buckets = bpf_map_lookup_elem(table, &zero);
	if (!buckets)
		return 0;
	key = 1 + duet_bucket(duet_tuple_hash(t, DUET_FIELDS_5TUPLE, &s->level2[hash_key]), *buckets);
	target = bpf_map_lookup_elem(table, &key);
	return target ? *target : 0;
}

#endif
