/* SPDX-License-Identifier: GPL-2.0 */
/* Inside the monitor: hosts, what is still to be told of them, traffic. */
#ifndef DUET_CONTROLLER_MONITOR_PRIV_H
#define DUET_CONTROLLER_MONITOR_PRIV_H

#include <sys/queue.h>
#include "monitor.h"
#include "racks.h"

struct mhost {
	struct monitor *monitor;
	const struct topo_node *node;
	char instance[NAME_SIZE];
	uint64_t seq, heard_ms; /* mono_ms() of the last report; 0: never */
	json_t *dips;		/* array as reported; NULL: never */
	json_t *snat;		/* "vips": ports it holds and uses, "exhausted"; NULL: it has none */
	char racks[20];		/* the id of the list of racks it has; "": none that it knows of */
	bool tells_racks;	/* it is one that tells so */
	json_t *counters;	/* "VIP|DIP": {"bytes", "mbps"}, of the last report */
	uint64_t counted_ms;
	bool silent;
	TAILQ_ENTRY(mhost) list;
	bool queued, in_call;	/* the updater is to be told; is being told */
};

TAILQ_HEAD(mhosts, mhost);

struct traffic;

struct monitor {
	struct controller *ctl;
	struct topology topo;
	struct mhost *hosts;
	unsigned int n_hosts, n_heard;
	json_t *by_name; /* host name: index */
	sd_event_source *watch, *tell_timer;
	struct mhosts to_tell;
	unsigned int calls;
	struct traffic *traffic;
	uint64_t epoch, generation; /* as the updater told last */
};

unsigned int monitor_interval(const struct monitor *m);	/* ms between two reports of one host */

/* tell.c: the updater is told of a host, of many at once; urgent: before others */
void tell_host(struct mhost *h, bool urgent);
void tell_traffic(struct monitor *m, json_t *traffic);	/* reference taken */

/* traffic.c: what each VIP receives, from the counters of all hosts */
int traffic_start(struct monitor *m);
void traffic_stop(struct monitor *m);
void traffic_add(struct monitor *m, struct mhost *h, json_t *list, bool same_instance);
void traffic_forget(struct monitor *m, struct mhost *h);
json_t *traffic_host_json(const struct mhost *h);

#endif
