// SPDX-License-Identifier: GPL-2.0
/*
 * Damping, as BGP's: every time a DIP goes down it earns a penalty that halves
 * with time. Above a threshold it is not let back in until the penalty has
 * decayed. A VIP earns a smaller one for each of its DIPs, so that a service
 * whose DIPs come and go all together does not shake the muxes either.
 */
#include "priv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENALTY		1000.0
#define VIP_PENALTY	100.0
#define HOLD_ABOVE	2500.0	/* the third death in quick succession */
#define FREE_BELOW	750.0
#define PENALTY_MAX	12000.0
#define HALF_LIFE_MS	15000.0
#define LOOK_MS		500

struct flaps {
	json_t *known;	/* "VIP|DIP|rule" or "VIP": {"penalty", "at-ms"} */
	json_t *held;	/* "VIP|DIP|rule": {"vip", "dip", "rule", "since-ms"}: up, but not let in */
	sd_event_source *timer;
};

static double decayed(json_t *o)
{
	double age = mono_ms() - get_num(o, "at-ms", 0);

	return get_num(o, "penalty", 0) * exp2(-age / HALF_LIFE_MS);
}

static void add(struct flaps *f, const char *key, double penalty)
{
	double sum = decayed(json_object_get(f->known, key)) + penalty;

	json_object_set_new(f->known, key,
			    json_pack("{s:f, s:I}", "penalty", sum > PENALTY_MAX ? PENALTY_MAX : sum, "at-ms",
				      (json_int_t)mono_ms()));
}

static const char *key_of(const char *vip, const char *dip, unsigned int rule, char buf[128])
{
	snprintf(buf, 128, "%s|%s|%u", vip, dip, rule);
	return buf;
}

void flap_down(struct updater *u, struct uvip *v, const char *dip, unsigned int rule)
{
	struct flaps *f = u->flaps;
	char key[128];

	key_of(v->text, dip, rule, key);
	/* told again and again that it is down is one death */
	if (vip_dip_down(v, dip, rule) && !json_object_get(f->held, key))
		return;
	json_object_del(f->held, key);
	add(f, key, PENALTY);
	add(f, v->text, VIP_PENALTY);
}

bool flap_up(struct updater *u, struct uvip *v, const char *dip, unsigned int rule)
{
	struct flaps *f = u->flaps;
	char key[128];
	double own, all;

	key_of(v->text, dip, rule, key);
	own = decayed(json_object_get(f->known, key));
	all = decayed(json_object_get(f->known, v->text));
	if (own <= HOLD_ABOVE && all <= HOLD_ABOVE && !json_object_get(f->held, key))
		return true;
	if (json_object_get(f->held, key) && own < FREE_BELOW && all < HOLD_ABOVE) {
		json_object_del(f->held, key);
		return true;
	}
	if (!json_object_get(f->held, key)) {
		json_object_set_new(f->held, key,
				    json_pack("{s:s, s:s, s:i, s:I}", "vip", v->text, "dip", dip, "rule", rule,
					      "since-ms", (json_int_t)wall_ms()));
		store_event(u->store, "dip-held", dip, "of VIP %s, rule %u: it comes and goes, and is held down until "
			    "it is steady", v->text, rule);
	}
	return false;
}

static int look(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;
	struct flaps *f = u->flaps;
	const char *key;
	json_t *o;
	void *next;

	json_object_foreach_safe(f->held, next, key, o) {
		json_t *mine = json_incref(o);

		if (decayed(json_object_get(f->known, key)) < FREE_BELOW)
			health_up_now(u, get_str(mine, "vip", ""), get_str(mine, "dip", ""), get_u64(mine, "rule", 0));
		if (!vip_find(u, get_str(mine, "vip", "")))
			json_object_del(f->held, key);
		json_decref(mine);
	}
	json_object_foreach_safe(f->known, next, key, o)
		if (decayed(o) < 1)
			json_object_del(f->known, key);
	return once(u->ctl->loop, &f->timer, LOOK_MS, look, u);
}

int flap_start(struct updater *u)
{
	u->flaps = calloc(1, sizeof(*u->flaps));
	if (!u->flaps)
		return -ENOMEM;
	u->flaps->known = json_object();
	u->flaps->held = json_object();
	return once(u->ctl->loop, &u->flaps->timer, LOOK_MS, look, u);
}

void flap_stop(struct updater *u)
{
	if (!u->flaps)
		return;
	sd_event_source_disable_unref(u->flaps->timer);
	json_decref(u->flaps->known);
	json_decref(u->flaps->held);
	free(u->flaps);
	u->flaps = NULL;
}

json_t *flap_json(const struct updater *u)
{
	json_t *list = json_array(), *o;
	const char *key;

	json_object_foreach(u->flaps->held, key, o) {
		json_t *copy = json_copy(o);

		json_object_set_new(copy, "penalty", json_real(round(decayed(json_object_get(u->flaps->known, key)))));
		json_array_append_new(list, copy);
	}
	return list;
}
