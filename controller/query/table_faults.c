// SPDX-License-Identifier: GPL-2.0
/* Do all muxes that hold a VIP have one and the same table of it. */
#include "faults.h"

/* compare_tables - all muxes that hold a VIP must have one and the same table */
static void compare_tables(const struct updater *u, struct fault_list *list)
{
	json_t *first = json_object();	/* VIP: [mux, digests] */
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];
		const char *vip;
		json_t *digest;

		json_object_foreach(m->digests, vip, digest) {
			struct uvip *v = vip_find((struct updater *)u, vip);
			json_t *known;

			if (!v || !fault_settled(v, m) || desired_hold(m, v) == HOLD_NOT)
				continue;
			known = json_object_get(first, v->text);
			if (!known)
				json_object_set_new(first, v->text, json_pack("[s, O]", m->name, digest));
			else if (!json_equal(json_array_get(known, 1), digest))
				fault_add(list, FAULT_VIP_TABLES_DIFFER, OBJECT_VIP, v->text, "VIP %s: %s and %s have different tables for it",
					  v->text, json_string_value(json_array_get(known, 0)), m->name);
		}
	}
	json_decref(first);
}

void fault_tables(const struct updater *u, struct table_check *check, struct fault_list *list)
{
	uint64_t began = mono_usec();
	unsigned int i;

	if (began >= check->again_usec) {
		faults_free(&check->found);
		compare_tables(u, &check->found);
		check->cost_usec = mono_usec() - began;
		check->again_usec = began + check->cost_usec * FAULT_SHARE;
	}
	for (i = 0; i < check->found.n; i++)
		fault_add(list, FAULT_VIP_TABLES_DIFFER, OBJECT_VIP, check->found.all[i].name, "%s", check->found.all[i].sentence);
}
