// SPDX-License-Identifier: GPL-2.0
/*
 * Which addresses are in which rack, for the hosts, which count traffic by it. A tor
 * of topology.dot may say so itself (prefixes="10.1.1.0/24 10.1.2.0/24"); of one that
 * doesn't, prefixes are made that hold its servers and SMuxes and none of another rack.
 */
#include "racks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int racks_parse(const char *text, struct prefix **out, unsigned int *n)
{
	char *copy = strdup(text), *word, *at = NULL;
	struct prefix *list = calloc(strlen(text) / 2 + 1, sizeof(*list));
	int ret = copy && list ? 0 : -ENOMEM;

	*n = 0;
	for (word = ret ? NULL : strtok_r(copy, " ,", &at); word && !ret; word = strtok_r(NULL, " ,", &at))
		ret = prefix_parse(word, &list[(*n)++]);
	free(copy);
	if (ret) {
		free(list);
		list = NULL;
		*n = 0;
	}
	*out = list;
	return ret;
}

/* One address of a rack that names no prefixes. */
struct member {
	struct addr addr;
	unsigned int tor;
};

static int by_address(const void *a, const void *b)
{
	return addr_cmp(&((const struct member *)a)->addr, &((const struct member *)b)->addr);
}

static bool bit_of(const struct addr *a, unsigned int bit)
{
	return a->b[bit / 8] & (0x80 >> bit % 8);
}

static unsigned int common(const struct addr *a, const struct addr *b)
{
	unsigned int bit = 0;

	while (bit < 128 && bit_of(a, bit) == bit_of(b, bit))
		bit++;
	return bit;
}

static void add(json_t *list, const struct prefix *p, const char *rack)
{
	char text[ADDR_STRLEN];

	json_array_append_new(list, json_pack("{s:o, s:s}", "prefix", json_sprintf("%s/%u", addr_str(&p->addr, text), p->len),
					      "rack", rack));
}

/* cover - of n members by address, all of one family */
static void cover(const struct topology *t, const struct member *m, unsigned int n, json_t *list)
{
	unsigned int bits = n ? common(&m[0].addr, &m[n - 1].addr) : 0, i, half;
	struct prefix p;

	for (i = 1; i < n && m[i].tor == m[0].tor; i++)
		;
	if (i < n) {
		for (half = 1; !bit_of(&m[half].addr, bits); half++)
			;
		cover(t, m, half, list);
		cover(t, m + half, n - half, list);
	} else if (n) {
		p.addr = m[0].addr;
		for (i = bits; i < 128; i++)
			p.addr.b[i / 8] &= ~(0x80 >> i % 8);
		p.len = bits - (addr_is_v4(&m[0].addr) ? 96 : 0);
		add(list, &p, t->nodes[m[0].tor].name);
	}
}

static void add_family(const struct topology *t, bool v4, json_t *list)
{
	struct member *members = calloc(t->n_nodes + 1, sizeof(*members));
	unsigned int i, n = 0;

	for (i = 0; members && i < t->n_nodes; i++) {
		const struct topo_node *node = &t->nodes[i];

		if (!topo_is_switch(node) && !t->nodes[node->tor].n_prefixes && !addr_is_none(&node->address) &&
		    addr_is_v4(&node->address) == v4)
			members[n++] = (struct member){ node->address, node->tor };
	}
	if (n) {
		qsort(members, n, sizeof(*members), by_address);
		cover(t, members, n, list);
	}
	free(members);
}

json_t *racks_to_json(const struct topology *t)
{
	json_t *list = json_array();
	unsigned int i, k;

	for (i = 0; i < t->n_nodes; i++)
		for (k = 0; k < t->nodes[i].n_prefixes; k++)
			add(list, &t->nodes[i].prefixes[k], t->nodes[i].name);
	add_family(t, true, list);
	add_family(t, false, list);
	return list;
}

void racks_id(json_t *racks, char id[17])
{
	char *text = json_dumps(racks, JSON_COMPACT | JSON_SORT_KEYS), *c;
	uint64_t hash = 0xcbf29ce484222325;	/* FNV-1a */

	for (c = text; c && *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	snprintf(id, 17, "%016llx", (unsigned long long)hash);
	free(text);
}
