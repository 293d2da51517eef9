// SPDX-License-Identifier: GPL-2.0
/* Reads a desired state (PUT /v1/state) whole, or refuses it whole with a sentence. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fields.h"
#include "host.h"

#define MAX_CHECKS 4096

void desired_free(struct desired *d)
{
	unsigned int i;

	for (i = 0; i < d->n_pairs; i++) {
		vip_free(d->pairs[i].rules);
		free(d->pairs[i].accepts);
	}
	free(d->snat);
	free(d->excepts);
	free(d->snat_blob);
	free(d->muxes);
	free(d->racks);
	free(d->pairs);
	free(d->locals);
	free(d->ports);
	free(d->checks);
	explicit_bzero(d, sizeof(*d));
}

static int get_u64(json_t *body, const char *key, __u64 *out, struct err *e)
{
	json_t *v = json_object_get(body, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return err_set(e, -EINVAL, "\"%s\" is missing or no number from 0 on", key);
	*out = json_integer_value(v);
	return 0;
}

bool host_has(const struct addr *address)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in to4 = { .sin_family = AF_INET };
	bool v4 = addr_is_v4(address), ok;
	const void *raw;
	size_t len;
	int fd;

	raw = addr_raw(address, &len);
	memcpy(v4 ? (void *)&to4.sin_addr : (void *)&to6.sin6_addr, raw, len);
	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ok = fd >= 0 && !bind(fd, v4 ? (struct sockaddr *)&to4 : (struct sockaddr *)&to6, v4 ? sizeof(to4) : sizeof(to6));
	if (fd >= 0)
		close(fd);
	return ok;
}

static int read_locals(json_t *json, struct desired *d, struct pair_def *p, const struct addr *vip, const struct addr *dip,
		       const char *where, struct err *e)
{
	json_t *list = json_object_get(json, "targets");
	struct delivery_target *targets = calloc(json_array_size(list) + 1, sizeof(*targets));
	unsigned int n = 0, i;
	int ret = -ENOMEM;

	if (targets)
		ret = delivery_targets(list, (enum delivery)p->delivery, vip, dip, where, targets, &n, e);
	else
		err_set(e, ret, "no memory");
	if (n && !ret)
		p->locals = d->locals + d->n_locals;
	for (i = 0; i < n && !ret; i++)
		d->locals[d->n_locals++] = (struct local_def){ .address = targets[i].address, .weight = targets[i].weight };
	p->n_locals = ret ? 0 : n;
	free(targets);
	return ret;
}

static int read_ports(json_t *json, struct desired *d, struct pair_def *p, const char *where, struct err *e)
{
	struct delivery_port *ports = d->ports + d->n_ports;

	p->ports = ports;
	if (delivery_ports(json_object_get(json, "ports"), (enum delivery)p->delivery, where, ports, &p->n_ports, e))
		return -EINVAL;
	d->n_ports += p->n_ports;
	return 0;
}

/* read_checks - of a pair: one for each target, or for the VIP on lo */
static int read_checks(json_t *json, struct desired *d, const struct pair_def *p, const char *where, struct err *e)
{
	json_t *list = json_object_get(json, "checks"), *check;
	unsigned int t;
	char at[200];
	size_t k;

	if (list && !json_is_array(list))
		return err_set(e, -EINVAL, "%s: \"checks\" is no list", where);
	json_array_foreach(list, k, check) {
		struct check_def def = {};

		snprintf(at, sizeof(at), "%.150s, check %zu", where, k + 1);
		if (probe_parse(check, 0, at, &def.probe, e) || field_uint(check, "rule", 0, 65535, 0, at, &def.rule, e))
			return -EINVAL;
		def.key = p->key;
		for (t = 0; t < (p->n_locals ?: 1); t++) {
			if (d->n_checks == MAX_CHECKS)
				return err_set(e, -E2BIG, "more than %u checks for one host", MAX_CHECKS);
			if (p->n_locals)
				def.target = p->locals[t].address;
			d->checks[d->n_checks++] = def;
		}
	}
	return 0;
}

/* by_port - the order in which muxes match: with a port, with a protocol, all */
static int by_port(const void *a, const void *b)
{
	const struct duet_match *x = a, *y = b;

	return (!x->port - !y->port) ?: (!x->proto - !y->proto);
}

/* read_accepts - "accept": [{"proto", "port"}], else the same of "rules"; and "fragments" */
static int read_accepts(json_t *json, struct pair_def *p, const char *vip, struct err *e)
{
	json_t *list = json_object_get(json, "accept") ?: json_object_get(json, "rules"), *v;
	struct vip_policy policy = {};
	char where[128];
	size_t i;

	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > DECAP_RULES_MAX)
		return err_set(e, -EINVAL, "VIP %s: \"accept\" is a list of at most %u rules", vip, DECAP_RULES_MAX);
	if (vip_policy_from_json(json, vip, &policy, e))
		return -EINVAL;
	p->accepts = calloc(1, sizeof(*p->accepts));
	if (!p->accepts)
		return err_set(e, -ENOMEM, "no memory");
	p->accepts->fragments = policy.fragments;
	json_array_foreach(list, i, v) {
		struct vip_rule rule = {};

		snprintf(where, sizeof(where), "VIP %s, rule %zu", vip, i + 1);
		if (vip_match_from_json(v, where, &rule, e))
			return -EINVAL;
		p->accepts->match[p->accepts->n++] = (struct duet_match){ .port = rule.port, .port_last = rule.port_last, .proto = rule.proto };
	}
	qsort(p->accepts->match, p->accepts->n, sizeof(*p->accepts->match), by_port);
	return 0;
}

static int read_pair(json_t *json, struct desired *d, struct err *e)
{
	const char *vip_text = json_string_value(json_object_get(json, "vip"));
	struct pair_def *p = &d->pairs[d->n_pairs];
	char where[128], text[ADDR_STRLEN];
	struct addr vip, dip;
	enum delivery how;
	unsigned int i;
	int ret;

	if (!json_is_object(json))
		return err_set(e, -EINVAL, "an element of \"vips\" is no object");
	if (host_address(json_object_get(json, "vip"), "\"vip\"", &vip, e))
		return -EINVAL;
	snprintf(where, sizeof(where), "VIP %s: \"dip\"", vip_text);
	if (host_address(json_object_get(json, "dip"), where, &dip, e))
		return -EINVAL;
	if (!addr_cmp(&vip, &dip))
		return err_set(e, -EINVAL, "VIP %s: a VIP can't be its own DIP", vip_text);
	p->key = (struct decap_key){ of_addr(&vip), of_addr(&dip) };
	addr_str(&dip, text);
	for (i = 0; i < d->n_pairs; i++)
		if (!memcmp(&d->pairs[i].key, &p->key, sizeof(p->key)))
			return err_set(e, -EINVAL, "VIP %s: DIP %s is given twice", vip_text, text);
	if (!host_has(&dip))
		return err_set(e, -EADDRNOTAVAIL, "VIP %s: DIP %s is no address of this host", vip_text, text);
	d->n_pairs++;

	snprintf(where, sizeof(where), "VIP %s, DIP %s", vip_text, text);
	if (delivery_parse(json_object_get(json, "delivery"), where, &how, e))
		return -EINVAL;
	/* written by one reader for host and controller, read by the BPF program, which has no libraries */
	_Static_assert((int)DELIVERY_LO == DELIVER_LO && (int)DELIVERY_NAT == DELIVER_NAT && (int)DELIVERY_VIRTUAL == DELIVER_VIRTUAL,
		       "one list of deliveries");
	p->delivery = (enum decap_delivery)how;
	if (field_uint(json, "key", 0, DUET_KEYS - 1, 0, where, &p->hash_key, e))
		return -EINVAL;
	if (keys_have(d->keys, p->hash_key, where, e))
		return -EINVAL;
	if (json_object_get(json, "keep") && !json_is_boolean(json_object_get(json, "keep")))
		return err_set(e, -EINVAL, "%s: \"keep\" is true or false", where);
	p->keep = json_is_true(json_object_get(json, "keep"));
	if (json_object_get(json, "rules") && vip_from_json(json, &p->rules, e))
		return -EINVAL;
	ret = read_accepts(json, p, vip_text, e);
	if (!ret)
		ret = read_locals(json, d, p, &vip, &dip, where, e);
	if (!ret)
		ret = read_ports(json, d, p, where, e);
	return ret ?: read_checks(json, d, p, where, e);
}

static int read_racks(json_t *list, struct desired *d, struct err *e)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *prefix = json_string_value(json_object_get(v, "prefix"));
		const char *name = json_string_value(json_object_get(v, "rack"));
		struct rack *r = &d->racks[d->n_racks];

		if (!prefix || prefix_parse(prefix, &r->prefix))
			return err_set(e, -EINVAL, "\"racks\": \"%s\" is no prefix", prefix ?: "");
		if (!name || !name[0] || strlen(name) >= sizeof(r->name))
			return err_set(e, -EINVAL, "\"racks\": prefix %s: \"rack\" must be a name of 1 to %zu characters", prefix,
				       sizeof(r->name) - 1);
		snprintf(r->name, sizeof(r->name), "%s", name);
		d->n_racks++;
	}
	return 0;
}

/* What stays inside a data centre, if the controller says nothing else. */
static const char *const inside[] = {
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
};
/* What never leaves as a VIP. */
static const char *const never[] = {
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8",
};

static int read_excepts(json_t *list, struct desired *d, struct err *e)
{
	unsigned int i;
	json_t *v;
	size_t k;

	if (list && !json_is_array(list))
		return err_set(e, -EINVAL, "\"snat_except\" is no list");
	d->excepts = calloc(json_array_size(list) + sizeof(inside) / sizeof(*inside) + sizeof(never) / sizeof(*never) + 1,
			    sizeof(*d->excepts));
	if (!d->excepts)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < sizeof(never) / sizeof(*never); i++)
		prefix_parse(never[i], &d->excepts[d->n_excepts++]);
	for (i = 0; !list && i < sizeof(inside) / sizeof(*inside); i++)
		prefix_parse(inside[i], &d->excepts[d->n_excepts++]);
	json_array_foreach(list, k, v)
		if (!json_is_string(v) || prefix_parse(json_string_value(v), &d->excepts[d->n_excepts++]))
			return err_set(e, -EINVAL, "\"snat_except\": \"%s\" is no prefix", json_string_value(v) ?: "");
	return 0;
}

/* read_snat - [{"vip", "first", "last"}]; after the pairs, which they belong to */
static int read_snat(json_t *list, struct desired *d, struct err *e)
{
	char where[80], text[ADDR_STRLEN];
	unsigned int i, first, last;
	json_t *v;
	size_t k;

	if (list && !json_is_array(list))
		return err_set(e, -EINVAL, "\"snat\" is no list");
	d->snat = calloc(json_array_size(list) + 1, sizeof(*d->snat));
	if (!d->snat)
		return err_set(e, -ENOMEM, "no memory");
	json_array_foreach(list, k, v) {
		struct snat_def *s = &d->snat[d->n_snat];
		bool served = false;

		if (host_address(json_object_get(v, "vip"), "\"snat\": \"vip\"", &s->vip, e))
			return -EINVAL;
		snprintf(where, sizeof(where), "SNAT of VIP %s", addr_str(&s->vip, text));
		if (field_uint(v, "first", 1024, 65535, 0, where, &first, e) || field_uint(v, "last", 1024, 65535, 0, where, &last, e))
			return -EINVAL;
		if (!first || last < first)
			return err_set(e, -EINVAL, "%s: needs \"first\" and \"last\", from 1024 to 65535", where);
		s->first = first;
		s->last = last;
		for (i = 0; i < d->n_snat; i++)
			if (!addr_cmp(&d->snat[i].vip, &s->vip) && first <= d->snat[i].last && last >= d->snat[i].first)
				return err_set(e, -EINVAL, "%s: ranges %u-%u and %u-%u overlap", where, d->snat[i].first,
					       d->snat[i].last, first, last);
		for (i = 0; i < d->n_pairs; i++) {
			struct addr vip = to_addr(&d->pairs[i].key.vip);

			if (addr_cmp(&vip, &s->vip))
				continue;
			if (!d->pairs[i].rules)
				return err_set(e, -EINVAL, "%s: needs the \"rules\" of the VIP, as muxes have them", where);
			d->pairs[i].snats++;
			served = true;
		}
		if (!served)
			return err_set(e, -EINVAL, "%s: that VIP isn't served here", where);
		d->n_snat++;
	}
	return 0;
}

static unsigned int count(json_t *vips, const char *key)
{
	unsigned int n = 0;
	json_t *v;
	size_t i;

	json_array_foreach(vips, i, v)
		n += json_array_size(json_object_get(v, key)) + 1;
	return n;
}

/* overlaps - a VIP that is a DIP too would have no end */
static int overlaps(const struct desired *d, struct err *e)
{
	char text[ADDR_STRLEN];
	unsigned int i, k;

	for (i = 0; i < d->n_pairs; i++)
		for (k = 0; k < d->n_pairs; k++)
			if (!memcmp(&d->pairs[i].key.vip, &d->pairs[k].key.dip, sizeof(struct decap_addr)))
				return err_set(e, -EINVAL, "%s is both a VIP and a DIP", str_addr(&d->pairs[i].key.vip, text));
	return 0;
}

/* read_mux - its address, or the prefix that the sources of its tunnels are in */
static int read_mux(json_t *v, struct prefix *p, struct err *e)
{
	const char *text = json_string_value(v), *why;
	struct addr one;

	if (!text || !strchr(text, '/')) {
		if (host_address(v, "\"muxes\"", &one, e))
			return -EINVAL;
		*p = host_prefix(&one);
		return 0;
	}
	if (prefix_parse(text, p))
		return err_set(e, -EINVAL, "\"muxes\": \"%.64s\" is no address and no prefix such as 10.1.0.0/28 with no host bits", text);
	why = mux_prefix_refused(p);
	return why ? err_set(e, -EINVAL, "\"muxes\": %s is %s: a mux has no such sources", text, why) : 0;
}

int desired_read(json_t *body, struct desired *d, struct err *e)
{
	json_t *muxes = json_object_get(body, "muxes"), *vips = json_object_get(body, "vips"), *v;
	json_t *racks = json_object_get(body, "racks");
	size_t at;
	int ret;

	if (!json_is_object(body))
		return err_set(e, -EINVAL, "the state is an object with \"epoch\", \"generation\", \"muxes\" and \"vips\"");
	if (get_u64(body, "epoch", &d->meta.epoch, e) || get_u64(body, "generation", &d->meta.generation, e) ||
	    keys_from_json(body, json_array_size(json_object_get(body, "snat")), d->keys, e))
		return -EINVAL;
	if (!json_is_array(muxes) || !json_is_array(vips))
		return err_set(e, -EINVAL, "\"%s\" is missing or no list", json_is_array(muxes) ? "vips" : "muxes");
	if (racks && !json_is_array(racks))
		return err_set(e, -EINVAL, "\"racks\" is no list");
	if (json_array_size(muxes) > DECAP_MAX_MUXES)
		return err_set(e, -E2BIG, "more than %u muxes", DECAP_MAX_MUXES);
	if (json_array_size(vips) > DECAP_MAX_SERVED)
		return err_set(e, -E2BIG, "more than %u VIPs for one host", DECAP_MAX_SERVED);
	if (json_array_size(racks) > DECAP_MAX_RACKS)
		return err_set(e, -E2BIG, "more than %u rack prefixes", DECAP_MAX_RACKS);
	d->muxes = calloc(json_array_size(muxes) + 1, sizeof(*d->muxes));
	d->racks = calloc(json_array_size(racks) + 1, sizeof(*d->racks));
	d->pairs = calloc(json_array_size(vips) + 1, sizeof(*d->pairs));
	d->locals = calloc(count(vips, "targets") + 1, sizeof(*d->locals));
	d->ports = calloc(count(vips, "ports") + 1, sizeof(*d->ports));
	d->checks = calloc(MAX_CHECKS, sizeof(*d->checks));
	if (!d->muxes || !d->racks || !d->pairs || !d->locals || !d->ports || !d->checks)
		return err_set(e, -ENOMEM, "no memory");
	json_array_foreach(muxes, at, v)
		if (read_mux(v, &d->muxes[d->n_muxes++], e))
			return -EINVAL;
	ret = read_racks(racks, d, e);
	if (!ret)
		ret = field_text(body, "racks_id", "the state", d->racks_id, sizeof(d->racks_id), e);
	if (ret)
		return ret;
	d->has_racks = racks;
	json_array_foreach(vips, at, v) {
		ret = read_pair(v, d, e);
		if (ret)
			return ret;
	}
	ret = overlaps(d, e);
	if (!ret)
		ret = read_excepts(json_object_get(body, "snat_except"), d, e);
	if (!ret)
		ret = read_snat(json_object_get(body, "snat"), d, e);
	return ret;
}
