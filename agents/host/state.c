// SPDX-License-Identifier: GPL-2.0
/*
 * The desired state made true, in the order that loses no packet: a VIP is on lo
 * and its targets have their NAT before its packets are decapsulated, and goes
 * from lo after that has stopped. What of it is already so is not touched. Which
 * VIPs on lo are ours, the map says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <duet/table.h>
#include "host.h"
#include "log.h"
#include "release.h"
#include "snat.h"

struct changed {
	unsigned int muxes, added, removed, addresses, checks, racks;
};

/* The pairs in the form the maps want. */
struct pairs {
	struct decap_key *keys;
	struct decap_served *values;
	const struct decap_rules **rules;	/* borrowed; NULL: the pair accepts all */
};

static bool has_vip(const struct decap_key *keys, unsigned int n, const struct decap_addr *vip)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!memcmp(&keys[i].vip, vip, sizeof(*vip)))
			return true;
	return false;
}

/* mss_of - what the outer header leaves, by inner family */
static uint16_t mss_of(unsigned int mtu, const struct addr *dip, unsigned int inner)
{
	unsigned int outer = addr_is_v4(dip) ? 20 : 40;

	return mtu > outer + inner + 20 ? mtu - outer - inner - 20 : 0;
}

/* number - the targets, and with them the marks of their checks */
static int number(struct host *host, struct desired *d, struct err *e)
{
	unsigned int i, t, k;
	int ret;

	for (i = 0; i < d->n_pairs; i++) {
		struct pair_def *p = &d->pairs[i];
		struct local_def *locals = d->locals + (p->locals - d->locals);

		for (t = 0; t < p->n_locals; t++) {
			struct decap_local local = { p->key.vip, p->key.dip, of_addr(&locals[t].address) };

			ret = dp_local_number(host->dp, &local, &locals[t].number);
			if (ret)
				return err_set(e, ret, "no number for a target: %s", strerror(-ret));
			for (k = 0; k < d->n_checks; k++)
				if (!memcmp(&d->checks[k].key, &p->key, sizeof(p->key)) &&
				    !addr_cmp(&d->checks[k].target, &locals[t].address))
					d->checks[k].mark = DECAP_MARK | locals[t].number;
		}
	}
	return 0;
}

/* second_level - the table of a pair over those of its targets that are up */
static int second_level(struct host *host, const struct pair_def *p, uint16_t index, struct err *e)
{
	uint32_t buckets = duet_table_buckets(p->n_locals), i;
	struct duet_dip *dips = calloc(p->n_locals, sizeof(*dips));
	struct duet_walk *walk = calloc(p->n_locals, sizeof(*walk));
	uint16_t *base = calloc(buckets + 1, sizeof(*base)), *table = calloc(buckets + 1, sizeof(*table));
	uint32_t *targets = calloc(buckets + 1, sizeof(*targets));
	char vip[ADDR_STRLEN];
	int ret = 0;

	if (!dips || !walk || !base || !table || !targets) {
		ret = err_set(e, -ENOMEM, "no memory");
		goto out;
	}
	for (i = 0; i < p->n_locals; i++) {
		memcpy(dips[i].addr, &p->locals[i].address, sizeof(dips[i].addr));
		dips[i].weight = p->locals[i].weight;
		dips[i].down = checks_down(host->checks, &p->key, &p->locals[i].address);
	}
	ret = duet_table_fill(dips, p->n_locals, walk, base, buckets);
	if (ret) {
		err_set(e, ret, "VIP %s: %s", str_addr(&p->key.vip, vip), ret == -ENOENT ? "all targets have weight 0" : strerror(-ret));
		goto out;
	}
	if (!duet_table_down(dips, p->n_locals, base, table, buckets)) {
		dp_choice_drop(host->dp, index);
		goto out;
	}
	for (i = 0; i < buckets; i++)
		targets[i] = p->locals[table[i]].number;
	ret = dp_choice_set(host->dp, index, targets, buckets, e);
out:
	free(dips);
	free(walk);
	free(base);
	free(table);
	free(targets);
	return ret;
}

static int pairs_make(struct host *host, const struct desired *d, struct pairs *p)
{
	unsigned int mtu = host->conf.mtu ?: (unsigned int)dp_mtu(host->dp), i;

	p->keys = calloc(d->n_pairs + 1, sizeof(*p->keys));
	p->values = calloc(d->n_pairs + 1, sizeof(*p->values));
	p->rules = calloc(d->n_pairs + 1, sizeof(*p->rules));
	if (!p->keys || !p->values || !p->rules)
		return -ENOMEM;
	for (i = 0; i < d->n_pairs; i++) {
		const struct pair_def *def = &d->pairs[i];
		struct addr dip = to_addr(&def->key.dip);

		p->keys[i] = def->key;
		p->rules[i] = def->accepts;
		p->values[i] = (struct decap_served){
			.delivery = def->delivery, .mss4 = mss_of(mtu, &dip, 20), .mss6 = mss_of(mtu, &dip, 40),
			.target = def->delivery == DELIVER_NAT ? def->locals[0].number : 0,
			.flags = (def->accepts ? DECAP_RULES : 0) | (host->conf.n_client_prefixes ? DECAP_SOURCES : 0),
			.key = def->hash_key,
		};
	}
	return 0;
}

/* serve - from the VIPs on lo to the packets; the tables of new pairs before the
 * pairs, which need an index, are in two steps: a packet between them is dropped
 * as one without a target
 */
static int serve(struct host *host, const struct desired *d, struct pairs *p, struct changed *c, struct err *e)
{
	struct decap_settings settings;
	struct duet_key level1;
	unsigned int i;
	int ret;

	for (i = 0; i < DUET_KEYS; i++) {
		key_ready(&d->keys[i], &level1);
		duet_key_level2(&settings.level2[i], &level1);
	}

	/* a mux that is gone is believed no longer, whatever else fails */
	ret = dp_muxes_set(host->dp, d->muxes, d->n_muxes, &c->muxes, e);
	for (i = 0; i < d->n_pairs && !ret; i++) {
		struct addr vip = to_addr(&d->pairs[i].key.vip);

		ret = lo_add(host->lo, &vip, &c->addresses, e);
	}
	if (!ret)
		ret = nft_apply(host->nft, d->pairs, d->n_pairs, e);
	if (!ret)
		ret = dp_settings_set(host->dp, &settings, e);
	if (!ret && d->has_racks)
		ret = dp_racks_set(host->dp, d->racks, d->n_racks, e);
	if (!ret)
		ret = dp_served_add(host->dp, p->keys, p->values, p->rules, d->n_pairs, &c->added, e);
	for (i = 0; i < d->n_pairs && !ret; i++)
		if (d->pairs[i].delivery == DELIVER_VIRTUAL)
			ret = second_level(host, &d->pairs[i], p->values[i].index, e);
	return ret ?: dp_served_keep(host->dp, p->keys, d->n_pairs, &c->removed, e);
}

static void locals_keep(struct host *host, const struct desired *d)
{
	struct decap_local *locals = calloc(d->n_locals + 1, sizeof(*locals));
	unsigned int i, t, n = 0;

	for (i = 0; locals && i < d->n_pairs; i++)
		for (t = 0; t < d->pairs[i].n_locals; t++)
			locals[n++] = (struct decap_local){ d->pairs[i].key.vip, d->pairs[i].key.dip,
							    of_addr(&d->pairs[i].locals[t].address) };
	if (locals)
		dp_locals_keep(host->dp, locals, n);
	free(locals);
}

static int apply(struct host *host, struct desired *d, struct changed *c, struct err *e)
{
	struct decap_key *old = NULL;
	struct pairs p = {};
	unsigned int n_old, i;
	int ret;

	if (dp_served_get(host->dp, &old, &n_old))
		return err_set(e, -ENOMEM, "no memory");
	ret = number(host, d, e);
	if (ret)
		goto out;
	if (pairs_make(host, d, &p)) {
		ret = err_set(e, -ENOMEM, "no memory");
		goto out;
	}
	ret = checks_set(host->checks, d->checks, d->n_checks, &c->checks);
	if (ret) {
		err_set(e, ret, "health checks: %s", strerror(-ret));
		goto out;
	}
	ret = serve(host, d, &p, c, e);
	for (i = 0; i < n_old && !ret; i++) {
		struct addr vip = to_addr(&old[i].vip);

		if (!has_vip(p.keys, d->n_pairs, &old[i].vip) && !has_vip(old, i, &old[i].vip))
			ret = lo_del(host->lo, &vip, &c->addresses, e);
	}
	if (ret)
		goto out;
	release_apply(host->release, d);
	held_add(host->conf.pin, d);
	ret = snat_apply(host->snat, d, e);
	if (ret)
		goto out;
	held_keep(host->conf.pin, d);
	locals_keep(host, d);
out:
	free(old);
	free(p.keys);
	free(p.values);
	free(p.rules);
	return ret;
}

/* believe - leave out muxes that this host's own configuration doesn't let it believe */
static void believe(struct host *host, struct desired *d)
{
	unsigned int i, k, n = 0, left_out = 0;
	char text[ADDR_STRLEN];

	for (i = 0; i < d->n_muxes && host->conf.n_mux_prefixes; i++) {
		for (k = 0; k < host->conf.n_mux_prefixes && !prefix_holds(&host->conf.mux_prefixes[k], &d->muxes[i]); k++)
			;
		if (k < host->conf.n_mux_prefixes)
			d->muxes[n++] = d->muxes[i];
		else if (!left_out++ && !host->muxes_left_out)
			log_warn("mux %s is in no prefix of [host] mux-prefixes: what it sends is dropped", addr_str(&d->muxes[i], text));
	}
	if (host->conf.n_mux_prefixes)
		d->n_muxes = n;
	host->muxes_left_out = left_out;
}

void put_state(struct http_request *req, json_t *body, void *ctx)
{
	struct host *host = ctx;
	struct changed c = {};
	struct desired d = {};
	struct err e;
	int ret;

	ret = desired_read(body, &d, &e);
	if (ret) {
		http_problem(req, ret == -EADDRNOTAVAIL || ret == -E2BIG ? 422 : ret == -ENOMEM ? 500 : 400, NULL,
			     "%s", e.text);
		goto out;
	}
	if (commands_allowed(host->commands, &d, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		goto out;
	}
	ret = fencing_pass(host, &d.meta, &e);
	if (ret) {
		log_warn("refused %s: %s", http_peer_name(req), e.text);
		http_problem(req, ret == -ESTALE ? 409 : ret == -ERANGE ? 422 : 503,
			     json_pack("{s:I, s:I}", "epoch", (json_int_t)host->fence.epoch, "generation", (json_int_t)host->fence.generation),
			     "%s", e.text);
		goto out;
	}
	believe(host, &d);
	ret = apply(host, &d, &c, &e);
	if (ret) {
		/* the controller asks again until it is made */
		if (strcmp(host->failed, e.text))
			log_err("state %llu/%llu is not all made: %s", d.meta.epoch, d.meta.generation, e.text);
		snprintf(host->failed, sizeof(host->failed), "%s", e.text);
		http_problem(req, ret == -E2BIG || ret == -ENOSPC ? 507 : 500, NULL, "%s", e.text);
		goto out;
	}
	host->failed[0] = '\0';
	desired_free(&host->held);
	host->held = d;
	usage_state(host->usage);
	if (d.has_racks && strcmp(host->racks_id, d.racks_id)) {
		snprintf(host->racks_id, sizeof(host->racks_id), "%s", d.racks_id);
		c.racks = d.n_racks;
	}
	if (!host->synced || c.racks || c.muxes || c.added || c.removed || c.addresses || c.checks) {
		log_info("state %llu/%llu: %u VIPs (%u added, %u removed), %u muxes, %u checks (%u changed)",
			 d.meta.epoch, d.meta.generation, d.n_pairs, c.added, c.removed, d.n_muxes, d.n_checks, c.checks);
		host->synced = true;
		report_now(host->report);
	}
	http_reply(req, 200, json_pack("{s:{s:i, s:i, s:i, s:i, s:i}}", "changed", "added", c.added, "removed",
				       c.removed, "muxes", c.muxes, "addresses", c.addresses, "checks", c.checks));
	return;
out:
	desired_free(&d);
}

void state_health(struct host *host, const struct decap_key *key)
{
	struct decap_served value;
	struct err e;
	unsigned int i;

	for (i = 0; i < host->held.n_pairs; i++) {
		const struct pair_def *p = &host->held.pairs[i];

		if (p->delivery == DELIVER_VIRTUAL && !memcmp(&p->key, key, sizeof(*key)) &&
		    !dp_served_find(host->dp, key, &value) && second_level(host, p, value.index, &e))
			log_err("second-level table: %s", e.text);
	}
}
