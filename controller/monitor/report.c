// SPDX-License-Identifier: GPL-2.0
/*
 * A host's report at the border: whose it is, and what of it is believed. A
 * host speaks for its own address, of VIPs that have a DIP there, of racks that
 * exist and in numbers that its link can carry. All else is left out, counted
 * and shown with the peer's name. What is kept is written afresh, member by
 * member, so that no report holds more memory than its parts are worth.
 *
 * Which VIPs a host has only the updater knows. Of a report with VIPs that are
 * new here the first STRANGE_MAX go to the updater, which looks itself; its
 * answer has the host's VIPs, and report_settle() reads the report once more.
 */
#include "priv.h"

#include <duet/limits.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../api/gate.h"

#define REASON_MAX  200		/* bytes */
#define TARGETS_MAX 256		/* of one DIP */
#define RANGES_MAX  64		/* of SNAT ports, of one VIP */
#define STRANGE_MAX 256		/* rows of VIPs not known to be the host's that the updater is asked about at once */
#define STRANGE_SNAT_MAX 4096	/* a copied store learns from all of them (updater/snatlearn.c) */
#define PIECES_MAX  65536	/* DIPs and rows of traffic of one report */
#define ORDER_MS    2000	/* an earlier number is an overtaken report for so long, then a counter that went back */
/* A host reports every two seconds and at each change. Large reports count as many. */
#define BUDGET_MAX  2000
#define BUDGET_PER_S 400
#define PIECES_UNIT 64
#define STRANGE_UNIT 4

/* url_address - the address in an agent's URL; -EINVAL: it has a name, or is a socket */
static int url_address(const char *url, struct addr *a)
{
	const char *at = url ? strstr(url, "://") : NULL;
	char text[ADDR_STRLEN];
	size_t len;

	if (!at)
		return -EINVAL;
	at += 3;
	len = *at == '[' ? strcspn(++at, "]") : strcspn(at, ":/");
	if (len >= sizeof(text))
		return -EINVAL;
	snprintf(text, sizeof(text), "%.*s", (int)len, at);
	return addr_parse(text, a);
}

bool report_sender(struct monitor *m, struct http_request *req, const struct topo_node *node)
{
	const struct addr *peer = http_peer(req);
	const char *who = auth_name(http_peer_name(req));
	struct addr agent;

	/* the program itself, or who may open the controller's socket: the machine's administrator */
	if (http_is_local(req) || addr_is_none(peer))
		return true;
	if (who && !strcmp(who, node->name))
		return true;
	if (m->ctl->conf.http.tls.cert)
		return false;
	/* without certificates there is only the address, and not even that where the agent's is a name */
	if (url_address(node->agent, &agent))
		return true;
	return !addr_cmp(peer, &node->address) || !addr_cmp(peer, &agent);
}

bool report_afford(struct mhost *h, size_t pieces)
{
	uint64_t now = mono_ms();
	double cost = 1 + (double)pieces / PIECES_UNIT;

	h->budget = h->budget_ms ? fmin(BUDGET_MAX, h->budget + (now - h->budget_ms) * BUDGET_PER_S / 1000.0) : BUDGET_MAX;
	h->budget_ms = now;
	if (pieces > PIECES_MAX || h->budget < cost)
		return false;
	h->budget -= cost;
	return true;
}

/* number - a member as a number from 0 to max; -1: it is another thing */
static json_int_t number(json_t *o, const char *key, json_int_t max)
{
	json_t *v = json_object_get(o, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= max ? json_integer_value(v) : -1;
}

/* vip_text - the VIP of a row in its one form; NULL: it is no address */
static const char *vip_text(json_t *row, char text[ADDR_STRLEN])
{
	struct addr a;

	return addr_parse(get_str(row, "vip", ""), &a) ? NULL : addr_str(&a, text);
}

bool report_has_vip(const struct mhost *h, const char *vip)
{
	return json_object_get(h->vips, vip);
}

/* may_say - is a row of this VIP handed on: its own, and as long as nobody was asked some others */
static bool may_say(const struct mhost *h, const char *vip, unsigned int *strange, unsigned int max)
{
	return report_has_vip(h, vip) || (++*strange <= max && !h->strict);
}

static bool own_dip(const struct mhost *h, json_t *row)
{
	struct addr a;

	return !addr_parse(get_str(row, "dip", ""), &a) && !addr_cmp(&a, &h->node->address);
}

static json_t *targets_of(json_t *dip)
{
	json_t *targets = json_object_get(dip, "targets"), *out, *t;
	size_t i;

	if (!json_array_size(targets))
		return NULL;
	out = json_array();
	json_array_foreach(targets, i, t)
		if (i < TARGETS_MAX && json_object_get(t, "target"))
			json_array_append_new(out, json_pack("{s:o, s:o, s:o}", "target",
				json_cut(get_str(t, "target", ""), NAME_SIZE), "state", json_cut(get_str(t, "state", ""), 16),
				"reason", json_cut(get_str(t, "reason", ""), REASON_MAX)));
	return out;
}

/* again - is this one of a list that has it already: what is kept of a host is bounded by what it has */
static bool again(json_t *seen, const char *vip, json_int_t rule)
{
	char key[ADDR_STRLEN + 24];

	snprintf(key, sizeof(key), "%s|%lld", vip, (long long)rule);
	if (json_object_get(seen, key))
		return true;
	json_object_set_new(seen, key, json_true());
	return false;
}

json_t *report_dips(struct mhost *h, json_t *dips)
{
	json_t *out = json_array(), *seen = json_object(), *row, *o, *targets;
	unsigned int foreign = 0, strange = 0, twice = 0;
	char vip[ADDR_STRLEN], text[ADDR_STRLEN];
	json_int_t rule, since;
	size_t i;

	addr_str(&h->node->address, text);
	json_array_foreach(dips, i, row) {
		if (!own_dip(h, row) || !vip_text(row, vip)) {
			foreign++;
			continue;
		}
		if (!may_say(h, vip, &strange, STRANGE_MAX))
			continue;
		rule = number(row, "rule", DUET_VIP_RULES_MAX);
		if (rule < 0 && json_object_get(row, "rule")) {
			foreign++;
			continue;
		}
		if (again(seen, vip, rule)) {
			twice++;
			continue;
		}
		o = json_pack("{s:s, s:s, s:o, s:o}", "vip", vip, "dip", text, "state", json_cut(get_str(row, "state", "unknown"), 16),
			      "reason", json_cut(get_str(row, "reason", ""), REASON_MAX));
		if (rule >= 0)
			json_object_set_new(o, "rule", json_integer(rule));
		since = number(row, "since-ms", INT64_MAX);
		if (since >= 0)
			json_object_set_new(o, "since-ms", json_integer(since));
		targets = targets_of(row);
		if (targets)
			json_object_set_new(o, "targets", targets);
		json_array_append_new(out, o);
	}
	json_decref(seen);
	if (twice)
		offend(h->monitor, h->node->name, OFFEND_DIP, "%u DIPs are in its report twice: the first counts", twice);
	if (foreign)
		offend(h->monitor, h->node->name, OFFEND_DIP, "%u DIPs in its report aren't its own, which is %s: left out", foreign,
		       text);
	if (h->strict)	/* the next such report is refused before it costs anything */
		h->budget = fmax(h->budget - (double)strange / STRANGE_UNIT, -BUDGET_MAX);
	if (strange && h->strict && h->settled)
		offend(h->monitor, h->node->name, OFFEND_VIP, "%u DIPs in its report are of VIPs that have none there: left out", strange);
	return out;
}

static json_t *ranges_of(json_t *item)
{
	json_t *out = json_array(), *r, *o;
	size_t i;

	json_array_foreach(json_object_get(item, "ranges"), i, r) {
		json_int_t first = number(r, "first", 65535), last = number(r, "last", 65535), used = number(r, "used", 65536);

		if (first < 1 || last < first || i >= RANGES_MAX)
			continue;
		o = json_pack("{s:I, s:I}", "first", first, "last", last);
		if (used >= 0)
			json_object_set_new(o, "used", json_integer(used));
		json_array_append_new(out, o);
	}
	return out;
}

json_t *report_snat(struct mhost *h, json_t *snat)
{
	static const char *const keys[] = { "ports", "used", "fit", "busiest" };
	json_t *vips = json_object_get(snat, "vips"), *list = json_array(), *seen = json_object(), *item, *o;
	json_int_t exhausted = number(snat, "exhausted", INT64_MAX), n;
	char vip[ADDR_STRLEN];
	unsigned int k, bad = 0, strange = 0;
	size_t i;

	json_array_foreach(vips, i, item) {
		if (!vip_text(item, vip)) {
			bad++;
			continue;
		}
		if (!may_say(h, vip, &strange, STRANGE_SNAT_MAX))
			continue;
		if (again(seen, vip, 0)) {
			bad++;
			continue;
		}
		o = json_pack("{s:s, s:o}", "vip", vip, "ranges", ranges_of(item));
		bad += json_array_size(json_object_get(item, "ranges")) != json_array_size(json_object_get(o, "ranges"));
		for (k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
			n = number(item, keys[k], 65536);
			bad += n < 0 && json_object_get(item, keys[k]);
			if (n >= 0)
				json_object_set_new(o, keys[k], json_integer(n));
		}
		json_array_append_new(list, o);
	}
	json_decref(seen);
	if (strange && h->strict && h->settled)
		offend(h->monitor, h->node->name, OFFEND_SNAT, "it has SNAT ports of %u VIPs that have no DIP there: left out", strange);
	if (bad)
		offend(h->monitor, h->node->name, OFFEND_SNAT, "%u SNAT ranges or numbers in its report make no sense: left out", bad);
	if (json_array_size(list))
		return json_pack("{s:o, s:I}", "vips", list, "exhausted", exhausted < 0 ? 0 : exhausted);
	json_decref(list);
	return NULL;
}

static bool strange(const struct mhost *h, json_t *list)
{
	char vip[ADDR_STRLEN];
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row)
		if (!report_has_vip(h, get_str(row, "vip", "")) && vip_text(row, vip) && !report_has_vip(h, vip))
			return true;
	return false;
}

bool report_strange(const struct mhost *h, json_t *body)
{
	return !h->vips || strange(h, json_object_get(body, "dips")) || strange(h, json_object_get(body, "traffic")) ||
	       strange(h, json_object_get(json_object_get(body, "snat"), "vips"));
}

bool report_overtaken(const struct mhost *h, const char *instance, uint64_t seq)
{
	if (strcmp(h->instance, instance) || !seq || seq >= h->seq)
		return false;
	if (mono_ms() - h->heard_ms < ORDER_MS)
		return true;
	offend(h->monitor, h->node->name, OFFEND_ORDER, "its report has number %llu, an earlier one had %llu: taken all the same",
	       (unsigned long long)seq, (unsigned long long)h->seq);
	return false;
}

void report_settle(struct mhost *h, json_t *vips, bool settled)
{
	json_t *body = h->unsorted;
	bool news, others = false;

	json_decref(h->vips);
	h->vips = json_copy(vips);
	h->unsorted = NULL;
	if (!body)
		return;
	h->strict = true;
	h->settled = settled;
	news = report_take(h, body, &others);
	if (news || others)
		tell_host(h, news);
	traffic_add(h->monitor, h, json_object_get(body, "traffic"), h->unsorted_same);
	h->strict = false;
	json_decref(body);
}
