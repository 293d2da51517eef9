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
	uint64_t counted_usec;
	bool silent;
	bool late;		/* it has missed reports: witnesses are to be asked; before it is called silent */
	/* report.c: what it may say */
	json_t *vips;		/* VIP: true, those with a DIP here, as the updater answered; NULL: not asked yet */
	json_t *unsorted;	/* its last report, if that has other VIPs, until the updater has answered; or NULL */
	bool unsorted_same;	/* it came from the instance before it */
	bool strict, settled;	/* while that is read again: only those VIPs count; the host has had time to know them */
	double budget;		/* of reports */
	uint64_t budget_ms;
	double mbps_max;	/* what its link carries */
	double credit;		/* bytes that it may have received since its last report at most */
	uint64_t credit_usec;
	TAILQ_ENTRY(mhost) list;
	bool queued, in_call;	/* the updater is to be told; is being told */
};

TAILQ_HEAD(mhosts, mhost);

struct traffic;

#define OFFENDERS_MAX 64
enum offence {
	OFFEND_SENDER,	/* one peer as another */
	OFFEND_RATE,	/* more reports, or larger ones, than a host has reason for */
	OFFEND_DIP, OFFEND_VIP, OFFEND_RACK, OFFEND_SNAT,	/* which aren't its own, or aren't there */
	OFFEND_NUMBER, OFFEND_OUTLIER,	/* what is no counter; more than its link carries */
	OFFEND_ORDER,
	OFFENCES
};

struct offender {
	char peer[NAME_SIZE], text[256];
	enum offence kind;
	uint64_t count, last_ms, logged_ms;	/* last_ms 0: free */
};

struct monitor {
	struct controller *ctl;
	struct topology topo;
	struct mhost *hosts;
	unsigned int n_hosts, n_heard;
	uint64_t watched_ms, offended_ms;	/* mono_ms() when silence, and offenders, were last looked for */
	json_t *by_name; /* host name: index */
	sd_event_source *watch, *tell_timer;
	struct mhosts to_tell;
	unsigned int calls;
	struct traffic *traffic;
	json_t *rack_names;	/* name: true */
	char racks_id[17];	/* of the list that hosts are sent */
	struct offender offenders[OFFENDERS_MAX];
	uint64_t offences[OFFENCES];
	bool offenders_told;
	uint64_t epoch, generation; /* as the updater told last */
};

unsigned int monitor_interval(const struct monitor *m);	/* ms between two reports of one host */

/* tell.c: the updater is told of a host, of many at once; urgent: before others */
/* monitor_stands_by - another controller leads: hosts report to that one too, and nothing is told to its updater */
bool monitor_stands_by(const struct monitor *m);
void tell_host(struct mhost *h, bool urgent);
void tell_traffic(struct monitor *m, json_t *traffic);	/* reference taken */
void tell_offenders(struct monitor *m, json_t *list);	/* likewise */

/* offend.c */
void offend(struct monitor *m, const char *peer, enum offence kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void offenders_tell(struct monitor *m);

/* report.c */
/* report_sender - may this request speak for that host: by certificate or token, without them by address */
bool report_sender(struct monitor *m, struct http_request *req, const struct topo_node *node);
/* report_afford - is a report of so many DIPs and rows within what the host may send */
bool report_afford(struct mhost *h, size_t pieces);
/* report_overtaken - a later report of the same instance has come already */
bool report_overtaken(const struct mhost *h, const char *instance, uint64_t seq);
json_t *report_dips(struct mhost *h, json_t *dips);	/* what is believed of them; new reference */
json_t *report_snat(struct mhost *h, json_t *snat);	/* likewise; NULL: it holds no ports */
bool report_has_vip(const struct mhost *h, const char *vip);	/* has the VIP a DIP there, as far as is known */
/* report_strange - has it rows of VIPs that aren't known to be the host's */
bool report_strange(const struct mhost *h, json_t *body);
/* report_take - DIPs and SNAT ports of a report; true: the DIPs are news; others is set if the ports are. monitor.c */
bool report_take(struct mhost *h, json_t *body, bool *others);
/* report_settle - the updater's answer: the host's VIPs; settled: the host has had time to know them */
void report_settle(struct mhost *h, json_t *vips, bool settled);

/* traffic.c: what each VIP receives, from the counters of all hosts */
int traffic_start(struct monitor *m);
void traffic_stop(struct monitor *m);
void traffic_add(struct monitor *m, struct mhost *h, json_t *list, bool same_instance);
void traffic_forget(struct monitor *m, struct mhost *h);
json_t *traffic_host_json(const struct mhost *h);

#endif
