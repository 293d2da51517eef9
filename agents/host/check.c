// SPDX-License-Identifier: GPL-2.0
/*
 * Health checks: what a probe's result means. A state changes after `rise` or
 * `fall` results in a row, is what "initial" says before that, and outlives the
 * agent. All checks of a host share one event loop.
 */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "helper.h"
#include "log.h"

static const struct probe_ops *const kinds[] = {
	[CHECK_TCP] = &probe_tcp, [CHECK_HTTP] = &probe_http, [CHECK_HTTPS] = &probe_https,
	[CHECK_ICMP] = &probe_icmp, [CHECK_COMMAND] = &probe_command,
};

static void arm(struct check *c, uint64_t when)
{
	sd_event_source_set_time(c->timer, when);
	sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static struct decap_health_key health_key(const struct check *c)
{
	return (struct decap_health_key){ .vip = c->def.key.vip, .dip = c->def.key.dip, .target = of_addr(&c->def.target),
					  .rule = c->def.rule };
}

static void keep(const struct check *c)
{
	struct decap_health_key key = health_key(c);
	struct decap_health health = { .state = c->state, .since_ms = c->since_ms };

	snprintf(health.reason, sizeof(health.reason), "%s", c->reason);
	helper_health_set(c->all->helper, &key, &health);
}

void check_result(struct check *c, const char *reason)
{
	uint64_t now = mono_usec(), next = c->started + c->def.probe.interval_ms * 1000ull;
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	bool ok = !reason[0];
	enum check_state state = c->state;

	kinds[c->def.probe.type]->cancel(c);
	c->probing = false;
	c->probes++;
	if (!ok)
		c->failures++;
	if (!c->streak || ok != c->streak_ok) {
		c->streak_ok = ok;
		c->streak = 0;
	}
	if (c->streak < 100)
		c->streak++;
	if (ok && c->streak >= c->def.probe.rise)
		state = CHECK_UP;
	else if (!ok && c->streak >= c->def.probe.fall)
		state = CHECK_DOWN;
	/* a service that closed its socket is asked again at once, until it is clear */
	if (c->hurried && !ok && c->state != CHECK_DOWN && state != CHECK_DOWN)
		next = now;
	else
		c->hurried = false;
	arm(c, next > now ? next : now);
	if (state == c->state)
		return;
	c->state = state;
	c->since_ms = wall_ms();
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	keep(c);
	log_notice("%s of %s, rule %u: %s%s%s",
		   addr_is_none(&c->def.target) ? str_addr(&c->def.key.dip, dip) : addr_str(&c->def.target, dip),
		   str_addr(&c->def.key.vip, vip), c->def.rule, check_state_names[state], reason[0] ? ": " : "", reason);
	c->all->changed(&c->def.key, c->all->ctx);
}

void check_failed(struct check *c, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	check_result(c, text);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct check *c = ctx;
	const struct probe_ops *ops = kinds[c->def.probe.type];

	if (c->probing) {
		check_failed(c, "no %s within %u ms", ops->awaits(c), c->def.probe.timeout_ms);
		return 0;
	}
	c->started = mono_usec();
	c->probing = true;
	c->connected = false;
	c->sent = c->len = 0;
	arm(c, c->started + c->def.probe.timeout_ms * 1000ull);
	ops->start(c);
	return 0;
}

void checks_hurry(struct checks *all)
{
	unsigned int i;

	for (i = 0; i < all->n; i++) {
		struct check *c = all->list[i];

		if (!c->def.probe.port || c->state == CHECK_DOWN)
			continue;
		c->hurried = true;
		if (!c->probing)
			arm(c, 0);
	}
}

static void check_free(struct check *c)
{
	kinds[c->def.probe.type]->cancel(c);
	sd_event_source_disable_unref(c->timer);
	free(c);
}

static struct check *check_new(struct checks *all, const struct check_def *def)
{
	struct check *c = calloc(1, sizeof(*c));
	struct decap_health_key key;
	struct decap_health health;

	if (!c)
		return NULL;
	c->def = *def;
	c->all = all;
	c->fd = -1;
	c->state = def->probe.initial;
	c->since_ms = wall_ms();
	snprintf(c->reason, sizeof(c->reason), "not yet probed %u times", def->probe.rise);
	key = health_key(c);
	if (helper_health_get(all->helper, &key, &health) && health.state <= CHECK_DOWN) {
		c->state = health.state;
		c->since_ms = health.since_ms;
		snprintf(c->reason, sizeof(c->reason), "%.150s", health.reason);
	}
	/* accuracy 1: the default would put a timeout off by up to 250 ms */
	if (sd_event_add_time(all->loop, &c->timer, CLOCK_MONOTONIC, 0, 1, on_timer, c) < 0) {
		free(c);
		return NULL;
	}
	keep(c);
	return c;
}

int checks_start(sd_event *loop, struct helper *helper, void (*changed)(const struct decap_key *key, void *ctx), void *ctx,
		 struct checks **out)
{
	struct checks *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->helper = helper;
	all->changed = changed;
	all->ctx = ctx;
	*out = all;
	return 0;
}

void checks_stop(struct checks *all)
{
	unsigned int i;

	if (!all)
		return;
	for (i = 0; i < all->n; i++)
		check_free(all->list[i]);
	curl_probes_stop(all->curl);
	free(all->list);
	free(all);
}

/* same_subject - both tell the state of the same thing, however they ask */
static bool same_subject(const struct check_def *a, const struct check_def *b)
{
	return !memcmp(&a->key, &b->key, sizeof(a->key)) && !addr_cmp(&a->target, &b->target) && a->rule == b->rule;
}

static int by_subject(const void *a, const void *b)
{
	const struct check_def *x = &(*(struct check *const *)a)->def, *y = &(*(struct check *const *)b)->def;
	int order = memcmp(&x->key, &y->key, sizeof(x->key)) ?: addr_cmp(&x->target, &y->target);

	return order ?: (int)x->rule - (int)y->rule;
}

/* find - the check of that subject in a list sorted by it; the first of several */
static struct check **find(struct check **list, unsigned int n, const struct check_def *def)
{
	struct check key = { .def = *def }, *at = &key, **found;

	found = n ? bsearch(&at, list, n, sizeof(*list), by_subject) : NULL;
	while (found && found > list && same_subject(&found[-1]->def, def))
		found--;
	return found;
}

int checks_set(struct checks *all, const struct check_def *defs, unsigned int n, unsigned int *changed)
{
	struct check **list = calloc(n + 1, sizeof(*list)), **old;
	bool *taken = calloc(all->n + 1, sizeof(*taken));
	struct decap_health_key key;
	unsigned int i, k;
	int ret = -ENOMEM;

	if (!list || !taken)
		goto out;
	qsort(all->list, all->n, sizeof(*all->list), by_subject);
	for (i = 0; i < n; i++) {
		for (old = find(all->list, all->n, &defs[i]); old && old < all->list + all->n &&
		     same_subject(&(*old)->def, &defs[i]); old++)
			if (!taken[old - all->list] && !memcmp(&(*old)->def, &defs[i], sizeof(*defs)))
				break;
		if (old && old < all->list + all->n && same_subject(&(*old)->def, &defs[i])) {
			taken[old - all->list] = true;
			list[i] = *old;
			continue;
		}
		list[i] = check_new(all, &defs[i]);
		if (!list[i])
			goto out;
		(*changed)++;
	}
	for (k = 0; k < all->n; k++) {
		if (taken[k])
			continue;
		for (i = 0; i < n && !same_subject(&all->list[k]->def, &defs[i]); i++)
			;
		key = health_key(all->list[k]);
		if (i == n)
			helper_health_set(all->helper, &key, NULL);
		check_free(all->list[k]);
		(*changed)++;
	}
	free(all->list);
	all->list = list;
	all->n = n;
	free(taken);
	return 0;

out:	/* what is new here goes again, what was there stays */
	for (i = 0; list && i < n && list[i]; i++) {
		for (k = 0; k < all->n && all->list[k] != list[i]; k++)
			;
		if (k == all->n)
			check_free(list[i]);
	}
	free(list);
	free(taken);
	return ret;
}

bool checks_down(const struct checks *all, const struct decap_key *key, const struct addr *target)
{
	unsigned int i;

	for (i = 0; i < all->n; i++) {
		const struct check *c = all->list[i];

		if (c->state == CHECK_DOWN && !addr_cmp(&c->def.target, target) && !memcmp(&c->def.key, key, sizeof(*key)))
			return true;
	}
	return false;
}

static void put_states(json_t *j, const struct check *c)
{
	json_object_set_new(j, "state", json_string(check_state_names[c->state]));
	json_object_set_new(j, "reason", json_string(c->reason));
	json_object_set_new(j, "since-ms", json_integer(c->since_ms));
}

/* row_of - the row of a report for the DIP and rule of this check, if it is there already */
static json_t *row_of(json_t *list, const char *vip, const char *dip, unsigned int rule)
{
	json_t *row;
	size_t i = json_array_size(list);

	/* targets of a pair follow each other */
	while (i--) {
		row = json_array_get(list, i);
		if (strcmp(json_string_value(json_object_get(row, "vip")), vip) ||
		    strcmp(json_string_value(json_object_get(row, "dip")), dip))
			return NULL;
		if (json_integer_value(json_object_get(row, "rule")) == rule)
			return row;
	}
	return NULL;
}

/* report_row - a DIP with several targets is up if one of them is */
static void report_row(json_t *list, const struct check *c)
{
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN], target[ADDR_STRLEN];
	json_t *row, *t;
	const char *held;

	str_addr(&c->def.key.vip, vip);
	str_addr(&c->def.key.dip, dip);
	row = row_of(list, vip, dip, c->def.rule);
	if (!row) {
		row = json_pack("{s:s, s:s, s:i}", "vip", vip, "dip", dip, "rule", c->def.rule);
		put_states(row, c);
		json_array_append_new(list, row);
	}
	if (addr_is_none(&c->def.target))
		return;
	held = json_string_value(json_object_get(row, "state"));
	if (c->state == CHECK_UP || (c->state == CHECK_UNKNOWN && strcmp(held, "up")))
		put_states(row, c);
	if (!json_object_get(row, "targets"))
		json_object_set_new(row, "targets", json_array());
	t = json_pack("{s:s}", "target", addr_str(&c->def.target, target));
	put_states(t, c);
	json_array_append_new(json_object_get(row, "targets"), t);
}

json_t *checks_json(const struct checks *all, const struct decap_key *key, bool brief)
{
	json_t *list = json_array(), *j;
	char target[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < all->n; i++) {
		const struct check *c = all->list[i];

		if (key && memcmp(key, &c->def.key, sizeof(*key)))
			continue;
		if (brief) {
			report_row(list, c);
			continue;
		}
		j = json_pack("{s:i, s:s, s:I, s:I}", "rule", c->def.rule, "type", check_type_names[c->def.probe.type], "probes",
			      (json_int_t)c->probes, "failures", (json_int_t)c->failures);
		put_states(j, c);
		if (c->def.probe.port)
			json_object_set_new(j, "port", json_integer(c->def.probe.port));
		if (!addr_is_none(&c->def.target))
			json_object_set_new(j, "target", json_string(addr_str(&c->def.target, target)));
		json_array_append_new(list, j);
	}
	return list;
}
