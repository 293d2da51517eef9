// SPDX-License-Identifier: GPL-2.0
/*
 * The desired state made true, in the order that loses no packet: a VIP is on lo
 * and its targets have their NAT before its packets are decapsulated, and goes
 * from lo after that has stopped. What of it is already so is not touched. Which
 * VIPs on lo are ours, the map says. Runs in the helper.
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

/* number - the targets */
static int number(struct privileged *priv, struct desired *d, struct err *e)
{
	unsigned int i, t;
	int ret;

	for (i = 0; i < d->n_pairs; i++) {
		struct pair_def *p = &d->pairs[i];
		struct local_def *locals = d->locals + (p->locals - d->locals);

		for (t = 0; t < p->n_locals; t++) {
			struct decap_local local = { p->key.vip, p->key.dip, of_addr(&locals[t].address) };

			ret = dp_local_number(priv->dp, &local, &locals[t].number);
			if (ret)
				return err_set(e, ret, "no number for a target: %s", strerror(-ret));
		}
	}
	return 0;
}

/* second_level - the table of a pair over those of its targets that are up */
static int second_level(struct privileged *priv, const struct pair_def *p, uint16_t index, struct err *e)
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
		dips[i].down = p->locals[i].down;
	}
	ret = duet_table_fill(dips, p->n_locals, walk, base, buckets);
	if (ret) {
		err_set(e, ret, "VIP %s: %s", str_addr(&p->key.vip, vip), ret == -ENOENT ? "all targets have weight 0" : strerror(-ret));
		goto out;
	}
	if (!duet_table_down(dips, p->n_locals, base, table, buckets)) {
		dp_choice_drop(priv->dp, index);
		goto out;
	}
	for (i = 0; i < buckets; i++)
		targets[i] = p->locals[table[i]].number;
	ret = dp_choice_set(priv->dp, index, targets, buckets, e);
out:
	free(dips);
	free(walk);
	free(base);
	free(table);
	free(targets);
	return ret;
}

static int pairs_make(struct privileged *priv, const struct desired *d, struct pairs *p)
{
	unsigned int mtu = priv->conf->mtu ?: (unsigned int)dp_mtu(priv->dp), i;

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
			.flags = (def->accepts ? DECAP_RULES : 0) | (priv->conf->n_client_prefixes ? DECAP_SOURCES : 0),
			.key = def->hash_key,
		};
	}
	return 0;
}

/* serve - from the VIPs on lo to the packets; the tables of new pairs before the
 * pairs, which need an index, are in two steps: a packet between them is dropped
 * as one without a target
 */
static int serve(struct privileged *priv, const struct desired *d, struct pairs *p, struct changed *c, struct err *e)
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
	ret = dp_muxes_set(priv->dp, d->muxes, d->n_muxes, &c->muxes, e);
	for (i = 0; i < d->n_pairs && !ret; i++) {
		struct addr vip = to_addr(&d->pairs[i].key.vip);

		ret = lo_add(priv->lo, &vip, &c->addresses, e);
	}
	if (!ret)
		ret = nft_apply(priv->nft, d->pairs, d->n_pairs, e);
	if (!ret)
		ret = dp_settings_set(priv->dp, &settings, e);
	if (!ret && d->has_racks)
		ret = dp_racks_set(priv->dp, d->racks, d->n_racks, e);
	if (!ret)
		ret = dp_served_add(priv->dp, p->keys, p->values, p->rules, d->n_pairs, &c->added, e);
	for (i = 0; i < d->n_pairs && !ret; i++)
		if (d->pairs[i].delivery == DELIVER_VIRTUAL)
			ret = second_level(priv, &d->pairs[i], p->values[i].index, e);
	return ret ?: dp_served_keep(priv->dp, p->keys, d->n_pairs, &c->removed, e);
}

static void locals_keep(struct privileged *priv, const struct desired *d)
{
	struct decap_local *locals = calloc(d->n_locals + 1, sizeof(*locals));
	unsigned int i, t, n = 0;

	for (i = 0; locals && i < d->n_pairs; i++)
		for (t = 0; t < d->pairs[i].n_locals; t++)
			locals[n++] = (struct decap_local){ d->pairs[i].key.vip, d->pairs[i].key.dip,
							    of_addr(&d->pairs[i].locals[t].address) };
	if (locals)
		dp_locals_keep(priv->dp, locals, n);
	free(locals);
}

int apply_state(struct privileged *priv, struct desired *d, struct changed *c, struct err *e)
{
	struct decap_key *old = NULL;
	struct pairs p = {};
	unsigned int n_old, i;
	int ret;

	if (dp_served_get(priv->dp, &old, &n_old))
		return err_set(e, -ENOMEM, "no memory");
	ret = number(priv, d, e);
	if (ret)
		goto out;
	if (pairs_make(priv, d, &p)) {
		ret = err_set(e, -ENOMEM, "no memory");
		goto out;
	}
	ret = serve(priv, d, &p, c, e);
	for (i = 0; i < n_old && !ret; i++) {
		struct addr vip = to_addr(&old[i].vip);

		if (!has_vip(p.keys, d->n_pairs, &old[i].vip) && !has_vip(old, i, &old[i].vip))
			ret = lo_del(priv->lo, &vip, &c->addresses, e);
	}
	if (ret)
		goto out;
	release_apply(priv->release, d);
	held_add(priv->conf->pin, d);
	ret = snat_apply(priv->snat, d, e);
	if (ret)
		goto out;
	held_keep(priv->conf->pin, d);
	locals_keep(priv, d);
out:
	free(old);
	free(p.keys);
	free(p.values);
	free(p.rules);
	return ret;
}

void apply_down(struct privileged *priv, const struct decap_key *key, const struct addr *target, bool down)
{
	struct decap_served value;
	struct err e;
	unsigned int i, t;

	for (i = 0; i < priv->made.n_pairs; i++) {
		const struct pair_def *p = &priv->made.pairs[i];
		struct local_def *locals = priv->made.locals + (p->locals - priv->made.locals);
		bool ours = false;

		if (p->delivery != DELIVER_VIRTUAL || memcmp(&p->key, key, sizeof(*key)))
			continue;
		for (t = 0; t < p->n_locals; t++) {
			if (addr_cmp(&locals[t].address, target) || locals[t].down == down)
				continue;
			locals[t].down = down;
			ours = true;
		}
		if (ours && !dp_served_find(priv->dp, key, &value) && second_level(priv, p, value.index, &e))
			log_err("second-level table: %s", e.text);
	}
}
