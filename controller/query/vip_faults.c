// SPDX-License-Identifier: GPL-2.0
/* Faults of VIPs: where they are announced, whether all muxes agree, and the rotation of the key they hash by. */
#include "faults.h"

#include <string.h>

#define ROTATION_SHOWN	5	/* agents that a rotation waits for */
#define ROTATION_MS	3000	/* one that confirms sooner is no fault */

static void place_faults(const struct updater *u, const struct uvip *v, struct fault_list *list)
{
	struct mux *m = mux_find((struct updater *)u, v->mux);
	char lacking[ARRIVAL_NEIGHBOURS * 66];

	if (v->move && v->move->note[0])
		fault_add(list, FAULT_MOVE_WAITS, OBJECT_VIP, v->text, "VIP %s: move %llu waits: %s", v->text,
			  (unsigned long long)v->move->id, v->move->note);
	if (u->model && !m && strcmp(v->mux, SMUX))
		fault_add(list, FAULT_VIP_PLACE_UNKNOWN, OBJECT_VIP, v->text, "VIP %s is placed on %s, which the topology has not, or not with "
			  "an agent: nobody withdraws it there", v->text, v->mux);
	if (!m || !fault_settled(v, m) || mux_refusal(m, v))
		return;
	if (!json_object_get(m->exported, v->text))
		fault_add(list, FAULT_VIP_NOT_EXPORTED, OBJECT_VIP, v->text, "VIP %s: %s does not export it; the SMuxes serve it", v->text,
			  m->name);
	else if (arrival_of(m, v) == ARRIVED_NO)
		fault_add(list, FAULT_VIP_NOT_ARRIVED, OBJECT_VIP, v->text,
			  "VIP %s: %s exports it, and its neighbours do not have it (%s): an import filter or a limit refuses it; the SMuxes serve it",
			  v->text, m->name, arrival_lacking(m, v, lacking, sizeof(lacking)));
}

/* dip_faults - how many of its DIPs are left, of the rule that is worst off */
static void dip_faults(const struct updater *u, struct uvip *v, struct fault_list *list)
{
	const struct vip_census *c = vip_census(u, v);

	if (!c->up)
		fault_add(list, FAULT_VIP_NO_DIP, OBJECT_VIP, v->text, "VIP %s: no DIP of rule %u is up, of %u", v->text, c->rule, c->dips);
	else if (c->up * 2 < c->dips && !v->policy.min_share)	/* else the policy says what is enough */
		fault_add(list, FAULT_VIP_FEW_DIPS, OBJECT_VIP, v->text, "VIP %s: only %u of %u DIPs of rule %u are up", v->text, c->up,
			  c->dips, c->rule);
	if (c->homeless)
		fault_add(list, FAULT_DIP_NO_HOST, OBJECT_VIP, v->text,
			  "VIP %s: %u of its DIPs are on no host of the topology with an agent, the first is %s: nobody checks them", v->text, c->homeless,
			  c->stray);
}

static void damped_dips(const struct updater *u, struct fault_list *list)
{
	json_t *held = health_damped(u), *o;
	size_t i;

	json_array_foreach(held, i, o)
		fault_add(list, FAULT_DIP_DAMPED, OBJECT_DIP, get_str(o, "dip", ""),
			  "DIP %s of VIP %s, rule %llu: it comes and goes, and is held down until it is steady", get_str(o, "dip", ""),
			  get_str(o, "vip", ""), (unsigned long long)get_u64(o, "rule", 0));
	json_decref(held);
}

void fault_vips(const struct updater *u, struct fault_list *list)
{
	unsigned int i;

	for (i = 0; i < u->n_vips; i++) {
		place_faults(u, u->vips[i], list);
		if (u->model)
			dip_faults(u, u->vips[i], list);
	}
	damped_dips(u, list);
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
