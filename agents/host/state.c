// SPDX-License-Identifier: GPL-2.0
/*
 * A state that a controller pushes: read whole, refused whole, or passed to the
 * helper, which makes it true. Checks are the agent's own: what they say of targets
 * goes along, and follows as it changes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper.h"
#include "log.h"
#include "snat.h"

/* believe - leave out muxes that this host's own configuration doesn't let it believe */
static void believe(struct host *host, struct desired *d)
{
	const struct conf *conf = &host->conf;
	unsigned int i, n = 0, left_out = 0;
	char text[ADDR_STRLEN];

	for (i = 0; i < d->n_muxes; i++) {
		if (prefixes_allow(conf->mux_prefixes, conf->n_mux_prefixes, &d->muxes[i]))
			d->muxes[n++] = d->muxes[i];
		else if (!left_out++ && !host->muxes_left_out)
			log_warn("mux %s/%u is in no prefix of [host] mux-prefixes: what it sends is dropped",
				 addr_str(&d->muxes[i].addr, text), d->muxes[i].len);
	}
	d->n_muxes = n;
	host->muxes_left_out = left_out;
}

/* allowed - are all VIPs such as this host's own configuration lets it serve? */
static int allowed(const struct conf *conf, const struct desired *d, struct err *e)
{
	char text[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++) {
		struct addr vip = to_addr(&d->pairs[i].key.vip);
		struct prefix p = host_prefix(&vip);

		if (!prefixes_allow(conf->vip_prefixes, conf->n_vip_prefixes, &p))
			return err_set(e, -EACCES, "VIP %s is in none of the prefixes that this host may serve ([host] vip-prefixes)",
				       addr_str(&vip, text));
		if (!addr_cmp(&vip, &conf->address))
			return err_set(e, -EACCES, "VIP %s is the host's own address ([host] address)", addr_str(&vip, text));
	}
	return 0;
}

/* mark_down - what checks say of targets */
static void mark_down(const struct host *host, struct desired *d)
{
	unsigned int i, t;

	for (i = 0; i < d->n_pairs; i++) {
		const struct pair_def *p = &d->pairs[i];
		struct local_def *locals = d->locals + (p->locals - d->locals);

		for (t = 0; t < p->n_locals; t++)
			locals[t].down = checks_down(host->checks, &p->key, &locals[t].address);
	}
}

/* make - checks first: they say which targets a new table has */
static int make(struct host *host, struct desired *d, struct changed *c, struct err *e)
{
	unsigned int checks = 0;
	int ret = checks_set(host->checks, d->checks, d->n_checks, &checks);

	if (ret)
		return err_set(e, ret, "health checks: %s", strerror(-ret));
	mark_down(host, d);
	ret = helper_apply(host->helper, d, c, e);
	c->checks = checks;
	return ret;
}

void put_state(struct http_request *req, json_t *body, void *ctx)
{
	struct host *host = ctx;
	struct changed c = {};
	struct desired d = {};
	struct decap_meta held;
	struct err e;
	int ret;

	ret = desired_read(body, &d, &e);
	if (ret) {
		http_problem(req, ret == -EADDRNOTAVAIL || ret == -E2BIG ? 422 : ret == -ENOMEM ? 500 : 400, NULL,
			     "%s", e.text);
		goto out;
	}
	if (allowed(&host->conf, &d, &e) || commands_allowed(host->commands, &d, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		goto out;
	}
	ret = helper_fence(host->helper, &d.meta, &held, &e);
	if (ret) {
		log_warn("refused %s: %s", http_peer_name(req), e.text);
		http_problem(req, ret == -ESTALE ? 409 : ret == -ERANGE ? 422 : 503,
			     json_pack("{s:I, s:I}", "epoch", (json_int_t)held.epoch, "generation", (json_int_t)held.generation),
			     "%s", e.text);
		goto out;
	}
	believe(host, &d);
	ret = make(host, &d, &c, &e);
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

void delete_fence(struct http_request *req, json_t *body, void *ctx)
{
	struct host *host = ctx;
	struct decap_meta was;
	struct err e;

	if (helper_unfence(host->helper, &was, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		return;
	}
	log_notice("%s removed the fence of epoch %llu generation %llu: the next controller is obeyed", http_peer_name(req), was.epoch,
		   was.generation);
	http_reply(req, 200, json_pack("{s:I, s:I}", "epoch", (json_int_t)was.epoch, "generation", (json_int_t)was.generation));
}

void state_health(struct host *host, const struct decap_key *key)
{
	unsigned int i, t;

	for (i = 0; i < host->held.n_pairs; i++) {
		const struct pair_def *p = &host->held.pairs[i];

		if (p->delivery != DELIVER_VIRTUAL || memcmp(&p->key, key, sizeof(*key)))
			continue;
		for (t = 0; t < p->n_locals; t++)
			helper_down(host->helper, key, &p->locals[t].address, checks_down(host->checks, key, &p->locals[t].address));
	}
}
