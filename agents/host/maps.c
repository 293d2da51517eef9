// SPDX-License-Identifier: GPL-2.0
/*
 * What the decapsulator's maps hold: muxes, served pairs, racks, meters, tables
 * of the second level, and the agent's own memory. Setters make a map hold what
 * is asked for and touch nothing that is so already.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane.h"
#include "log.h"

static const char *const reason_names[__DECAP_MAX] = {
	[DECAP_OK] = "decapsulated", [DECAP_FOREIGN] = "foreign",
	[DECAP_UNKNOWN_SOURCE] = "unknown-source", [DECAP_NOT_SERVED] = "not-served",
	[DECAP_FRAGMENT] = "fragment", [DECAP_MALFORMED] = "malformed",
	[DECAP_ECN] = "ecn", [DECAP_FAILED] = "failed",
	[DECAP_NO_TARGET] = "no-target", [DECAP_CLAMPED] = "mss-clamped",
	[DECAP_NO_RULE] = "no-rule", [DECAP_INNER_FRAGMENT] = "inner-fragment",
	[DECAP_SOURCE] = "client-prefix", [DECAP_TTL] = "ttl",
};

const char *dp_reason_name(enum decap_reason reason)
{
	return reason_names[reason];
}

/* keys_get - all keys of a hash map; *out malloc'd */
static int keys_get(int map, size_t size, void **out, unsigned int *n)
{
	unsigned int room = 64;
	char *keys = malloc(room * size), *more;
	void *last = NULL;

	for (*n = 0; keys; (*n)++) {
		if (*n == room) {
			more = realloc(keys, 2 * room * size);
			if (!more)
				break;
			keys = more;
			room *= 2;
			last = keys + (*n - 1) * size;
		}
		if (bpf_map_get_next_key(map, last, keys + *n * size)) {
			*out = keys;
			return 0;
		}
		last = keys + *n * size;
	}
	free(keys);
	return -ENOMEM;
}

static bool holds(const void *keys, unsigned int n, size_t stride, const void *key, size_t size)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!memcmp((const char *)keys + i * stride, key, size))
			return true;
	return false;
}

static int refused(enum map_id id, struct err *e)
{
	return err_set(e, -errno, "BPF map %u of the decapsulator: %s", id, strerror(errno));
}

/* set_of - make a map of flags hold these keys */
static int set_of(struct dataplane *dp, enum map_id id, const void *keys, unsigned int n, size_t stride,
		  unsigned int *changed, struct err *e)
{
	const size_t size = sizeof(struct addr);
	unsigned int i, have;
	uint8_t one = 1;
	void *old;

	for (i = 0; i < n; i++) {
		if (!bpf_map_update_elem(dp->maps[id], (const char *)keys + i * stride, &one, BPF_NOEXIST))
			(*changed)++;
		else if (errno != EEXIST)
			return refused(id, e);
	}
	if (keys_get(dp->maps[id], size, &old, &have))
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < have; i++) {
		const void *key = (const char *)old + i * size;

		if (holds(keys, n, stride, key, size))
			continue;
		bpf_map_delete_elem(dp->maps[id], key);
		(*changed)++;
	}
	free(old);
	return 0;
}

int dp_served_get(struct dataplane *dp, struct decap_key **keys, unsigned int *n)
{
	return keys_get(dp->maps[MAP_SERVED], sizeof(**keys), (void **)keys, n);
}

int dp_served_find(struct dataplane *dp, const struct decap_key *key, struct decap_served *value)
{
	return bpf_map_lookup_elem(dp->maps[MAP_SERVED], key, value) ? -errno : 0;
}

/* indexes - which are taken, a byte each; malloc'd */
static uint8_t *indexes(struct dataplane *dp)
{
	uint8_t *taken = calloc(DECAP_MAX_SERVED, 1);
	struct decap_served value;
	struct decap_key *keys;
	unsigned int n, i;

	if (!taken || dp_served_get(dp, &keys, &n)) {
		free(taken);
		return NULL;
	}
	for (i = 0; i < n; i++)
		if (!dp_served_find(dp, &keys[i], &value))
			taken[value.index % DECAP_MAX_SERVED] = 1;
	free(keys);
	return taken;
}

/* accepts_set - the rules of a pair, before packets are matched with them */
static int accepts_set(struct dataplane *dp, const struct decap_served *value, const struct decap_rules *rules)
{
	uint32_t key = value->index;

	return value->flags & DECAP_RULES ? bpf_map_update_elem(dp->maps[MAP_ACCEPTS], &key, rules, BPF_ANY) : 0;
}

int dp_served_add(struct dataplane *dp, const struct decap_key *keys, struct decap_served *values,
		  const struct decap_rules *const *rules, unsigned int n, unsigned int *changed, struct err *e)
{
	uint8_t *taken = indexes(dp);
	unsigned int i, next = 0;
	uint8_t one = 1;
	int ret = 0;

	if (!taken)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n && !ret; i++) {
		struct decap_served old;

		if (!dp_served_find(dp, &keys[i], &old)) {
			values[i].index = old.index;
		} else {
			while (next < DECAP_MAX_SERVED && taken[next])
				next++;
			if (next == DECAP_MAX_SERVED) {
				ret = err_set(e, -E2BIG, "more than %u VIPs for one host", DECAP_MAX_SERVED);
				break;
			}
			taken[next] = 1;
			values[i].index = next;
			(*changed)++;
		}
		if (accepts_set(dp, &values[i], rules[i]) ||
		    (bpf_map_update_elem(dp->maps[MAP_DIPS], &keys[i].dip, &one, BPF_NOEXIST) && errno != EEXIST) ||
		    bpf_map_update_elem(dp->maps[MAP_VIPS], &keys[i].vip, &values[i], BPF_ANY) ||
		    bpf_map_update_elem(dp->maps[MAP_SERVED], &keys[i], &values[i], BPF_ANY))
			ret = refused(MAP_SERVED, e);
	}
	free(taken);
	return ret;
}

/* meters_drop - the rows of an index that is free again */
static void meters_drop(struct dataplane *dp, uint16_t index)
{
	uint32_t *keys;
	unsigned int n, i;

	if (keys_get(dp->maps[MAP_METERS], sizeof(*keys), (void **)&keys, &n))
		return;
	for (i = 0; i < n; i++)
		if (keys[i] >> 16 == index)
			bpf_map_delete_elem(dp->maps[MAP_METERS], &keys[i]);
	free(keys);
}

int dp_served_keep(struct dataplane *dp, const struct decap_key *keys, unsigned int n, unsigned int *changed, struct err *e)
{
	unsigned int have, i, ignore = 0;
	struct decap_served value;
	struct decap_key *old;
	uint32_t index;
	int ret;

	if (dp_served_get(dp, &old, &have))
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < have; i++) {
		if (holds(keys, n, sizeof(*keys), &old[i], sizeof(*old)) || dp_served_find(dp, &old[i], &value))
			continue;
		bpf_map_delete_elem(dp->maps[MAP_SERVED], &old[i]);
		index = value.index;
		bpf_map_delete_elem(dp->maps[MAP_CHOICES], &index);
		bpf_map_delete_elem(dp->maps[MAP_ACCEPTS], &index);
		meters_drop(dp, value.index);
		(*changed)++;
	}
	free(old);
	ret = set_of(dp, MAP_VIPS, keys ? &keys->vip : NULL, n, sizeof(*keys), &ignore, e);
	return ret ?: set_of(dp, MAP_DIPS, keys ? &keys->dip : NULL, n, sizeof(*keys), &ignore, e);
}

int dp_settings_set(struct dataplane *dp, const struct decap_settings *settings, struct err *e)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(dp->maps[MAP_SETTINGS], &zero, settings, BPF_ANY) ? refused(MAP_SETTINGS, e) : 0;
}

int dp_choice_set(struct dataplane *dp, uint16_t index, const uint32_t *targets, uint32_t buckets, struct err *e)
{
	uint32_t *keys = calloc(buckets + 1, sizeof(*keys)), *values = calloc(buckets + 1, sizeof(*values));
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	uint32_t i, n = buckets + 1, key = index;
	int ret = 0, fd = -1;

	if (!keys || !values) {
		ret = err_set(e, -ENOMEM, "no memory");
		goto out;
	}
	values[0] = buckets;
	for (i = 0; i < n; i++)
		keys[i] = i;
	memcpy(values + 1, targets, buckets * sizeof(*targets));
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "choice", sizeof(*keys), sizeof(*values), n, &opts);
	if (fd < 0 || bpf_map_update_batch(fd, keys, values, &n, NULL) ||
	    bpf_map_update_elem(dp->maps[MAP_CHOICES], &key, &fd, BPF_ANY))
		ret = refused(MAP_CHOICES, e);
out:
	if (fd >= 0)
		close(fd);
	free(keys);
	free(values);
	return ret;
}

void dp_choice_drop(struct dataplane *dp, uint16_t index)
{
	uint32_t key = index;

	bpf_map_delete_elem(dp->maps[MAP_CHOICES], &key);
}

/* number_of - the number that a key of a map of numbers has, or the lowest free one from 1 on */
static int number_of(int map, const void *key, size_t size, unsigned int max, uint32_t *number)
{
	uint8_t *taken;
	unsigned int n, i;
	uint32_t value;
	void *keys;

	if (!bpf_map_lookup_elem(map, key, number))
		return 0;
	taken = calloc(max + 1, 1);
	if (!taken || keys_get(map, size, &keys, &n)) {
		free(taken);
		return -ENOMEM;
	}
	for (i = 0; i < n; i++)
		if (!bpf_map_lookup_elem(map, (char *)keys + i * size, &value) && value <= max)
			taken[value] = 1;
	free(keys);
	for (i = 1; i <= max && taken[i]; i++)
		;
	free(taken);
	if (i > max)
		return -ENOSPC;
	*number = i;
	return bpf_map_update_elem(map, key, number, BPF_ANY) ? -errno : 0;
}

int dp_local_number(struct dataplane *dp, const struct decap_local *local, uint32_t *number)
{
	return number_of(dp->maps[MAP_LOCALS], local, sizeof(*local), DECAP_MAX_LOCALS, number);
}

void dp_locals_keep(struct dataplane *dp, const struct decap_local *locals, unsigned int n)
{
	struct decap_local *old;
	unsigned int have, i;

	if (keys_get(dp->maps[MAP_LOCALS], sizeof(*old), (void **)&old, &have))
		return;
	for (i = 0; i < have; i++)
		if (!holds(locals, n, sizeof(*locals), &old[i], sizeof(*old)))
			bpf_map_delete_elem(dp->maps[MAP_LOCALS], &old[i]);
	free(old);
}

/* ---- racks: names have numbers, prefixes lead to them ---- */

static struct decap_prefix prefix_key(const struct prefix *p)
{
	struct decap_prefix key = { .len = p->len + (addr_is_v4(&p->addr) ? 96 : 0) };

	memcpy(&key.addr, &p->addr, sizeof(key.addr));
	return key;
}

int dp_racks_set(struct dataplane *dp, const struct rack *racks, unsigned int n, struct err *e)
{
	struct decap_prefix *keys = calloc(n + 1, sizeof(*keys)), *old;
	unsigned int i, have;
	int ret = 0;

	if (!keys)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n && !ret; i++) {
		uint32_t number, held;

		keys[i] = prefix_key(&racks[i].prefix);
		ret = number_of(dp->maps[MAP_NAMES], racks[i].name, sizeof(racks[i].name), DECAP_MAX_RACKS, &number);
		if (ret)
			err_set(e, ret, "rack %s: %s", racks[i].name, strerror(-ret));
		else if ((bpf_map_lookup_elem(dp->maps[MAP_RACKS], &keys[i], &held) || held != number) &&
			 bpf_map_update_elem(dp->maps[MAP_RACKS], &keys[i], &number, BPF_ANY))
			ret = refused(MAP_RACKS, e);
	}
	if (!ret && !keys_get(dp->maps[MAP_RACKS], sizeof(*old), (void **)&old, &have)) {
		for (i = 0; i < have; i++)
			if (!holds(keys, n, sizeof(*keys), &old[i], sizeof(*old)))
				bpf_map_delete_elem(dp->maps[MAP_RACKS], &old[i]);
		free(old);
	}
	free(keys);
	return ret;
}

int dp_racks_get(struct dataplane *dp, char (**out)[RACK_NAME], unsigned int *n)
{
	char (*keys)[RACK_NAME], (*names)[RACK_NAME];
	uint32_t number, max = 0;
	unsigned int have, i;

	if (keys_get(dp->maps[MAP_NAMES], sizeof(*keys), (void **)&keys, &have))
		return -ENOMEM;
	for (i = 0; i < have; i++)
		if (!bpf_map_lookup_elem(dp->maps[MAP_NAMES], keys[i], &number) && number > max)
			max = number;
	names = calloc(max + 1, sizeof(*names));
	for (i = 0; names && i < have; i++)
		if (!bpf_map_lookup_elem(dp->maps[MAP_NAMES], keys[i], &number) && number <= max)
			memcpy(names[number], keys[i], sizeof(*names));
	free(keys);
	*out = names;
	*n = max + 1;
	return names ? 0 : -ENOMEM;
}

/* set_prefixes - make a map of prefixes hold these. LPM maps know no "only if it is new". */
static int set_prefixes(struct dataplane *dp, enum map_id id, const struct decap_prefix *keys, unsigned int n,
			unsigned int *changed, struct err *e)
{
	struct decap_prefix *old;
	uint32_t one = 1;
	unsigned int i, have;

	if (keys_get(dp->maps[id], sizeof(*old), (void **)&old, &have))
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++) {
		if (holds(old, have, sizeof(*old), &keys[i], sizeof(*keys)))
			continue;
		if (bpf_map_update_elem(dp->maps[id], &keys[i], &one, BPF_ANY)) {
			free(old);
			return refused(id, e);
		}
		(*changed)++;
	}
	for (i = 0; i < have; i++) {
		if (holds(keys, n, sizeof(*keys), &old[i], sizeof(*old)))
			continue;
		bpf_map_delete_elem(dp->maps[id], &old[i]);
		(*changed)++;
	}
	free(old);
	return 0;
}

int dp_sources_set(struct dataplane *dp, const struct prefix *prefixes, unsigned int n, struct err *e)
{
	struct decap_prefix *keys = calloc(n + 1, sizeof(*keys));
	unsigned int i, ignore = 0;
	int ret;

	if (!keys)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++)
		keys[i] = prefix_key(&prefixes[i]);
	ret = set_prefixes(dp, MAP_SOURCES, keys, n, &ignore, e);
	free(keys);
	return ret;
}

/* ---- muxes: addresses in a hash map, which costs least, prefixes in another ---- */

static bool one_address(const struct prefix *p)
{
	return p->len == (addr_is_v4(&p->addr) ? 32 : 128);
}

int dp_muxes_get(struct dataplane *dp, struct prefix **out, unsigned int *n)
{
	struct decap_prefix *wide = NULL;
	struct addr *single = NULL;
	struct prefix *muxes = NULL;
	unsigned int n_single = 0, n_wide = 0, i;
	int ret = keys_get(dp->maps[MAP_MUXES], sizeof(*single), (void **)&single, &n_single);

	*n = 0;
	/* a decapsulator of before has no prefixes */
	if (!ret && dp->maps[MAP_MUX_PREFIXES] >= 0)
		ret = keys_get(dp->maps[MAP_MUX_PREFIXES], sizeof(*wide), (void **)&wide, &n_wide);
	if (!ret)
		muxes = calloc(n_single + n_wide + 1, sizeof(*muxes));
	if (!muxes) {
		ret = -ENOMEM;
		goto out;
	}
	for (i = 0; i < n_single; i++)
		muxes[(*n)++] = host_prefix(&single[i]);
	for (i = 0; i < n_wide; i++) {
		struct prefix *p = &muxes[(*n)++];

		p->addr = to_addr(&wide[i].addr);
		p->len = wide[i].len - (addr_is_v4(&p->addr) ? 96 : 0);
	}
out:
	*out = muxes;
	free(single);
	free(wide);
	return ret;
}

int dp_muxes_set(struct dataplane *dp, const struct prefix *muxes, unsigned int n, unsigned int *changed, struct err *e)
{
	struct decap_prefix *wide = calloc(n + 1, sizeof(*wide));
	struct addr *single = calloc(n + 1, sizeof(*single));
	unsigned int n_single = 0, n_wide = 0, i;
	int ret = 0;

	if (!single || !wide)
		ret = err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < n && !ret; i++) {
		if (one_address(&muxes[i]))
			single[n_single++] = muxes[i].addr;
		else
			wide[n_wide++] = prefix_key(&muxes[i]);
	}
	if (!ret)
		ret = set_of(dp, MAP_MUXES, single, n_single, sizeof(*single), changed, e);
	if (!ret)
		ret = set_prefixes(dp, MAP_MUX_PREFIXES, wide, n_wide, changed, e);
	free(single);
	free(wide);
	return ret;
}

/* ---- meters and reasons ---- */

int dp_meters_get(struct dataplane *dp, struct meter_row **out, unsigned int *n)
{
	struct decap_meter *each = calloc(dp->cpus, sizeof(*each));
	struct meter_row *rows = NULL;
	uint32_t *keys = NULL;
	unsigned int i;
	int ret = -ENOMEM, c;

	if (!each || keys_get(dp->maps[MAP_METERS], sizeof(*keys), (void **)&keys, n))
		goto out;
	rows = calloc(*n + 1, sizeof(*rows));
	if (!rows)
		goto out;
	for (i = 0; i < *n; i++) {
		rows[i].index = keys[i] >> 16;
		rows[i].rack = keys[i] & 0xffff;
		if (bpf_map_lookup_elem(dp->maps[MAP_METERS], &keys[i], each))
			continue;
		for (c = 0; c < dp->cpus; c++) {
			rows[i].sum.in_packets += each[c].in_packets;
			rows[i].sum.in_bytes += each[c].in_bytes;
			rows[i].sum.out_packets += each[c].out_packets;
			rows[i].sum.out_bytes += each[c].out_bytes;
		}
	}
	ret = 0;
out:
	*out = rows;
	free(keys);
	free(each);
	return ret;
}

int dp_reason(struct dataplane *dp, enum decap_reason reason, uint64_t *n)
{
	uint64_t *each = calloc(dp->cpus, sizeof(*each));
	uint32_t key = reason;
	int ret = 0, i;

	*n = 0;
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(dp->maps[MAP_REASONS], &key, each))
		ret = -errno;
	for (i = 0; !ret && i < dp->cpus; i++)
		*n += each[i];
	free(each);
	return ret;
}

/* ---- the agent's memory ---- */

int dp_meta_get(struct dataplane *dp, struct decap_meta *meta)
{
	uint32_t key = 0;

	return bpf_map_lookup_elem(dp->maps[MAP_META], &key, meta) ? -errno : 0;
}

int dp_meta_set(struct dataplane *dp, const struct decap_meta *meta)
{
	uint32_t key = 0;

	return bpf_map_update_elem(dp->maps[MAP_META], &key, meta, BPF_ANY) ? -errno : 0;
}

void dp_before_set(struct dataplane *dp, const char *name, const char *value)
{
	char key[DECAP_NAME] = "", text[DECAP_VALUE] = "";

	snprintf(key, sizeof(key), "%s", name);
	snprintf(text, sizeof(text), "%s", value);
	bpf_map_update_elem(dp->maps[MAP_BEFORE], key, text, BPF_NOEXIST);
}

bool dp_before_get(struct dataplane *dp, const char *name, char value[DECAP_VALUE])
{
	char key[DECAP_NAME] = "";

	snprintf(key, sizeof(key), "%s", name);
	return !bpf_map_lookup_elem(dp->maps[MAP_BEFORE], key, value);
}

bool dp_health_get(struct dataplane *dp, const struct decap_health_key *key, struct decap_health *health)
{
	return !bpf_map_lookup_elem(dp->maps[MAP_HEALTH], key, health);
}

void dp_health_set(struct dataplane *dp, const struct decap_health_key *key, const struct decap_health *health)
{
	if (!health)
		bpf_map_delete_elem(dp->maps[MAP_HEALTH], key);
	else if (bpf_map_update_elem(dp->maps[MAP_HEALTH], key, health, BPF_ANY))
		log_warn("health of a check isn't kept over a restart: %s", strerror(errno));
}

bool dp_local_find(struct dataplane *dp, const struct decap_local *local, uint32_t *number)
{
	return !bpf_map_lookup_elem(dp->maps[MAP_LOCALS], local, number);
}
