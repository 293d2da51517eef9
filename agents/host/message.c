// SPDX-License-Identifier: GPL-2.0
/*
 * The reader of messages: pure, so that it can be fuzzed. Nothing here trusts what
 * it reads; nothing here touches the system.
 */
#include "message.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#define KIND(t)	{ .size = sizeof(struct t) }
#define ONE(t)	{ .size = sizeof(struct t), .one = true }

const struct message_kind message_kinds[__MESSAGES] = {
	[MSG_BEGIN] = ONE(message_begin), [MSG_MUXES] = KIND(message_prefix), [MSG_RACKS] = KIND(message_rack),
	[MSG_PAIRS] = KIND(message_pair), [MSG_TARGETS] = KIND(message_target), [MSG_PORTS] = KIND(message_port),
	[MSG_MATCHES] = KIND(message_match), [MSG_RULES] = KIND(message_rule), [MSG_DIPS] = KIND(message_dip),
	[MSG_SNAT] = KIND(message_range), [MSG_EXCEPTS] = KIND(message_prefix),
	[MSG_DOWN] = ONE(message_down), [MSG_HEALTH_SET] = ONE(message_health), [MSG_HEALTH_GET] = ONE(decap_health_key),
	[MSG_FENCE] = ONE(decap_meta), [MSG_FORWARDS] = ONE(addr), [MSG_SOCKET] = ONE(message_socket),
};

/* Lists longer than these are nothing that a host could make true. */
static const unsigned int most[MESSAGE_LISTS] = {
	[MSG_MUXES] = DECAP_MAX_MUXES, [MSG_RACKS] = DECAP_MAX_RACKS, [MSG_PAIRS] = DECAP_MAX_SERVED,
	[MSG_TARGETS] = DECAP_MAX_LOCALS, [MSG_PORTS] = 65536, [MSG_MATCHES] = DECAP_MAX_SERVED * DECAP_RULES_MAX,
	[MSG_RULES] = DECAP_MAX_SERVED * DUET_VIP_RULES_MAX, [MSG_DIPS] = DECAP_MAX_SERVED * DUET_VIP_DIPS_MAX,
	[MSG_SNAT] = 8192, [MSG_EXCEPTS] = 1024,
};

unsigned int message_records(enum message type)
{
	return (MESSAGE_MAX - sizeof(struct message_head)) / message_kinds[type].size;
}

int message_check(const void *data, size_t len, const void **records, unsigned int *n)
{
	struct message_head head;
	const struct message_kind *k;

	if (len < sizeof(head) || len > MESSAGE_MAX)
		return -EPROTO;
	memcpy(&head, data, sizeof(head));
	if (head.type >= __MESSAGES || head.n > MESSAGE_MAX)
		return -EPROTO;
	k = &message_kinds[head.type];
	if (len != sizeof(head) + head.n * k->size || (k->one && head.n != 1) || (!k->size && head.n))
		return -EPROTO;
	*records = (const char *)data + sizeof(head);
	*n = head.n;
	return head.type;
}

void draft_free(struct draft *draft)
{
	unsigned int i;

	for (i = 0; i < MESSAGE_LISTS; i++)
		free(draft->lists[i].data);
	explicit_bzero(draft, sizeof(*draft));
}

int draft_add(struct draft *draft, enum message type, const void *records, unsigned int n)
{
	size_t size = message_kinds[type].size;
	unsigned int have, room;
	void *more;

	if (type == MSG_BEGIN) {
		draft_free(draft);
		memcpy(&draft->begin, records, sizeof(draft->begin));
		draft->open = true;
		return 0;
	}
	if (!draft->open || type >= MESSAGE_LISTS)
		return -EPROTO;
	have = draft->lists[type].n;
	if (draft->too_long || n > most[type] - have) {
		draft->too_long = true;
		return 0;
	}
	if (have + n > draft->lists[type].room) {
		room = 2 * (have + n);
		more = realloc(draft->lists[type].data, room * size);
		if (!more)
			return -ENOMEM;
		draft->lists[type].data = more;
		draft->lists[type].room = room;
	}
	if (n)
		memcpy((char *)draft->lists[type].data + have * size, records, n * size);
	draft->lists[type].n += n;
	return 0;
}

/* Reading a draft: how much of each list belongs to the pairs before. */
struct reader {
	const struct draft *draft;
	const struct conf *conf;
	struct desired *d;
	unsigned int at[MESSAGE_LISTS];
	struct err *e;
};

/* next - n records of a list; NULL: it has fewer */
static const void *next(struct reader *r, enum message type, unsigned int n)
{
	static const char none[1];
	unsigned int at = r->at[type];

	if (n > r->draft->lists[type].n - at)
		return NULL;
	r->at[type] += n;
	return n ? (const char *)r->draft->lists[type].data + at * message_kinds[type].size : none;
}

static int bad_count(struct reader *r)
{
	return err_set(r->e, -EINVAL, "the state's lists have fewer rows than its pairs say");
}

/* host_only - an address that a machine can have; what names it */
static int host_only(const struct addr *a, const char *what, struct err *e)
{
	const char *why = addr_not_host(a);
	char text[ADDR_STRLEN];

	return why ? err_set(e, -EINVAL, "%s %s is %s", what, addr_str(a, text), why) : 0;
}

static int read_prefix(const struct message_prefix *m, const char *what, struct prefix *p, struct err *e)
{
	unsigned int bits = addr_is_v4(&m->address) ? 32 : 128, i;
	char text[ADDR_STRLEN];

	if (m->len > bits)
		return err_set(e, -EINVAL, "%s %s/%u: longer than an address", what, addr_str(&m->address, text), m->len);
	for (i = 128 - bits + m->len; i < 128; i++)
		if (m->address.b[i / 8] & 0x80 >> i % 8)
			return err_set(e, -EINVAL, "%s %s/%u has host bits", what, addr_str(&m->address, text), m->len);
	*p = (struct prefix){ .addr = m->address, .len = m->len };
	return 0;
}

static int read_muxes(struct reader *r)
{
	const struct message_prefix *m = r->draft->lists[MSG_MUXES].data;
	unsigned int n = r->draft->lists[MSG_MUXES].n, i;
	char text[ADDR_STRLEN];
	const char *why;

	r->d->muxes = calloc(n + 1, sizeof(*r->d->muxes));
	if (!r->d->muxes)
		return err_set(r->e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++) {
		struct prefix *p = &r->d->muxes[r->d->n_muxes];

		if (read_prefix(&m[i], "mux", p, r->e))
			return -EINVAL;
		why = mux_prefix_refused(p);
		if (why)
			return err_set(r->e, -EINVAL, "mux %s/%u is %s", addr_str(&p->addr, text), p->len, why);
		/* what the host's own configuration doesn't let it believe is left out, as the agent has done already */
		if (prefixes_allow(r->conf->mux_prefixes, r->conf->n_mux_prefixes, p))
			r->d->n_muxes++;
	}
	return 0;
}

static int read_racks(struct reader *r)
{
	const struct message_rack *m = r->draft->lists[MSG_RACKS].data;
	unsigned int n = r->draft->lists[MSG_RACKS].n, i, k;

	r->d->has_racks = r->draft->begin.has_racks;
	r->d->racks = calloc(n + 1, sizeof(*r->d->racks));
	if (!r->d->racks)
		return err_set(r->e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++) {
		struct rack *rack = &r->d->racks[i];
		size_t len = strnlen(m[i].name, sizeof(m[i].name));

		if (!len || len == sizeof(m[i].name))
			return err_set(r->e, -EINVAL, "a rack has no name");
		for (k = len; k < sizeof(m[i].name); k++)
			if (m[i].name[k])
				return err_set(r->e, -EINVAL, "a rack's name has bytes behind its end");
		if (read_prefix(&m[i].prefix, "rack", &rack->prefix, r->e))
			return -EINVAL;
		memcpy(rack->name, m[i].name, sizeof(rack->name));
		r->d->n_racks++;
	}
	return 0;
}

static int read_targets(struct reader *r, const struct message_pair *m, struct pair_def *p)
{
	const struct message_target *t = next(r, MSG_TARGETS, m->n_targets);
	struct addr vip = to_addr(&m->key.vip);
	bool some = false;
	unsigned int i;

	if (!t)
		return bad_count(r);
	if (m->delivery == DELIVER_LO ? m->n_targets : m->delivery == DELIVER_NAT ? m->n_targets != 1 :
	    !m->n_targets || m->n_targets > DUET_SET_DIPS_MAX)
		return err_set(r->e, -EINVAL, "a pair has %u targets, which its delivery can't have", m->n_targets);
	p->locals = r->d->locals + r->d->n_locals;
	for (i = 0; i < m->n_targets; i++) {
		if (host_only(&t[i].address, "the target", r->e))
			return -EINVAL;
		if (addr_is_v4(&t[i].address) != addr_is_v4(&vip) || !addr_cmp(&t[i].address, &vip))
			return err_set(r->e, -EINVAL, "a target is its VIP, or of another family");
		some |= t[i].weight;
		r->d->locals[r->d->n_locals++] = (struct local_def){ .address = t[i].address, .weight = t[i].weight, .down = t[i].down };
	}
	p->n_locals = m->n_targets;
	return m->delivery == DELIVER_VIRTUAL && !some ? err_set(r->e, -EINVAL, "all targets have weight 0") : 0;
}

static int read_ports(struct reader *r, const struct message_pair *m, struct pair_def *p)
{
	const struct message_port *t = next(r, MSG_PORTS, m->n_ports);
	unsigned int i;

	if (!t)
		return bad_count(r);
	if (m->delivery == DELIVER_LO && m->n_ports)
		return err_set(r->e, -EINVAL, "delivery lo changes no ports");
	p->ports = r->d->ports + r->d->n_ports;
	for (i = 0; i < m->n_ports; i++) {
		if ((t[i].proto != IPPROTO_TCP && t[i].proto != IPPROTO_UDP) || !t[i].port || !t[i].to)
			return err_set(r->e, -EINVAL, "a port is changed that is none of TCP or UDP");
		r->d->ports[r->d->n_ports++] = (struct delivery_port){ .proto = t[i].proto, .port = t[i].port, .to = t[i].to };
	}
	p->n_ports = m->n_ports;
	return 0;
}

static int read_matches(struct reader *r, const struct message_pair *m, struct pair_def *p)
{
	const struct message_match *t = next(r, MSG_MATCHES, m->n_matches);
	unsigned int i;

	if (!t)
		return bad_count(r);
	if (!m->has_accepts)
		return m->n_matches ? bad_count(r) : 0;
	if (m->n_matches > DECAP_RULES_MAX || m->fragments > DUET_FRAGMENTS_HASH)
		return err_set(r->e, -EINVAL, "a pair accepts by %u rules, and %u are the most, or has no such policy of fragments",
			       m->n_matches, DECAP_RULES_MAX);
	p->accepts = calloc(1, sizeof(*p->accepts));
	if (!p->accepts)
		return err_set(r->e, -ENOMEM, "no memory");
	p->accepts->fragments = m->fragments;
	for (i = 0; i < m->n_matches; i++) {
		if (t[i].proto > 255 || t[i].port_last < t[i].port)
			return err_set(r->e, -EINVAL, "a pair accepts a range of ports that has none");
		p->accepts->match[p->accepts->n++] =
			(struct duet_match){ .port = t[i].port, .port_last = t[i].port_last, .proto = t[i].proto };
	}
	return 0;
}

static int read_rule(struct reader *r, const struct message_rule *m, struct vip_rule *rule)
{
	const struct message_dip *t = next(r, MSG_DIPS, m->n_dips);
	unsigned int i;

	if (!t)
		return bad_count(r);
	if (!m->n_dips || m->n_dips > DUET_SET_DIPS_MAX || m->proto > 255 || m->port_last < m->port || m->fields > DUET_FIELDS_SRC)
		return err_set(r->e, -EINVAL, "a rule of a VIP has no DIPs, or values that no rule has");
	rule->dips = calloc(m->n_dips, sizeof(*rule->dips));
	if (!rule->dips)
		return err_set(r->e, -ENOMEM, "no memory");
	rule->proto = m->proto;
	rule->port = m->port;
	rule->port_last = m->port_last;
	rule->fields = m->fields;
	for (i = 0; i < m->n_dips; i++) {
		if (host_only(&t[i].address, "the DIP", r->e))
			return -EINVAL;
		if (t[i].state > DUET_DIP_DRAIN)
			return err_set(r->e, -EINVAL, "a DIP has no such state");
		rule->dips[rule->n_dips++] = (struct vip_dip){ .addr = t[i].address, .weight = t[i].weight, .state = t[i].state };
	}
	return 0;
}

static int read_rules(struct reader *r, const struct message_pair *m, struct pair_def *p)
{
	const struct message_rule *t = next(r, MSG_RULES, m->n_rules);
	unsigned int i;
	int ret;

	if (!t)
		return bad_count(r);
	if (!m->has_rules)
		return m->n_rules ? bad_count(r) : 0;
	if (!m->n_rules || m->n_rules > DUET_VIP_RULES_MAX)
		return err_set(r->e, -EINVAL, "a VIP has 1 to %u rules", DUET_VIP_RULES_MAX);
	p->rules = calloc(1, sizeof(*p->rules));
	if (p->rules)
		p->rules->rules = calloc(m->n_rules, sizeof(*p->rules->rules));
	if (!p->rules || !p->rules->rules)
		return err_set(r->e, -ENOMEM, "no memory");
	p->rules->addr = to_addr(&m->key.vip);
	for (i = 0; i < m->n_rules; i++) {
		p->rules->n_rules = i + 1;
		ret = read_rule(r, &t[i], &p->rules->rules[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_pair(struct reader *r, const struct message_pair *m)
{
	struct addr vip = to_addr(&m->key.vip), dip = to_addr(&m->key.dip);
	struct pair_def *p = &r->d->pairs[r->d->n_pairs];
	struct prefix host = host_prefix(&vip);
	char text[ADDR_STRLEN];
	int ret;

	if (host_only(&vip, "VIP", r->e) || host_only(&dip, "DIP", r->e))
		return -EINVAL;
	addr_str(&vip, text);
	if (!prefixes_allow(r->conf->vip_prefixes, r->conf->n_vip_prefixes, &host))
		return err_set(r->e, -EACCES, "VIP %s is in no prefix of [host] vip-prefixes", text);
	if (!addr_cmp(&vip, &dip) || !addr_cmp(&vip, &r->conf->address))
		return err_set(r->e, -EINVAL, "VIP %s is this host's own address", text);
	if (m->delivery > DELIVER_VIRTUAL || m->hash_key >= DUET_KEYS)
		return err_set(r->e, -EINVAL, "VIP %s: there is no such delivery or key", text);
	r->d->n_pairs++;
	p->key = m->key;
	p->delivery = m->delivery;
	p->hash_key = m->hash_key;
	p->keep = m->keep;
	ret = read_targets(r, m, p);
	if (!ret)
		ret = read_ports(r, m, p);
	if (!ret)
		ret = read_matches(r, m, p);
	return ret ?: read_rules(r, m, p);
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct decap_key));
}

/* distinct - no pair twice, no VIP that is a DIP too: that would have no end */
static int distinct(struct reader *r)
{
	struct decap_key *keys = calloc(r->d->n_pairs + 1, sizeof(*keys));
	struct decap_addr *dips = calloc(r->d->n_pairs + 1, sizeof(*dips));
	char text[ADDR_STRLEN];
	unsigned int i;
	int ret = 0;

	if (!keys || !dips)
		ret = err_set(r->e, -ENOMEM, "no memory");
	for (i = 0; i < r->d->n_pairs && !ret; i++) {
		keys[i] = r->d->pairs[i].key;
		dips[i] = keys[i].dip;
	}
	if (!ret) {
		qsort(keys, r->d->n_pairs, sizeof(*keys), by_key);
		qsort(dips, r->d->n_pairs, sizeof(*dips), (int (*)(const void *, const void *))addr_cmp);
	}
	for (i = 0; i < r->d->n_pairs && !ret; i++) {
		if (i && !by_key(&keys[i - 1], &keys[i]))
			ret = err_set(r->e, -EINVAL, "VIP %s is there twice with one DIP", str_addr(&keys[i].vip, text));
		else if (bsearch(&keys[i].vip, dips, r->d->n_pairs, sizeof(*dips), (int (*)(const void *, const void *))addr_cmp))
			ret = err_set(r->e, -EINVAL, "%s is both a VIP and a DIP", str_addr(&keys[i].vip, text));
	}
	free(keys);
	free(dips);
	return ret;
}

static int read_pairs(struct reader *r)
{
	const struct draft *draft = r->draft;
	const struct message_pair *m = draft->lists[MSG_PAIRS].data;
	unsigned int n = draft->lists[MSG_PAIRS].n, i;
	int ret = 0;

	r->d->pairs = calloc(n + 1, sizeof(*r->d->pairs));
	r->d->locals = calloc(draft->lists[MSG_TARGETS].n + 1, sizeof(*r->d->locals));
	r->d->ports = calloc(draft->lists[MSG_PORTS].n + 1, sizeof(*r->d->ports));
	if (!r->d->pairs || !r->d->locals || !r->d->ports)
		return err_set(r->e, -ENOMEM, "no memory");
	for (i = 0; i < n && !ret; i++)
		ret = read_pair(r, &m[i]);
	for (i = MSG_TARGETS; i <= MSG_DIPS && !ret; i++)
		if (r->at[i] != draft->lists[i].n)
			ret = err_set(r->e, -EINVAL, "the state's lists have more rows than its pairs say");
	return ret ?: distinct(r);
}

static int read_snat(struct reader *r)
{
	const struct message_range *m = r->draft->lists[MSG_SNAT].data;
	unsigned int n = r->draft->lists[MSG_SNAT].n, i, k;
	char text[ADDR_STRLEN];

	r->d->snat = calloc(n + 1, sizeof(*r->d->snat));
	if (!r->d->snat)
		return err_set(r->e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++) {
		bool served = false;

		addr_str(&m[i].vip, text);
		if (m[i].first < 1024 || m[i].last < m[i].first)
			return err_set(r->e, -EINVAL, "SNAT of VIP %s: no ports from 1024 to 65535", text);
		for (k = 0; k < i; k++)
			if (!addr_cmp(&m[k].vip, &m[i].vip) && m[i].first <= m[k].last && m[i].last >= m[k].first)
				return err_set(r->e, -EINVAL, "SNAT of VIP %s: ranges overlap", text);
		for (k = 0; k < r->d->n_pairs; k++) {
			struct addr vip = to_addr(&r->d->pairs[k].key.vip);

			if (addr_cmp(&vip, &m[i].vip))
				continue;
			if (!r->d->pairs[k].rules)
				return err_set(r->e, -EINVAL, "SNAT of VIP %s: its rules aren't there", text);
			r->d->pairs[k].snats++;
			served = true;
		}
		if (!served)
			return err_set(r->e, -EINVAL, "SNAT of VIP %s: it isn't served here", text);
		r->d->snat[r->d->n_snat++] = (struct snat_def){ m[i].vip, m[i].first, m[i].last };
	}
	return 0;
}

static int read_excepts(struct reader *r)
{
	const struct message_prefix *m = r->draft->lists[MSG_EXCEPTS].data;
	unsigned int n = r->draft->lists[MSG_EXCEPTS].n, i;

	r->d->excepts = calloc(n + 1, sizeof(*r->d->excepts));
	if (!r->d->excepts)
		return err_set(r->e, -ENOMEM, "no memory");
	for (i = 0; i < n; i++)
		if (read_prefix(&m[i], "SNAT exception", &r->d->excepts[r->d->n_excepts++], r->e))
			return -EINVAL;
	return 0;
}

/* snat_blob - all that SNAT goes by, to see whether it has changed */
static int snat_blob(struct reader *r)
{
	static const enum message of[] = { MSG_PAIRS, MSG_TARGETS, MSG_PORTS, MSG_RULES, MSG_DIPS, MSG_SNAT, MSG_EXCEPTS };
	const struct draft *draft = r->draft;
	size_t len = sizeof(draft->begin.keys);
	unsigned int i;
	char *at;

	if (!r->d->n_snat)
		return 0;
	for (i = 0; i < sizeof(of) / sizeof(*of); i++)
		len += draft->lists[of[i]].n * message_kinds[of[i]].size;
	at = malloc(len);
	if (!at)
		return err_set(r->e, -ENOMEM, "no memory");
	r->d->snat_blob = at;
	r->d->snat_len = len;
	memcpy(at, draft->begin.keys, sizeof(draft->begin.keys));
	at += sizeof(draft->begin.keys);
	for (i = 0; i < sizeof(of) / sizeof(*of); i++) {
		size_t size = draft->lists[of[i]].n * message_kinds[of[i]].size;

		if (size)
			memcpy(at, draft->lists[of[i]].data, size);
		at += size;
	}
	return 0;
}

int draft_finish(struct draft *draft, const struct conf *conf, struct desired *d, struct err *e)
{
	struct reader r = { .draft = draft, .conf = conf, .d = d, .e = e };
	int ret = 0;

	memset(d, 0, sizeof(*d));
	if (!draft->open)
		ret = err_set(e, -EINVAL, "there is no state to make");
	else if (draft->too_long)
		ret = err_set(e, -E2BIG, "a list of the state is longer than a host can use");
	memcpy(d->keys, draft->begin.keys, sizeof(d->keys));
	d->has_ports = draft->begin.has_ports;
	if (!ret)
		ret = read_muxes(&r);
	if (!ret)
		ret = read_racks(&r);
	if (!ret)
		ret = read_pairs(&r);
	if (!ret)
		ret = read_snat(&r);
	if (!ret)
		ret = read_excepts(&r);
	if (!ret)
		ret = snat_blob(&r);
	if (ret)
		desired_free(d);
	draft_free(draft);
	return ret;
}
