// SPDX-License-Identifier: GPL-2.0
/* Faults of the SMuxes as a whole: the backstop of all VIPs, and what it carries. */
#include "faults.h"

#include <string.h>

/* exports_aggregate - unless its status says that it does not; a mux that does not answer goes on as it was */
static bool exports_aggregate(const struct mux *m)
{
	return !json_is_false(json_object_get(json_object_get(m->status, "aggregate"), "exported"));
}

/* backstop_fault - is there an SMux that announces the aggregate */
static void backstop_fault(const struct updater *u, struct fault_list *list)
{
	unsigned int i, n = 0;

	if (!u->model || !u->n_vips || !u->configured)
		return;
	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (!m->smux)
			continue;
		n++;
		if (!m->status || (!m->drained && exports_aggregate(m)))
			return;
	}
	fault_add(list, FAULT_AGGREGATE_NOWHERE, OBJECT_DEPLOYMENT, u->ctl->conf.aggregate_text,
		  "no SMux announces the aggregate %s, of %u: a VIP that no switch announces is unreachable", u->ctl->conf.aggregate_text, n);
}

static void overload_fault(const struct updater *u, struct fault_list *list)
{
	double sum = u->resting_mbps + u->transit_mbps;

	if (u->smux_mbps > 0 && sum > u->smux_mbps)
		fault_add(list, FAULT_SMUX_OVERLOAD, OBJECT_DEPLOYMENT, u->ctl->conf.name,
			  "%.0f Mbps of VIPs are on the SMuxes, which may carry %.0f Mbps", sum, u->smux_mbps);
}

/* unassigned_fault - VIPs that are where all new VIPs start */
static void unassigned_fault(const struct updater *u, struct fault_list *list)
{
	unsigned int i, n = 0, switches = 0;
	uint64_t now = mono_ms(), grace = u->control.fault_grace_s * 1000ull;

	for (i = 0; i < u->n_muxes; i++)
		switches += !u->muxes[i].smux && mux_state(&u->muxes[i]) == MUX_IN_SYNC;
	for (i = 0; switches && i < u->n_vips; i++) {
		const struct uvip *v = u->vips[i];

		n += !strcmp(v->mux, SMUX) && !v->move && v->reason && !strcmp(v->reason, VIP_NEW) && now - v->smux_ms > grace;
	}
	if (n)
		fault_add(list, FAULT_VIPS_UNASSIGNED, OBJECT_DEPLOYMENT, u->ctl->conf.name,
			  "%u VIPs are on the SMuxes because no assignment has been made since they were added", n);
}

void fault_smuxes(const struct updater *u, struct fault_list *list)
{
	backstop_fault(u, list);
	overload_fault(u, list);
	unassigned_fault(u, list);
}
