// SPDX-License-Identifier: GPL-2.0
/* Faults of VIPs: where they are announced, whether all muxes agree, and the rotation of the key they hash by. */
#include "faults.h"

#include <string.h>

#define ROTATION_SHOWN	5	/* agents that a rotation waits for */
#define ROTATION_MS	3000	/* one that confirms sooner is no fault */

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

static void place_faults(const struct updater *u, const struct uvip *v, struct fault_list *list)
{
	struct mux *m = mux_find((struct updater *)u, v->mux);

	if (v->move && v->move->note[0])
		fault_add(list, FAULT_MOVE_WAITS, OBJECT_VIP, v->text, "VIP %s: move %llu waits: %s", v->text,
			  (unsigned long long)v->move->id, v->move->note);
	if (!m || !fault_settled(v, m) || mux_refusal(m, v))
		return;
	if (!json_object_get(m->exported, v->text))
		fault_add(list, FAULT_VIP_NOT_EXPORTED, OBJECT_VIP, v->text, "VIP %s: %s does not export it; the SMuxes serve it", v->text,
			  m->name);
}

void fault_vips(const struct updater *u, struct fault_list *list)
{
	unsigned int i;

	for (i = 0; i < u->n_vips; i++)
		place_faults(u, u->vips[i], list);
	compare_tables(u, list);
}

static void rotation_fault(const struct updater *u, enum fault_object object, const char *name, const char *why,
			   unsigned int *n, struct fault_list *list)
{
	if (why && (*n)++ < ROTATION_SHOWN)
		fault_add(list, FAULT_KEY_ROTATION_WAITS, object, name, "the key's rotation (%s) waits for %s %s: %s",
			  rotation_phase_name(u->rotation.phase), fault_object_name(object), name, why);
}

void fault_key(const struct updater *u, struct fault_list *list)
{
	unsigned int i, n = 0;

	if (!u->rotation.phase || mono_ms() - u->rotation.entered_ms < ROTATION_MS)
		return;
	for (i = 0; i < u->n_muxes; i++)
		rotation_fault(u, OBJECT_MUX, u->muxes[i].name, rotation_mux_waits(&u->muxes[i]), &n, list);
	for (i = 0; i < u->n_hosts; i++)
		rotation_fault(u, OBJECT_HOST, u->hosts[i].name, rotation_host_waits(&u->hosts[i]), &n, list);
	if (n > ROTATION_SHOWN)
		fault_add(list, FAULT_KEY_ROTATION_WAITS, OBJECT_DEPLOYMENT, u->ctl->conf.name,
			  "the key's rotation waits for %u more: duetctl key show", n - ROTATION_SHOWN);
}
