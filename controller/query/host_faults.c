// SPDX-License-Identifier: GPL-2.0
/* Faults of hosts: their reports, their SNAT ports. */
#include "faults.h"

#include "../updater/snat.h"

/* refused_reports - of peers whose reports were refused, or left out in part */
static void refused_reports(const struct updater *u, struct fault_list *list)
{
	json_t *o;
	size_t i;

	json_array_foreach(u->offenders, i, o)
		fault_add(list, FAULT_REPORT_REFUSED, OBJECT_PEER, get_str(o, "peer", "?"), "report of %s: %s (%llu times)",
			  get_str(o, "peer", "?"), get_str(o, "text", "refused"), (unsigned long long)get_u64(o, "count", 0));
}

void fault_hosts(const struct updater *u, struct fault_list *list)
{
	unsigned int i;

	for (i = 0; i < u->n_hosts; i++) {
		const struct host *h = &u->hosts[i];
		enum fault_code code;

		if (silence_fault(h, &code))
			fault_add(list, code == FAULT_HOST_SILENT && !h->silence.last_ms ? FAULT_HOST_NEVER_HEARD : code, OBJECT_HOST, h->name,
				  "%s", h->silence.fault);
		else if (h->silence.late && !h->silence.last_ms && !json_object_size(h->vips))	/* which nobody judges */
			fault_add(list, FAULT_HOST_NEVER_HEARD, OBJECT_HOST, h->name,
				  "host %s has sent no report to this controller yet; it has no DIP", h->name);
		else if (h->why[0])
			fault_add(list, FAULT_HOST_NOT_SYNCED, OBJECT_HOST, h->name, "host %s can't be told its VIPs: %s", h->name, h->why);
	}
	refused_reports(u, list);
}

static void snat_pools(const struct updater *u, struct fault_list *list)
{
	const struct snat_pool *p;

	TAILQ_FOREACH(p, &u->pools, list) {
		if (p->without || p->wanting)
			fault_add(list, FAULT_SNAT_SHORT, OBJECT_VIP, p->text, "VIP %s: " SNAT_SHORT, p->text, p->without, p->wanting);
		if (p->bound)
			fault_add(list, FAULT_SNAT_LIMIT, OBJECT_VIP, p->text,
				  "VIP %s: %u hosts run out of SNAT ports and have as many blocks as one may", p->text, p->bound);
	}
}

void fault_snat(const struct updater *u, struct fault_list *list)
{
	unsigned int i;

	if (u->snat_learning)
		fault_add(list, FAULT_SNAT_LEARNING, OBJECT_DEPLOYMENT, u->ctl->conf.name,
			  "the store is a copy: no SNAT port is given before all hosts have said which they hold; %u of %u have",
			  u->n_heard, u->n_hosts);
	for (i = 0; i < u->n_hosts; i++) {
		const struct host *h = &u->hosts[i];

		if (h->snat_foreign)
			fault_add(list, FAULT_SNAT_FOREIGN, OBJECT_HOST, h->name,
				  "host %s says that it holds %u ranges of SNAT ports that it can't have been given", h->name,
				  h->snat_foreign);
		if (h->snat_conflicts)
			fault_add(list, FAULT_SNAT_CONFLICT, OBJECT_HOST, h->name,
				  "host %s holds %u blocks of SNAT ports that are another's", h->name, h->snat_conflicts);
	}
	snat_pools(u, list);
}
