// SPDX-License-Identifier: GPL-2.0
/* The table of a VIP's DIPs: made from a definition, with what is known of them carried over. */
#include "dips.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "vip.h"
#include "../common.h"

static const char *const states[] = {
	[DIP_UNKNOWN] = "unknown", [DIP_UP] = "up",   [DIP_DOWN] = "down",	 [DIP_DAMPED] = "damped",
	[DIP_DRAINED] = "drained", [DIP_OFF] = "off", [DIP_STANDBY] = "standby",
};

const char *dip_state_text(enum dip_state state)
{
	return states[state];
}

struct dip *dips_find(const struct dips *dips, const char *address, unsigned int rule)
{
	unsigned int i;

	if (rule >= dips->n_rules)
		return NULL;
	for (i = dips->first[rule]; i < dips->first[rule + 1]; i++)
		if (!strcmp(dips->list[i].text, address))
			return &dips->list[i];
	return NULL;
}

void dip_reason(struct dip *d, const char *reason)
{
	if (d->reason && reason && !strcmp(d->reason, reason))
		return;
	free(d->reason);
	d->reason = reason && *reason ? strdup(reason) : NULL;
}

static void carry(struct dip *to, struct dip *from)
{
	free(to->reason);
	json_decref(to->targets_down);
	to->reported = from->reported;
	to->in = from->in;
	to->hold = from->hold;
	to->eased = from->eased;
	to->penalty = from->penalty;
	to->eased_ms = from->eased_ms;
	to->since_ms = from->since_ms;
	to->reason = from->reason;
	to->targets_down = from->targets_down;
	to->admin = from->admin;
	to->forced = from->forced;
	to->host_drained = from->host_drained;
	to->drained = from->drained;
	from->reason = NULL;
	from->targets_down = NULL;
}

void dips_carry(struct dips *to, struct dips *from)
{
	struct dip *old;
	unsigned int i;

	to->penalty = from->penalty;
	for (i = 0; i < to->n; i++) {
		old = dips_find(from, to->list[i].text, to->list[i].rule);
		if (old)
			carry(&to->list[i], old);
	}
}

static void fill(struct dip *d, json_t *dip, unsigned int rule)
{
	snprintf(d->text, sizeof(d->text), "%s", get_str(dip, "address", ""));
	d->rule = rule;
	d->weight = get_u64(dip, "weight", 1);
	d->in = true;
	d->defined = DUET_DIP_UP;
	dip_state_parse(get_str(dip, "state", "up"), &d->defined);
}

int dips_define(struct dips *dips, json_t *def)
{
	json_t *rules = json_object_get(def, "rules"), *rule, *dip;
	unsigned int n = 0;
	struct dips new = { .n_rules = json_array_size(rules) };
	size_t r, i;

	json_array_foreach(rules, r, rule)
		n += json_array_size(json_object_get(rule, "dips"));
	new.list = calloc(n ? n : 1, sizeof(*new.list));
	new.first = calloc(new.n_rules + 1, sizeof(*new.first));
	if (!new.list || !new.first) {
		free(new.list);
		free(new.first);
		return -ENOMEM;
	}
	json_array_foreach(rules, r, rule) {
		json_array_foreach(json_object_get(rule, "dips"), i, dip)
			fill(&new.list[new.n++], dip, r);
		new.first[r + 1] = new.n;
	}
	dips_carry(&new, dips);
	dips_free(dips);
	*dips = new;
	return 0;
}

void dips_free(struct dips *dips)
{
	unsigned int i;

	for (i = 0; i < dips->n; i++) {
		free(dips->list[i].reason);
		json_decref(dips->list[i].targets_down);
	}
	free(dips->list);
	free(dips->first);
	*dips = (struct dips){};
}
