// SPDX-License-Identifier: GPL-2.0
/* What the operator sets of the controller's behaviour: kept in the store, one number each. */
#include "priv.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum kind { NUMBER, BOOL };

static const struct setting {
	const char *name;
	enum kind kind;
	size_t offset;
	unsigned int low, high, fallback;
} settings[] = {
	{ "stop", BOOL, offsetof(struct control, stop), 0, 1, 0 },
	{ "max-moves", NUMBER, offsetof(struct control, max_moves), 1, 10000, 256 },
	{ "moves-per-s", NUMBER, offsetof(struct control, moves_per_s), 0, 100000, 0 },
	{ "smux-percent", NUMBER, offsetof(struct control, smux_percent), 1, 100, 100 },
	{ "assign-every-s", NUMBER, offsetof(struct control, assign_every_s), 0, 86400, 0 },
	{ "change-learn-s", NUMBER, offsetof(struct control, change_learn_s), 0, 3600, 5 },
	{ "change-hold-s", NUMBER, offsetof(struct control, change_hold_s), 0, 86400, 60 },
	{ "key-moves", NUMBER, offsetof(struct control, key_moves), 1, 10000, 1 },
	{ "snat-quarantine-s", NUMBER, offsetof(struct control, snat_quarantine_s), 1, 86400, 120 },
	{ "snat-hold-s", NUMBER, offsetof(struct control, snat_hold_s), 1, 604800, 600 },
	{ "snat-idle-s", NUMBER, offsetof(struct control, snat_idle_s), 1, 604800, 300 },
	{ "fault-grace-s", NUMBER, offsetof(struct control, fault_grace_s), 1, 86400, 30 },
	{ "assign-on-change", BOOL, offsetof(struct control, assign_on_change), 0, 1, 0 },
};
#define N_SETTINGS (sizeof(settings) / sizeof(*settings))

static void set(struct control *c, const struct setting *s, int64_t value)
{
	if (s->kind == BOOL)
		*(bool *)((char *)c + s->offset) = value;
	else
		*(unsigned int *)((char *)c + s->offset) = value;
}

static int64_t get(const struct control *c, const struct setting *s)
{
	return s->kind == BOOL ? *(const bool *)((const char *)c + s->offset) :
				 *(const unsigned int *)((const char *)c + s->offset);
}

static const char *key_of(const struct setting *s, char buf[64])
{
	snprintf(buf, 64, "control-%s", s->name);
	return buf;
}

int control_load(struct updater *u)
{
	int64_t value;
	unsigned int i;
	char key[64];
	int ret;

	for (i = 0; i < N_SETTINGS; i++) {
		ret = store_get(u->store, key_of(&settings[i], key), &value);
		if (ret && ret != -ENOENT)
			return ret;
		set(&u->control, &settings[i], ret ? settings[i].fallback : value);
	}
	return 0;
}

json_t *control_json(const struct updater *u)
{
	json_t *o = json_object();
	unsigned int i;

	for (i = 0; i < N_SETTINGS; i++)
		json_object_set_new(o, settings[i].name, settings[i].kind == BOOL ?
				    json_boolean(get(&u->control, &settings[i])) :
				    json_integer(get(&u->control, &settings[i])));
	return o;
}

int control_check(json_t *body, struct err *e)
{
	const char *name;
	unsigned int i;
	json_t *v;

	if (!json_is_object(body))
		return err_set(e, -EINVAL, "settings are an object");
	json_object_foreach(body, name, v) {
		for (i = 0; i < N_SETTINGS && strcmp(settings[i].name, name); i++)
			;
		if (i == N_SETTINGS)
			return err_set(e, -EINVAL, "there is no setting \"%s\"", name);
		if (settings[i].kind == BOOL && !json_is_boolean(v))
			return err_set(e, -EINVAL, "\"%s\" is true or false", name);
		if (settings[i].kind == NUMBER && (!json_is_integer(v) || json_integer_value(v) < settings[i].low ||
						   json_integer_value(v) > settings[i].high))
			return err_set(e, -EINVAL, "\"%s\" is a number from %u to %u", name, settings[i].low,
				       settings[i].high);
	}
	return 0;
}

void control_set(struct updater *u, json_t *body)
{
	unsigned int i;
	char key[64];
	json_t *v;

	for (i = 0; i < N_SETTINGS; i++) {
		v = json_object_get(body, settings[i].name);
		if (!v)
			continue;
		set(&u->control, &settings[i], json_is_boolean(v) ? json_is_true(v) : json_integer_value(v));
		store_set(u->store, key_of(&settings[i], key), get(&u->control, &settings[i]));
	}
}
