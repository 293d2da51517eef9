/* SPDX-License-Identifier: GPL-2.0 */
/* The maps of decap.bpf.c. The agent knows them by name and takes them over from the program attached. */
#ifndef DUET_HOST_MAPS_H
#define DUET_HOST_MAPS_H

#include "decap.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_MUXES);
	__type(key, struct decap_addr);
	__type(value, __u8);
} muxes SEC(".maps");

/* Muxes whose tunnels have one of many sources. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, DECAP_MAX_MUXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_prefix);
	__type(value, __u32);
} mux_prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_SERVED);
	__type(key, struct decap_addr);
	__type(value, __u8);
} dips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_SERVED);
	__type(key, struct decap_key);
	__type(value, struct decap_served);
} served SEC(".maps");

/* The pair that what leaves with this source belongs to. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_SERVED);
	__type(key, struct decap_addr);
	__type(value, struct decap_served);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, DECAP_MAX_RACKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_prefix);
	__type(value, __u32);
} racks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, DECAP_MAX_METERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct decap_meter);
} meters SEC(".maps");

/* Second-level tables: [0] is the number of buckets, [1 + b] the target's number. Replaced whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, DECAP_MAX_SERVED);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP);
		__uint(max_entries, 1);
		__type(key, __u32);
		__type(value, __u32);
	});
} choices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_MAX_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct decap_settings);
} settings SEC(".maps");

/* By index of the pair; of those with DECAP_RULES. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_SERVED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct decap_rules);
} accepts SEC(".maps");

/* Prefixes of clients: the host's own configuration. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, DECAP_MAX_SOURCES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_prefix);
	__type(value, __u32);
} sources SEC(".maps");

/* The agent's memory over its restarts; no program reads these. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct decap_meta);
} meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_LOCALS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_local);
	__type(value, __u32);
} locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_HEALTH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct decap_health_key);
	__type(value, struct decap_health);
} health SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_RACKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, char[64]);
	__type(value, __u32);
} names SEC(".maps");

/* What settings of the host were before an agent changed them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_SETTINGS);
	__type(key, char[DECAP_NAME]);
	__type(value, char[DECAP_VALUE]);
} before SEC(".maps");

static __always_inline int counted(__u32 reason, int action)
{
	__u64 *n = bpf_map_lookup_elem(&reasons, &reason);

	if (n)
		(*n)++;
	return action;
}

static __always_inline void mapped(struct decap_addr *a, __be32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = v4;
}

#endif
