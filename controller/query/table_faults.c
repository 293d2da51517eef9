// SPDX-License-Identifier: GPL-2.0
/*
 * Do all muxes that hold a VIP have one and the same table of it. At 16,384 VIPs
 * that takes longer than the event loop may stand still, so a look goes on from
 * where the last one stopped, for SLICE_USEC at most.
 */
#include "faults.h"

#define SLICE_USEC	5000
#define CLOCK_VIPS	64	/* VIPs between two looks at the clock */

/* compare_mux - a fault if this mux has another table than the first one */
static void compare_mux(const struct uvip *v, const struct mux *m, const struct mux **first, struct fault_list *list)
{
	json_t *digest = json_object_get(m->digests, v->text);

	if (!digest || !fault_settled(v, m) || desired_hold(m, v) == HOLD_NOT)
		return;
	if (!*first)
		*first = m;
	if (json_equal(json_object_get((*first)->digests, v->text), digest))
		return;
	fault_add(list, FAULT_VIP_TABLES_DIFFER, OBJECT_VIP, v->text, "VIP %s: %s and %s have different tables for it", v->text,
		  (*first)->name, m->name);
}

/* compare_vip - its switch and all SMuxes, which are last in the list; nobody else holds it while it doesn't move */
static void compare_vip(const struct updater *u, const struct uvip *v, struct fault_list *list)
{
	const struct mux *home = mux_find((struct updater *)u, v->mux), *first = NULL;
	unsigned int i;

	if (v->move)
		return;
	if (home)
		compare_mux(v, home, &first, list);
	for (i = u->n_muxes; i && u->muxes[i - 1].smux; i--)
		compare_mux(v, &u->muxes[i - 1], &first, list);
}

void fault_tables(const struct updater *u, struct table_check *check, struct fault_list *list)
{
	uint64_t began = mono_usec();
	unsigned int i;

	while (check->next < u->n_vips) {
		compare_vip(u, u->vips[check->next++], &check->round);
		if (!(check->next % CLOCK_VIPS) && mono_usec() - began > SLICE_USEC)
			break;
	}
	check->spent_usec += mono_usec() - began;
	if (check->next >= u->n_vips) {
		faults_free(&check->found);
		check->found = check->round;
		check->round = (struct fault_list){};
		check->next = 0;
		check->cost_usec = check->spent_usec;
		check->spent_usec = 0;
	}
	for (i = 0; i < check->found.n; i++)
		fault_add(list, FAULT_VIP_TABLES_DIFFER, OBJECT_VIP, check->found.all[i].name, "%s", check->found.all[i].sentence);
}
