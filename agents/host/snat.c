// SPDX-License-Identifier: GPL-2.0
/*
 * SNAT: tells the programs in bpf/snat.bpf.c which ports outgoing connections may
 * have and which buckets of the VIP's table are this DIP's, hooks them to sockets
 * (links on the root cgroup) and to the interfaces that targets are behind
 * (forward.c). Loaded when the state has SNAT; a kernel that refuses is asked
 * once; a state that changes nothing of this builds nothing. What an agent before
 * left attached goes on until the state has come; then it is replaced in one step.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include <duet/table.h>
#include "bpf/snat.h"
#include "log.h"
#include "snat.h"
#include "snat.skel.h"

enum link_id { LINK_CONNECT4, LINK_CONNECT6, __LINKS };
static const char *const link_names[__LINKS] = { "link-connect4", "link-connect6" };

struct snat {
	const char *pin;		/* borrowed */
	struct snat_bpf *skel;		/* NULL until there is a need */
	struct forward *forward;
	int links[__LINKS];		/* -1: not attached by this process */
	struct decap_addr *clients;	/* as held */
	unsigned int n_clients;
	void *held;			/* the desired state's snat_blob that is made; NULL: none */
	size_t held_len;
	uint32_t next_table;
	int refused;
};

int snat_start(const char *pin, struct snat **out)
{
	struct snat *s = calloc(1, sizeof(*s));
	unsigned int i;

	if (!s || forward_start(&s->forward)) {
		free(s);
		return -ENOMEM;
	}
	s->pin = pin;
	for (i = 0; i < __LINKS; i++)
		s->links[i] = -1;
	*out = s;
	return 0;
}

void snat_stop(struct snat *s)
{
	unsigned int i;

	if (!s)
		return;
	for (i = 0; i < __LINKS; i++)
		hook_sockets_close(&s->links[i]);
	forward_stop(s->forward);
	snat_bpf__destroy(s->skel);
	free(s->clients);
	free(s->held);
	free(s);
}

static int load(struct snat *s, struct err *e)
{
	uint64_t cookie;

	if (s->skel)
		return 0;
	if (!s->refused) {
		if (hook_netns(&cookie, e))
			return -EIO;
		s->skel = snat_bpf__open();
		if (!s->skel)
			return err_set(e, -errno, "the SNAT program can't be read: %s", strerror(errno));
		s->skel->rodata->netns = cookie;
		s->refused = snat_bpf__load(s->skel);
		if (!s->refused)
			return 0;
		snat_bpf__destroy(s->skel);
		s->skel = NULL;
	}
	return err_set(e, s->refused, "the kernel refuses the SNAT programs: %s", strerror(-s->refused));
}

static int hook(struct snat *s, enum link_id id, struct err *e)
{
	const struct bpf_program *prog = id == LINK_CONNECT4 ? s->skel->progs.duet_connect4 : s->skel->progs.duet_connect6;

	return hook_sockets(s->pin, link_names[id], id == LINK_CONNECT4 ? BPF_CGROUP_INET4_CONNECT : BPF_CGROUP_INET6_CONNECT,
			    bpf_program__fd(prog), &s->links[id], e);
}

/* ours_of - [0]: buckets, [1 + b]: is bucket b of the rule's table this DIP's? malloc'd; base: as if all were up */
static uint32_t *ours_of(const struct vip_rule *rule, const struct addr *dip, bool base_only)
{
	uint32_t n = rule->n_dips, buckets = duet_table_buckets(n), i;
	struct duet_dip *dips = calloc(n, sizeof(*dips));
	struct duet_walk *walk = calloc(n, sizeof(*walk));
	uint16_t *base = calloc(buckets + 1, sizeof(*base)), *table = calloc(buckets + 1, sizeof(*table));
	uint32_t *ours = calloc(buckets + 1, sizeof(*ours));
	bool ok = dips && walk && base && table && ours;

	for (i = 0; ok && i < n; i++) {
		memcpy(dips[i].addr, &rule->dips[i].addr, sizeof(dips[i].addr));
		dips[i].weight = rule->dips[i].weight;
		dips[i].down = !base_only && rule->dips[i].state != DUET_DIP_UP;
	}
	ok = ok && !duet_table_fill(dips, n, walk, base, buckets);
	if (ok) {
		ours[0] = buckets;
		if (duet_table_down(dips, n, base, table, buckets))
			for (i = 0; i < buckets; i++)
				ours[1 + i] = !addr_cmp(&rule->dips[table[i]].addr, dip);
	} else {
		free(ours);
		ours = NULL;
	}
	free(dips);
	free(walk);
	free(base);
	free(table);
	return ours;
}

/* table_make - which buckets of a rule's table are this DIP's, as map `id` */
static int table_make(struct snat *s, const struct vip_rule *rule, const struct addr *dip, uint32_t id, struct err *e)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	uint32_t *ours = ours_of(rule, dip, false), n = ours ? ours[0] + 1 : 0, i;
	uint32_t *keys = calloc(n + 1, sizeof(*keys));
	int ret = 0, fd = -1;

	if (!ours || !keys) {
		ret = err_set(e, -ENOMEM, "a rule's table can't be built: no memory");
		goto out;
	}
	for (i = 0; i < n; i++)
		keys[i] = i;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "snat_table", sizeof(*keys), sizeof(*ours), n, &opts);
	if (fd < 0 || bpf_map_update_batch(fd, keys, ours, &n, NULL) ||
	    bpf_map_update_elem(bpf_map__fd(s->skel->maps.snat_tables), &id, &fd, BPF_ANY))
		ret = err_set(e, -errno, "SNAT table: %s", strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	free(ours);
	free(keys);
	return ret;
}

/* source_add - the ports of one range, cut where muxes take another rule */
static int source_add(struct snat *s, struct snat_source *source, const struct pair_def *p, const struct snat_def *def,
		      uint8_t proto, struct err *e)
{
	struct addr dip = to_addr(&p->key.dip);
	unsigned int first = def->first, last;
	int ret;

	for (; first <= def->last; first = last + 1) {
		const struct vip_rule *rule;

		last = def->last;
		rule = vip_rule_at(p->rules, proto, first, &last);
		if (!rule)
			continue;
		if (source->ranges == SNAT_RANGES)
			return err_set(e, -E2BIG, "more than %u SNAT ranges of one VIP (protocols and rules cut them)", SNAT_RANGES);
		ret = table_make(s, rule, &dip, ++s->next_table, e);
		if (ret)
			return ret;
		source->range[source->ranges++] = (struct snat_range){
			.first = first, .last = last, .proto = proto, .fields = rule->fields, .table = s->next_table };
	}
	return 0;
}

static int source_make(struct snat *s, const struct desired *d, const struct pair_def *p, struct snat_source *source,
		       struct err *e)
{
	struct addr vip = to_addr(&p->key.vip);
	unsigned int i;
	int ret = 0;

	memset(source, 0, sizeof(*source));
	source->vip = p->key.vip;
	key_ready(&d->keys[p->hash_key], &source->key);
	for (i = 0; i < d->n_snat && !ret; i++) {
		if (addr_cmp(&d->snat[i].vip, &vip))
			continue;
		ret = source_add(s, source, p, &d->snat[i], IPPROTO_TCP, e);
		if (!ret)
			ret = source_add(s, source, p, &d->snat[i], IPPROTO_UDP, e);
	}
	return ret;
}

static int client_set(struct snat *s, const struct decap_addr *client, const struct snat_source *source, struct err *e)
{
	if (bpf_map_update_elem(bpf_map__fd(s->skel->maps.clients), client, source, BPF_ANY))
		return err_set(e, -errno, "SNAT clients: %s", strerror(errno));
	return 0;
}

/* keep - remove from a map the keys that aren't among these */
static void keep(int map, const void *keys, unsigned int n, size_t size)
{
	char key[32], next[32];
	void *last = NULL;
	unsigned int i;

	while (!bpf_map_get_next_key(map, last, next)) {
		for (i = 0; i < n && memcmp((const char *)keys + i * size, next, size); i++)
			;
		if (i == n) {
			bpf_map_delete_elem(map, next);
			continue;	/* from the same place: `last` is still there */
		}
		memcpy(key, next, size);
		last = key;
	}
}

static int excepts_set(struct snat *s, const struct desired *d, struct err *e)
{
	struct decap_prefix *keys = calloc(d->n_excepts + 1, sizeof(*keys));
	int map = bpf_map__fd(s->skel->maps.excepts), ret = 0;
	uint32_t one = 1;
	unsigned int i;

	if (!keys)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < d->n_excepts && !ret; i++) {
		keys[i].len = d->excepts[i].len + (addr_is_v4(&d->excepts[i].addr) ? 96 : 0);
		keys[i].addr = of_addr(&d->excepts[i].addr);
		if (bpf_map_update_elem(map, &keys[i], &one, BPF_ANY))
			ret = err_set(e, -errno, "SNAT exceptions: %s", strerror(errno));
	}
	if (!ret)
		keep(map, keys, d->n_excepts, sizeof(*keys));
	free(keys);
	return ret;
}

/* What one pass over the pairs gathers: who gets a source, of which pair. */
struct gathered {
	struct decap_addr *clients;
	const struct pair_def **pairs;
	unsigned int *ifindexes, n_clients, n_ifindexes;
	bool sockets4, sockets6;
};

static void gather_interface(struct gathered *g, unsigned int ifindex)
{
	unsigned int i;

	for (i = 0; i < g->n_ifindexes && g->ifindexes[i] != ifindex; i++)
		;
	if (ifindex && i == g->n_ifindexes)
		g->ifindexes[g->n_ifindexes++] = ifindex;
}

/* gather_pair - the sockets of the host, or its targets */
static void gather_pair(const struct pair_def *p, struct gathered *g)
{
	struct addr vip = to_addr(&p->key.vip);
	bool v4 = addr_is_v4(&vip);
	unsigned int t;

	for (t = 0; t < (p->n_locals ?: 1); t++) {
		struct decap_addr *client = &g->clients[g->n_clients];

		if (!p->n_locals || host_has(&p->locals[t].address)) {
			*client = (struct decap_addr){ .w = { 0, 0, 0, v4 ? 4 : 6 } };
			*(v4 ? &g->sockets4 : &g->sockets6) = true;
		} else {
			*client = of_addr(&p->locals[t].address);
			gather_interface(g, forward_behind(&p->locals[t].address));
		}
		g->pairs[g->n_clients++] = p;
	}
}

static int gather(const struct desired *d, struct gathered *g)
{
	unsigned int i;

	g->clients = calloc(d->n_locals + d->n_pairs + 1, sizeof(*g->clients));
	g->pairs = calloc(d->n_locals + d->n_pairs + 1, sizeof(*g->pairs));
	g->ifindexes = calloc(d->n_locals + 1, sizeof(*g->ifindexes));
	if (!g->clients || !g->pairs || !g->ifindexes)
		return -ENOMEM;
	for (i = 0; i < d->n_pairs; i++)
		if (d->pairs[i].snats)
			gather_pair(&d->pairs[i], g);
	return 0;
}

/* end_lost - connections that the present set of DIPs, or key, sends to others; not those that SMuxes keep */
static void end_lost(const struct desired *d)
{
	struct flow_table *tables = calloc(d->n_snat * SNAT_RANGES + 1, sizeof(*tables));
	unsigned int i, k, first, last, n = 0;

	for (i = 0; tables && i < d->n_pairs; i++) {
		const struct pair_def *p = &d->pairs[i];
		struct addr vip = to_addr(&p->key.vip), dip = to_addr(&p->key.dip);
		struct duet_key key;

		key_ready(&d->keys[p->hash_key], &key);
		for (k = 0; p->rules && !p->keep && k < d->n_snat; k++) {
			if (addr_cmp(&d->snat[k].vip, &vip))
				continue;
			for (first = d->snat[k].first; first <= d->snat[k].last && n < d->n_snat * SNAT_RANGES; first = last + 1) {
				const struct vip_rule *rule;

				last = d->snat[k].last;
				rule = vip_rule_at(p->rules, IPPROTO_TCP, first, &last);
				if (!rule)
					continue;
				tables[n] = (struct flow_table){ vip, first, last, rule->fields, key, ours_of(rule, &dip, true) };
				n += tables[n].ours != NULL;
			}
		}
	}
	if (n)
		flows_end(tables, n);
	for (i = 0; i < n; i++)
		free(tables[i].ours);
	free(tables);
}

static void tables_keep(struct snat *s, uint32_t above)
{
	int map = bpf_map__fd(s->skel->maps.snat_tables);
	uint32_t *keys = NULL, key, n = 0, i;
	void *last = NULL;

	keys = calloc(SNAT_TABLES, sizeof(*keys));
	while (keys && n < SNAT_TABLES && !bpf_map_get_next_key(map, last, &keys[n])) {
		key = keys[n++];
		last = &key;
	}
	for (i = 0; i < n; i++)
		if (keys[i] <= above)
			bpf_map_delete_elem(map, &keys[i]);
	free(keys);
}

/* sources_set - what the programs go by */
static int sources_set(struct snat *s, const struct desired *d, const struct gathered *g, struct err *e)
{
	struct snat_source source;
	unsigned int i;
	int ret;

	ret = excepts_set(s, d, e);
	for (i = 0; i < g->n_clients && !ret; i++) {
		/* those of one pair follow each other */
		if (!i || g->pairs[i] != g->pairs[i - 1])
			ret = source_make(s, d, g->pairs[i], &source, e);
		if (!ret)
			ret = client_set(s, &g->clients[i], &source, e);
	}
	return ret;
}

static int apply(struct snat *s, const struct desired *d, struct gathered *g, bool same, struct err *e)
{
	uint32_t before = s->next_table;
	int ret = same ? 0 : sources_set(s, d, g, e);

	if (!ret && g->sockets4)
		ret = hook(s, LINK_CONNECT4, e);
	if (!ret && (g->sockets4 || g->sockets6))	/* to IPv4 from sockets of both families, too */
		ret = hook(s, LINK_CONNECT6, e);
	if (!ret)
		ret = forward_hook(s->forward, s->skel->obj, g->ifindexes, g->n_ifindexes, e);
	if (ret || same)
		return ret;
	keep(bpf_map__fd(s->skel->maps.clients), g->clients, g->n_clients, sizeof(*g->clients));
	tables_keep(s, before);
	end_lost(d);
	return 0;
}

/* held_is - what is made, if it is made */
static void held_is(struct snat *s, const struct desired *d, struct gathered *g)
{
	free(s->held);
	free(s->clients);
	s->held = d ? malloc(d->snat_len) : NULL;
	s->held_len = s->held ? d->snat_len : 0;
	if (s->held)
		memcpy(s->held, d->snat_blob, d->snat_len);
	s->clients = d ? g->clients : NULL;
	s->n_clients = d ? g->n_clients : 0;
	if (d)
		g->clients = NULL;
}

static void snat_end(struct snat *s)
{
	struct err e;
	unsigned int i;

	/* those of an agent before us, too */
	for (i = 0; i < __LINKS; i++)
		hook_sockets_leave(s->pin, link_names[i], &s->links[i]);
	if (!s->skel || !s->held)
		return;
	forward_hook(s->forward, s->skel->obj, NULL, 0, &e);
	keep(bpf_map__fd(s->skel->maps.clients), NULL, 0, sizeof(struct decap_addr));
	held_is(s, NULL, NULL);
}

int snat_apply(struct snat *s, const struct desired *d, struct err *e)
{
	struct gathered g = {};
	bool same;
	int ret;

	if (!d->n_snat) {
		snat_end(s);
		return 0;
	}
	ret = load(s, e);
	if (ret)
		return ret;
	if (gather(d, &g)) {
		ret = err_set(e, -ENOMEM, "no memory");
	} else {
		same = s->held && s->held_len == d->snat_len && !memcmp(s->held, d->snat_blob, d->snat_len) && s->n_clients == g.n_clients &&
		       !memcmp(s->clients, g.clients, g.n_clients * sizeof(*g.clients));
		ret = apply(s, d, &g, same, e);
		held_is(s, ret ? NULL : d, &g);
	}
	free(g.clients);
	free(g.pairs);
	free(g.ifindexes);
	return ret;
}

void snat_unlink(const char *pin)
{
	pin_remove(pin, link_names, __LINKS);
}

int snat_count(const struct snat *s, unsigned int what, uint64_t *n)
{
	int cpus = libbpf_num_possible_cpus(), i;
	uint64_t *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));
	uint32_t key = what;

	*n = 0;
	if (!each)
		return -ENOMEM;
	if (s->skel && !bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.snat_counts), &key, each))
		for (i = 0; i < cpus; i++)
			*n += each[i];
	free(each);
	return 0;
}

void snat_hooked(const struct snat *s, uint32_t *sockets, uint32_t *forwarded)
{
	*sockets = s->links[LINK_CONNECT6] >= 0;
	*forwarded = forward_hooked(s->forward);
}
