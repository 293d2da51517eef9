/* SPDX-License-Identifier: GPL-2.0 */
/* The parts of duet-host-agent: data plane, checks, reports, and the state they share. */
#ifndef DUET_AGENT_HOST_H
#define DUET_AGENT_HOST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include "addr.h"
#include "bpf/decap.h"
#include "conf.h"
#include "http.h"

struct conf {
	char *name, *controller, *interface, *pin;
	struct conf_listen listen;
	struct addr address;
	bool manage_sysctl;
};

/* ---- dataplane.c: the BPF program, where it hangs, its maps ---- */
struct dataplane;

/* dp_open - attach to the interface, or take over what an earlier agent left
 * there, its maps with all that is in them. Nothing is detached on close.
 */
int dp_open(const char *interface, const char *pin, struct dataplane **dp, struct err *e);
void dp_close(struct dataplane *dp);
/* what is attached, for people; new reference */
json_t *dp_json(const struct dataplane *dp);

int dp_muxes_get(struct dataplane *dp, uint32_t **muxes, unsigned int *n);
int dp_served_get(struct dataplane *dp, struct decap_key **keys, unsigned int *n);
/* dp_muxes_set, dp_served_set - make the map hold these keys; equal ones are not
 * touched, their counters go on. *changed counts what was added or removed.
 */
int dp_muxes_set(struct dataplane *dp, const uint32_t *muxes, unsigned int n, unsigned int *changed, struct err *e);
int dp_served_add(struct dataplane *dp, const struct decap_key *keys, unsigned int n, unsigned int *changed, struct err *e);
int dp_served_keep(struct dataplane *dp, const struct decap_key *keys, unsigned int n, unsigned int *changed, struct err *e);
int dp_stat(struct dataplane *dp, const struct decap_key *key, struct decap_stat *stat);
int dp_reason(struct dataplane *dp, enum decap_reason reason, uint64_t *n);
const char *dp_reason_name(enum decap_reason reason);
int dp_meta_get(struct dataplane *dp, struct decap_meta *meta);
int dp_meta_set(struct dataplane *dp, const struct decap_meta *meta);

/* ---- lo.c: the VIPs on lo; *changed counts ---- */
struct nl_sock;

int lo_open(struct nl_sock **s, struct err *e);
void lo_close(struct nl_sock *s);
int lo_add(struct nl_sock *s, uint32_t vip, unsigned int *changed, struct err *e);
int lo_del(struct nl_sock *s, uint32_t vip, unsigned int *changed, struct err *e);

/* ---- check.c: health checks ---- */
enum check_type { CHECK_TCP, CHECK_HTTP, CHECK_ICMP };
enum check_state { CHECK_UNKNOWN, CHECK_UP, CHECK_DOWN };

struct check_def {
	struct decap_key key;
	unsigned int rule;
	enum check_type type;
	unsigned int port, expect, interval_ms, timeout_ms, rise, fall;
	char path[256];
};

struct checks;

int checks_start(sd_event *loop, void (*changed)(void *ctx), void *ctx, struct checks **checks);
void checks_stop(struct checks *checks);
/* check_parse - {"rule", "type", "port", ...}; refuses with a sentence */
int check_parse(json_t *json, const char *where, struct check_def *def, struct err *e);
/* checks_set - an equal check goes on with the state it has; *changed counts the others */
int checks_set(struct checks *checks, const struct check_def *defs, unsigned int n, unsigned int *changed);
/* checks_json - those of one VIP (NULL: of all); brief: as a report has them */
json_t *checks_json(const struct checks *checks, const struct decap_key *key, bool brief);

/* ---- state.c: what the controller asked for ---- */
struct host;

struct report;

struct host {
	struct conf conf;
	sd_event *loop;
	struct dataplane *dp;
	struct nl_sock *lo;
	struct checks *checks;
	struct report *report;
	bool synced;		/* this process was told its state */
};

extern const struct http_route host_routes[];

/* ---- report.c: reports to the controller ---- */
int report_start(struct host *host, struct report **report);
void report_stop(struct report *report);
void report_now(struct report *report);
json_t *report_json(const struct report *report);

static inline void addr4(uint32_t be, struct addr *a)
{
	addr_from_raw(&be, sizeof(be), a);
}

static inline const char *str4(uint32_t be, char buf[ADDR_STRLEN])
{
	struct addr a;

	addr4(be, &a);
	return addr_str(&a, buf);
}

#endif
