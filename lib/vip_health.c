// SPDX-License-Identifier: GPL-2.0
/* Reads and checks the health policy of a VIP. */
#include "vip_health.h"

#include <errno.h>
#include <string.h>

#include "fields.h"

static const char *const panics[] = { [PANIC_KEEP] = "keep", [PANIC_ALL] = "all", [PANIC_NONE] = "none" };

static int panic_from_json(json_t *value, const char *where, enum vip_panic *panic, struct err *e)
{
	unsigned int i;

	for (i = 0; json_is_string(value) && i < sizeof(panics) / sizeof(panics[0]); i++)
		if (!strcmp(panics[i], json_string_value(value))) {
			*panic = i;
			return 0;
		}
	return err_set(e, -EINVAL, "%s: \"panic\" of its \"health\" is \"keep\", \"all\" or \"none\"", where);
}

static bool same_dip(json_t *value, const struct addr *a)
{
	struct addr b;

	return json_is_string(value) && !addr_parse(json_string_value(value), &b) && !addr_cmp(a, &b);
}

/* listed - value is one address or a list of some */
static bool listed(json_t *value, const struct addr *a)
{
	json_t *one;
	size_t i;

	json_array_foreach(value, i, one)
		if (same_dip(one, a))
			return true;
	return same_dip(value, a);
}

bool vip_last_resort(json_t *def, const char *dip)
{
	json_t *value = json_object_get(json_object_get(def, "health"), "last-resort");
	struct addr a;

	return value && !addr_parse(dip, &a) && listed(value, &a);
}

static int check_one(json_t *value, const struct vip *vip, const char *where, struct err *e)
{
	unsigned int r, i;

	for (r = 0; r < vip->n_rules; r++)
		for (i = 0; i < vip->rules[r].n_dips; i++)
			if (same_dip(value, &vip->rules[r].dips[i].addr))
				return 0;
	return err_set(e, -EINVAL, "%s: \"last-resort\" of its \"health\" is the address of a DIP of the VIP, or a list of "
		       "such; \"%.64s\" is none", where, json_is_string(value) ? json_string_value(value) : "(no text)");
}

static int check_last_resort(json_t *value, const struct vip *vip, const char *where, struct err *e)
{
	unsigned int r, i, spare;
	json_t *one;
	size_t k;

	if (!json_is_array(value) && check_one(value, vip, where, e))
		return -EINVAL;
	json_array_foreach(value, k, one)
		if (check_one(one, vip, where, e))
			return -EINVAL;
	for (r = 0; r < vip->n_rules; r++) {
		for (i = 0, spare = 0; i < vip->rules[r].n_dips; i++)
			spare += listed(value, &vip->rules[r].dips[i].addr);
		if (spare && spare == vip->rules[r].n_dips)
			return err_set(e, -EINVAL, "%s: a rule has no DIP but those of \"last-resort\": nothing would be used before them",
				       where);
	}
	return 0;
}

int vip_health_from_json(json_t *def, const struct vip *vip, const char *where, struct vip_health *health, struct err *e)
{
	static const char *const members[] = { "min-share", "panic", "last-resort", "damping", NULL };
	json_t *json = json_object_get(def, "health"), *value;
	char sub[96];

	*health = (struct vip_health){ .damping = true };
	if (!json)
		return 0;
	if (!json_is_object(json))
		return err_set(e, -EINVAL, "%s: its \"health\" is an object", where);
	snprintf(sub, sizeof(sub), "%.80s, health", where);
	if (fields_known(json, members, sub, e))
		return -EINVAL;
	value = json_object_get(json, "min-share");
	if (value && (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > 100))
		return err_set(e, -EINVAL, "%s: \"min-share\" of its \"health\" is a whole number of percent, from 0 to 100", where);
	health->min_share = json_integer_value(value);
	value = json_object_get(json, "panic");
	if (value && panic_from_json(value, where, &health->panic, e))
		return -EINVAL;
	value = json_object_get(json, "damping");
	if (value && !json_is_boolean(value))
		return err_set(e, -EINVAL, "%s: \"damping\" of its \"health\" is true or false", where);
	health->damping = !value || json_is_true(value);
	value = json_object_get(json, "last-resort");
	return value && vip ? check_last_resort(value, vip, where, e) : 0;
}
