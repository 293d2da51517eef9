/* SPDX-License-Identifier: GPL-2.0 */
/* Inside duetctl: its options, its one connection, its commands. */
#ifndef DUET_CLI_DUETCTL_H
#define DUET_CLI_DUETCTL_H

#include <jansson.h>
#include <stdbool.h>

struct ctl {
	const char *url;
	bool json;		/* -j: what the controller said, as it is */
	bool wait;		/* --wait: until the moves that follow are over */
	bool dry_run;
	const char *file;	/* -f */
	unsigned int timeout_s;	/* of --wait */
	unsigned int limit;	/* of lists */
};

/* ctl_call - 0 and *answer (new reference, may be NULL), or 1 after a sentence on stderr */
int ctl_call(const struct ctl *c, const char *method, const char *path, json_t *body, json_t **answer);
void ctl_call_end(void);

/* ctl_escape - text as one segment of a path; to be freed */
char *ctl_escape(const char *text);

/* Commands: exit code 0 or 1 */
int show_status(const struct ctl *c);
int show_vips(const struct ctl *c);
int show_vip(const struct ctl *c, const char *vip);
int show_dips(const struct ctl *c);
int show_muxes(const struct ctl *c);
int show_hosts(const struct ctl *c);
int show_assignment(const struct ctl *c);
int show_moves(const struct ctl *c);
int show_events(const struct ctl *c);
int show_topology(const struct ctl *c);
int change_apply(const struct ctl *c);
int change_assign(const struct ctl *c);
int change_move(const struct ctl *c, const char *vip, const char *to);
int change_delete(const struct ctl *c, const char *vip);
int change_drain(const struct ctl *c, bool on, const char *kind, const char *name);
int change_stop(const struct ctl *c, bool stop);
int change_abort(const struct ctl *c, const char *id);

/* members of an object, "" and 0 if absent */
const char *text_of(json_t *object, const char *key);
long long number_of(json_t *object, const char *key);
/* print_plan - VIP, place, MRU, reason of a list */
void print_plan(json_t *list);

#endif
