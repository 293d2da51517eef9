// SPDX-License-Identifier: GPL-2.0
/*
 * Peers whose reports were refused or left out: who, why and how often. One
 * entry a peer and kind, a fixed number of entries, so that hostile peers cost
 * no memory. An entry ends after QUIET_MS without another offence.
 */
#include "priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../api/gate.h"
#include "log.h"
#include "metrics.h"

#define QUIET_MS 30000
#define LOG_MS	 60000	/* one line a peer and kind in so long */

static const char *const kinds[] = {
	[OFFEND_SENDER] = "sender",   [OFFEND_RATE] = "rate",	  [OFFEND_DIP] = "dip",	      [OFFEND_VIP] = "vip",
	[OFFEND_RACK] = "rack",	      [OFFEND_SNAT] = "snat",	  [OFFEND_NUMBER] = "number", [OFFEND_OUTLIER] = "outlier",
	[OFFEND_ORDER] = "order",
};

/* entry_of - the peer's of this kind, else the one to be replaced: free, or the longest quiet */
static struct offender *entry_of(struct monitor *m, const char *peer, enum offence kind)
{
	struct offender *o, *oldest = m->offenders;
	unsigned int i;

	for (i = 0; i < OFFENDERS_MAX; i++) {
		o = &m->offenders[i];
		if (o->last_ms && o->kind == kind && !strcmp(o->peer, peer))
			return o;
		if (o->last_ms < oldest->last_ms)
			oldest = o;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->kind = kind;
	snprintf(oldest->peer, sizeof(oldest->peer), "%s", peer);
	return oldest;
}

void offend(struct monitor *m, const char *peer, enum offence kind, const char *fmt, ...)
{
	struct offender *o = entry_of(m, peer, kind);
	uint64_t now = mono_ms();
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->text, sizeof(o->text), fmt, ap);
	va_end(ap);
	o->last_ms = now;
	o->count++;
	m->offences[kind]++;
	if (o->logged_ms && now - o->logged_ms < LOG_MS)
		return;
	o->logged_ms = now;
	log_warn("report of %s: %s", o->peer, o->text);
}

/* offenders_tell - the updater shows them as faults; called every second */
void offenders_tell(struct monitor *m)
{
	uint64_t now = mono_ms();
	json_t *list = json_array();
	bool none;
	unsigned int i;

	for (i = 0; i < OFFENDERS_MAX; i++) {
		struct offender *o = &m->offenders[i];

		if (!o->last_ms)
			continue;
		if (now - o->last_ms > QUIET_MS)
			o->last_ms = 0;
		else
			json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I}", "peer", o->peer, "kind", kinds[o->kind],
							      "text", o->text, "count", (json_int_t)o->count));
	}
	none = !json_array_size(list);
	if (none && !m->offenders_told)
		json_decref(list);
	else
		tell_offenders(m, list);
	m->offenders_told = !none;
}

void monitor_metrics(const struct controller *ctl, struct metrics *m)
{
	enum offence kind;

	if (!ctl->monitor)
		return;
	metrics_family(m, "duet_controller_reports_refused_total", "counter",
		       "Reports of hosts, or parts of them, that were refused or left out, by reason");
	for (kind = 0; kind < OFFENCES; kind++)
		metrics_add(m, ctl->monitor->offences[kind], "reason", kinds[kind], NULL);
}
