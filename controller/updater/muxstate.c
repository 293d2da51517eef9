// SPDX-License-Identifier: GPL-2.0
/*
 * What muxes say of themselves. A status comes with all VIPs, with their
 * digests only, or with none; the digests and what is exported are kept apart,
 * so that one without them takes nothing away.
 */
#include "priv.h"

#include <stdio.h>
#include <string.h>

/* digest_of - the digests of all rules of a VIP in one string */
static json_t *digest_of(json_t *vip)
{
	char text[17 * 64 + 1] = "";
	json_t *rule;
	size_t i, n = 0;

	json_array_foreach(json_object_get(vip, "rules"), i, rule)
		if (n + 18 < sizeof(text))
			n += snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "", get_str(rule, "digest", "-"));
	return json_string(text);
}

static void from_vips(struct mux *m, json_t *vips)
{
	json_t *vip;
	size_t i;

	m->digests = json_object();
	m->exported = json_object();
	json_array_foreach(vips, i, vip) {
		const char *name = get_str(vip, "vip", "?");

		json_object_set_new(m->digests, name, digest_of(vip));
		if (json_is_true(json_object_get(vip, "exported")))
			json_object_set_new(m->exported, name, json_true());
	}
}

void mux_told(struct mux *m, json_t *status)
{
	json_t *vips = json_object_get(status, "vips"), *digests = json_object_get(status, "digests"), *vip;
	uint64_t changes = get_u64(status, "changes", 0);
	size_t i;

	if (json_is_array(vips) || json_is_object(digests)) {
		json_decref(m->digests);
		json_decref(m->exported);
		if (json_is_object(digests)) {
			m->digests = json_incref(digests);
			m->exported = json_object();
			json_array_foreach(json_object_get(status, "exported"), i, vip)
				json_object_set_new(m->exported, json_string_value(vip), json_true());
		} else {
			from_vips(m, vips);
		}
		/* one that can't count its changes is asked for everything each time */
		m->told_ms = changes && !m->push && !m->rush ? mono_ms() : 0;
		if (!changes || changes != m->changes)
			arrival_changed(m);
		m->changes = changes;
	} else if (changes != m->changes) {
		m->told_ms = 0;
		mux_tables(m);
	}
	json_decref(m->status);
	m->status = json_copy(status);
	routes_told(m, json_object_get(status, "unrouted"));
	json_object_del(m->status, "vips");
	json_object_del(m->status, "digests");
	json_object_del(m->status, "exported");
}
