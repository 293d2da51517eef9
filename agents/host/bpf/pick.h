/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The choice of a port for an outgoing connection: what comes back to it hashes to
 * this DIP on every mux. For sockets (snat.bpf.c) and for what is forwarded
 * (forward.bpf.c), which share these maps.
 */
#ifndef DUET_HOST_PICK_H
#define DUET_HOST_PICK_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <duet/packet.h>
#include "snat.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SNAT_CLIENTS);
	__type(key, struct decap_addr);
	__type(value, struct snat_source);
} clients SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, SNAT_TABLES);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP);
		__uint(max_entries, 1);
		__type(key, __u32);
		__type(value, __u32);
	});
} snat_tables SEC(".maps");

/* Destinations that see the client's own address. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SNAT_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_prefix);
	__type(value, __u32);
} excepts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, __SNAT_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} snat_counts SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&snat_counts, &what);

	if (n)
		(*n)++;
}

/* A walk over the ports of all ranges of a client, in each from a random one on. */
struct search {
	struct duet_tuple t;		/* as the mux will see what comes back */
	struct decap_addr client;	/* key of `clients` */
	__u32 range;			/* the next one */
	__u32 table, fields, first, size, at, left;	/* of the one walked */
	__u32 port;			/* found; 0: none */
};

static __always_inline void next_range(struct search *s, const struct snat_source *source, const struct snat_range *r)
{
	s->table = r->table;
	s->fields = r->fields;
	s->first = r->first;
	s->size = r->last - r->first + 1;
	s->left = s->size;
	s->at = bpf_get_prandom_u32() % s->size;
}

static long next_port(__u32 i, struct search *s)
{
	__u32 zero = 0, key, *buckets, *ours;
	struct snat_source *source;
	void *table;

	/* looked up each time: the key would take 32 bytes of two frames of the stack */
	source = bpf_map_lookup_elem(&clients, &s->client);
	if (!source)
		return 1;
	if (!s->left) {
		key = s->range++;
		if (key >= SNAT_RANGES || key >= source->ranges)
			return 1;
		if (source->range[key].proto == s->t.proto)
			next_range(s, source, &source->range[key]);
		return 0;
	}
	s->left--;
	s->t.dport = s->first + s->at;
	s->at = s->at + 1 < s->size ? s->at + 1 : 0;
	table = bpf_map_lookup_elem(&snat_tables, &s->table);
	if (!table)
		return 1;
	buckets = bpf_map_lookup_elem(table, &zero);
	if (!buckets)
		return 1;
	key = 1 + duet_bucket(duet_tuple_hash(&s->t, s->fields, &source->key), *buckets);
	ours = bpf_map_lookup_elem(table, &key);
	if (!ours || !*ours)
		return 0;
	s->port = s->t.dport;
	return 1;
}

/* pick - the next port whose return packets come here; 0: there is none. Not
 * static: the verifier looks at it once and not at every place it is called from
 */
__attribute__((noinline)) int pick(struct search *s)
{
	struct search walk;

	if (!s)
		return 0;
	walk = *s;
	walk.port = 0;
	bpf_loop(SNAT_STEPS, next_port, &walk, 0);
	*s = walk;
	return walk.port;
}

static __always_inline bool excepted(const struct decap_addr *remote)
{
	struct decap_prefix key = { .len = 128, .addr = *remote };

	return bpf_map_lookup_elem(&excepts, &key);
}

static __always_inline void words(__u32 *to, const struct decap_addr *a, bool six)
{
	if (six) {
		to[0] = bpf_ntohl(a->w[0]);
		to[1] = bpf_ntohl(a->w[1]);
		to[2] = bpf_ntohl(a->w[2]);
		to[3] = bpf_ntohl(a->w[3]);
	} else {
		to[0] = bpf_ntohl(a->w[3]);
	}
}

#endif
