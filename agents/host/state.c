// SPDX-License-Identifier: GPL-2.0
/*
 * The desired state (PUT /v1/state): read whole, refused whole with a sentence,
 * then made true in the order that loses no packet: a VIP is on lo before its
 * packets are decapsulated, and goes from lo after that has stopped. What of it
 * is already so is not touched. Which VIPs on lo are ours, the map says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"
#include "host.h"
#include "log.h"
#include "metrics.h"

#define MAX_CHECKS 4096

struct desired {
	struct decap_meta meta;
	uint32_t *muxes;
	struct decap_key *keys;
	struct check_def *defs;
	unsigned int n_muxes, n_keys, n_defs;
};

struct changed {
	unsigned int muxes, added, removed, addresses, checks;
};

static void desired_free(struct desired *d)
{
	free(d->muxes);
	free(d->keys);
	free(d->defs);
}

static int get_u64(json_t *body, const char *key, __u64 *out, struct err *e)
{
	json_t *v = json_object_get(body, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return err_set(e, -EINVAL, "\"%s\" is missing or no number from 0 on", key);
	*out = json_integer_value(v);
	return 0;
}

/* get_v4 - an IPv4 address a host can have */
static int get_v4(json_t *v, const char *what, uint32_t *out, struct err *e)
{
	const char *text = json_string_value(v);
	struct addr a;
	size_t len;

	if (!text || addr_parse(text, &a))
		return err_set(e, -EINVAL, "%s: \"%s\" is no address", what, text ?: "");
	if (!addr_is_v4(&a))
		return err_set(e, -EINVAL, "%s: %s: only IPv4 is served so far", what, text);
	memcpy(out, addr_raw(&a, &len), 4);
	if (!(ntohl(*out) >> 24) || ntohl(*out) >> 24 == 127 || ntohl(*out) >> 28 >= 14)
		return err_set(e, -EINVAL, "%s: %s can't be the address of a host", what, text);
	return 0;
}

/* is_local - packets to this address come to this host */
static bool is_local(uint32_t address)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = address };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at));

	if (fd >= 0)
		close(fd);
	return ok;
}

static int parse_vip(json_t *json, struct desired *d, struct err *e)
{
	json_t *list = json_object_get(json, "checks"), *check;
	const char *vip = json_string_value(json_object_get(json, "vip"));
	struct decap_key *key = &d->keys[d->n_keys];
	char where[128], dip[ADDR_STRLEN];
	unsigned int i;
	size_t k;

	if (!json_is_object(json))
		return err_set(e, -EINVAL, "an element of \"vips\" is no object");
	if (get_v4(json_object_get(json, "vip"), "\"vip\"", &key->vip, e))
		return -EINVAL;
	snprintf(where, sizeof(where), "VIP %s: \"dip\"", vip);
	if (get_v4(json_object_get(json, "dip"), where, &key->dip, e))
		return -EINVAL;
	str4(key->dip, dip);
	if (key->vip == key->dip)
		return err_set(e, -EINVAL, "VIP %s: a VIP can't be its own DIP", vip);
	for (i = 0; i < d->n_keys; i++)
		if (!memcmp(&d->keys[i], key, sizeof(*key)))
			return err_set(e, -EINVAL, "VIP %s: DIP %s is given twice", vip, dip);
	if (!is_local(key->dip))
		return err_set(e, -EADDRNOTAVAIL, "VIP %s: DIP %s is no address of this host", vip, dip);
	d->n_keys++;
	if (list && !json_is_array(list))
		return err_set(e, -EINVAL, "VIP %s: \"checks\" is no list", vip);
	json_array_foreach(list, k, check) {
		struct check_def *def = &d->defs[d->n_defs];

		if (d->n_defs == MAX_CHECKS)
			return err_set(e, -E2BIG, "more than %u checks for one host", MAX_CHECKS);
		snprintf(where, sizeof(where), "VIP %s, DIP %s, check %zu", vip, dip, k + 1);
		if (check_parse(check, where, def, e))
			return -EINVAL;
		def->key = *key;
		d->n_defs++;
	}
	return 0;
}

static int parse(json_t *body, struct desired *d, struct err *e)
{
	json_t *muxes = json_object_get(body, "muxes"), *vips = json_object_get(body, "vips"), *v;
	unsigned int i, k;
	size_t at;
	int ret;

	if (!json_is_object(body))
		return err_set(e, -EINVAL, "the state is an object with \"epoch\", \"generation\", \"muxes\" and \"vips\"");
	if (get_u64(body, "epoch", &d->meta.epoch, e) || get_u64(body, "generation", &d->meta.generation, e))
		return -EINVAL;
	if (!json_is_array(muxes) || !json_is_array(vips))
		return err_set(e, -EINVAL, "\"%s\" is missing or no list", json_is_array(muxes) ? "vips" : "muxes");
	if (json_array_size(muxes) > DECAP_MAX_MUXES)
		return err_set(e, -E2BIG, "more than %u muxes", DECAP_MAX_MUXES);
	if (json_array_size(vips) > DECAP_MAX_SERVED)
		return err_set(e, -E2BIG, "more than %u VIPs for one host", DECAP_MAX_SERVED);
	d->muxes = calloc(json_array_size(muxes) + 1, sizeof(*d->muxes));
	d->keys = calloc(json_array_size(vips) + 1, sizeof(*d->keys));
	d->defs = calloc(MAX_CHECKS, sizeof(*d->defs));
	if (!d->muxes || !d->keys || !d->defs)
		return err_set(e, -ENOMEM, "no memory");
	json_array_foreach(muxes, at, v)
		if (get_v4(v, "\"muxes\"", &d->muxes[d->n_muxes++], e))
			return -EINVAL;
	json_array_foreach(vips, at, v) {
		ret = parse_vip(v, d, e);
		if (ret)
			return ret;
	}
	for (i = 0; i < d->n_keys; i++)
		for (k = 0; k < d->n_keys; k++)
			if (d->keys[i].vip == d->keys[k].dip) {
				char text[ADDR_STRLEN];

				return err_set(e, -EINVAL, "%s is both a VIP and a DIP", str4(d->keys[i].vip, text));
			}
	return 0;
}

static bool has_vip(const struct decap_key *keys, unsigned int n, uint32_t vip)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (keys[i].vip == vip)
			return true;
	return false;
}

static int apply(struct host *host, const struct desired *d, struct changed *c, struct err *e)
{
	struct decap_key *old;
	unsigned int n_old, i;
	int ret;

	ret = dp_served_get(host->dp, &old, &n_old);
	if (ret)
		return err_set(e, ret, "no memory");
	for (i = 0; i < d->n_keys; i++) {
		ret = lo_add(host->lo, d->keys[i].vip, &c->addresses, e);
		if (ret)
			goto out;
	}
	ret = dp_muxes_set(host->dp, d->muxes, d->n_muxes, &c->muxes, e);
	if (!ret)
		ret = dp_served_add(host->dp, d->keys, d->n_keys, &c->added, e);
	if (!ret)
		ret = dp_served_keep(host->dp, d->keys, d->n_keys, &c->removed, e);
	if (ret)
		goto out;
	for (i = 0; i < n_old; i++) {
		if (has_vip(d->keys, d->n_keys, old[i].vip) || has_vip(old, i, old[i].vip))
			continue;
		ret = lo_del(host->lo, old[i].vip, &c->addresses, e);
		if (ret)
			goto out;
	}
	ret = checks_set(host->checks, d->defs, d->n_defs, &c->checks);
	if (ret)
		err_set(e, ret, "health checks: %s", strerror(-ret));
	else if (dp_meta_set(host->dp, &d->meta))
		ret = err_set(e, -errno, "BPF map meta: %s", strerror(errno));
out:
	free(old);
	return ret;
}

static void put_state(struct http_request *req, json_t *body, void *ctx)
{
	struct host *host = ctx;
	struct decap_meta held = {};
	struct changed c = {};
	struct desired d = {};
	struct err e;
	int ret;

	ret = parse(body, &d, &e);
	if (ret) {
		http_problem(req, ret == -EADDRNOTAVAIL || ret == -E2BIG ? 422 : ret == -ENOMEM ? 500 : 400, NULL,
			     "%s", e.text);
		goto out;
	}
	dp_meta_get(host->dp, &held);
	if (d.meta.epoch < held.epoch || (d.meta.epoch == held.epoch && d.meta.generation < held.generation)) {
		http_problem(req, 409, json_pack("{s:I, s:I}", "epoch", (json_int_t)held.epoch, "generation",
						 (json_int_t)held.generation),
			     "epoch %llu generation %llu is older than what is held: epoch %llu generation %llu",
			     d.meta.epoch, d.meta.generation, held.epoch, held.generation);
		goto out;
	}
	ret = apply(host, &d, &c, &e);
	if (ret) {
		log_err("state %llu/%llu is not all made: %s", d.meta.epoch, d.meta.generation, e.text);
		http_problem(req, ret == -E2BIG || ret == -ENOSPC ? 507 : 500, NULL, "%s", e.text);
		goto out;
	}
	if (!host->synced || c.muxes || c.added || c.removed || c.addresses || c.checks) {
		log_info("state %llu/%llu: %u VIPs (%u added, %u removed), %u muxes, %u checks (%u changed)",
			 d.meta.epoch, d.meta.generation, d.n_keys, c.added, c.removed, d.n_muxes, d.n_defs, c.checks);
		host->synced = true;
		report_now(host->report);
	}
	http_reply(req, 200, json_pack("{s:{s:i, s:i, s:i, s:i, s:i}}", "changed", "added", c.added, "removed",
				       c.removed, "muxes", c.muxes, "addresses", c.addresses, "checks", c.checks));
out:
	desired_free(&d);
}

static void get_status(struct http_request *req, json_t *body, void *ctx)
{
	json_t *muxes = json_array(), *counters = json_object(), *vips = json_array();
	unsigned int i, n_muxes = 0, n_keys = 0;
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	struct decap_key *keys = NULL;
	struct decap_meta meta = {};
	struct host *host = ctx;
	struct decap_stat stat;
	uint32_t *list = NULL;
	uint64_t n;

	dp_meta_get(host->dp, &meta);
	dp_muxes_get(host->dp, &list, &n_muxes);
	dp_served_get(host->dp, &keys, &n_keys);
	for (i = 0; i < n_muxes; i++)
		json_array_append_new(muxes, json_string(str4(list[i], vip)));
	for (i = 0; i < __DECAP_MAX; i++) {
		dp_reason(host->dp, i, &n);
		json_object_set_new(counters, dp_reason_name(i), json_integer(n));
	}
	for (i = 0; i < n_keys; i++) {
		dp_stat(host->dp, &keys[i], &stat);
		json_array_append_new(vips, json_pack("{s:s, s:s, s:I, s:I, s:o}", "vip", str4(keys[i].vip, vip), "dip",
						      str4(keys[i].dip, dip), "packets", (json_int_t)stat.packets,
						      "bytes", (json_int_t)stat.bytes, "checks",
						      checks_json(host->checks, &keys[i], false)));
	}
	free(list);
	free(keys);
	http_reply(req, 200, json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:o, s:o, s:o, s:o, s:o}", "name", host->conf.name,
				       "address", addr_str(&host->conf.address, dip), "instance", daemon_instance(), "epoch", (json_int_t)meta.epoch, "generation",
				       (json_int_t)meta.generation, "synced", host->synced, "decapsulator",
				       dp_json(host->dp), "muxes", muxes, "counters", counters, "reports",
				       report_json(host->report), "vips", vips));
}

static void get_health(struct http_request *req, json_t *body, void *ctx)
{
	http_reply_text(req, 200, "text/plain", "ok\n");
}

static void get_metrics(struct http_request *req, json_t *body, void *ctx)
{
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN], rule[16];
	struct metrics *m = metrics_new();
	struct decap_key *keys = NULL;
	unsigned int i, n_keys = 0;
	struct host *host = ctx;
	struct decap_stat stat;
	json_t *checks, *check;
	uint64_t n;
	size_t k;

	if (!m) {
		http_problem(req, 500, NULL, "no memory");
		return;
	}
	dp_served_get(host->dp, &keys, &n_keys);
	metrics_family(m, "duet_host_synced", "gauge", "1 once this process was told its state");
	metrics_add(m, host->synced, NULL);
	metrics_family(m, "duet_host_tunnel_packets_total", "counter", "IPv4-in-IPv4 packets to a DIP of this host, by what became of them");
	for (i = 0; i < __DECAP_MAX; i++) {
		dp_reason(host->dp, i, &n);
		metrics_add(m, n, "result", dp_reason_name(i), NULL);
	}
	metrics_family(m, "duet_host_vip_packets_total", "counter", "packets decapsulated");
	for (i = 0; i < n_keys; i++) {
		dp_stat(host->dp, &keys[i], &stat);
		metrics_add(m, stat.packets, "vip", str4(keys[i].vip, vip), "dip", str4(keys[i].dip, dip), NULL);
	}
	metrics_family(m, "duet_host_vip_bytes_total", "counter", "bytes of the inner packets decapsulated");
	for (i = 0; i < n_keys; i++) {
		dp_stat(host->dp, &keys[i], &stat);
		metrics_add(m, stat.bytes, "vip", str4(keys[i].vip, vip), "dip", str4(keys[i].dip, dip), NULL);
	}
	metrics_family(m, "duet_host_dip_up", "gauge", "health check of a DIP: 1 up, 0 down; absent while unknown");
	checks = checks_json(host->checks, NULL, true);
	json_array_foreach(checks, k, check) {
		const char *state = json_string_value(json_object_get(check, "state"));

		if (!strcmp(state, "unknown"))
			continue;
		snprintf(rule, sizeof(rule), "%lld", json_integer_value(json_object_get(check, "rule")));
		metrics_add(m, !strcmp(state, "up"), "vip", json_string_value(json_object_get(check, "vip")), "dip",
			    json_string_value(json_object_get(check, "dip")), "rule", rule, NULL);
	}
	json_decref(checks);
	http_reply_text(req, 200, "text/plain; version=0.0.4", metrics_text(m));
	metrics_free(m);
	free(keys);
}

const struct http_route host_routes[] = {
	{ "PUT", "/v1/state", put_state },
	{ "GET", "/v1/status", get_status },
	{ "GET", "/healthz", get_health },
	{ "GET", "/metrics", get_metrics },
	{}
};
