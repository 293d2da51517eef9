/* SPDX-License-Identifier: GPL-2.0 */
/* Inside duetctl: its options, its one connection, its commands. */
#ifndef DUET_CLI_DUETCTL_H
#define DUET_CLI_DUETCTL_H

#include <jansson.h>
#include <stdbool.h>

#include "http.h"

/* What duetctl ends with */
enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,	/* or failed; of diff: there are differences */
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,	/* no answer from the controller */
	/* of status: how things are; what else ends it must not be taken for that */
	CTL_STATUS_WARNINGS = 1,
	CTL_STATUS_FAULTS = 2,
	CTL_STATUS_REFUSED = 4,
	CTL_STATUS_USAGE = 5,
};

struct ctl {
	const char *url;	/* without a / at its end */
	struct tls *tls;	/* NULL: none */
	const char *token;	/* or NULL */
	bool json;		/* -j: what the controller said, as it is */
	bool verbose;		/* --verbose: also what to do */
	bool wait;		/* --wait: until the moves that follow are over */
	bool dry_run;
	bool abort;		/* --abort: turn it back */
	bool force;		/* --force: also the last of them */
	const char *file;	/* -f */
	unsigned int timeout_s;	/* of --wait */
	unsigned int limit;	/* of lists */
};

/* duetctl_conf.c: where the controller is and who we are, from options (NULL:
 * not given), environment and file, in this order
 */
struct ctl_conf {
	char *url, *cert, *key, *ca, *crl, *token_file;
};
int ctl_conf(struct ctl *c, const struct ctl_conf *given);
void ctl_conf_end(void);

/* duetctl_http.c */
/* ctl_call - CTL_OK and *answer (new reference, may be NULL), or another exit
 * code after a sentence on stderr. Takes the reference to body.
 */
int ctl_call(const struct ctl *c, const char *method, const char *path, json_t *body, json_t **answer);
/* ctl_list - as ctl_call() of a GET, all pages of its list `key` as one; most: of so many (0: all) */
int ctl_list(const struct ctl *c, const char *path, const char *key, unsigned int most, json_t **answer);
void ctl_call_end(void);

/* ctl_stream - GET of a stream after event `last` (NULL: from now on), each piece
 * to got(); CTL_OK when it ended, got() wanted no more (returned false), or it
 * broke: *why says so
 */
int ctl_stream(const struct ctl *c, const char *path, const char *last, bool (*got)(const char *data, size_t len, void *ctx),
	       void *ctx, const char **why);

/* ctl_escape - text as one segment of a path or value of a query; to be freed */
char *ctl_escape(const char *text);
/* ctl_path - "/v1/moves/%s" with text escaped, in buf, which is returned */
const char *ctl_path(char *buf, size_t size, const char *format, const char *text);

/* duetctl_list.c */
/* members of an object, "" and 0 if absent */
const char *text_of(json_t *object, const char *key);
long long number_of(json_t *object, const char *key);
/* joined - strings of a list, "-" if empty; to be used before the next call */
const char *joined(json_t *list);
/* clock_text - a time of day of ms since 1970 */
void clock_text(long long ms, char *buf, size_t size);

enum ctl_kind {
	COLUMN_TEXT,	/* or a list of texts */
	COLUMN_NUMBER,	/* "-": absent */
	COLUMN_LIMIT,	/* "-": absent or 0 */
	COLUMN_TENTHS, COLUMN_SHARE,
	COLUMN_CLOCK,
	COLUMN_COUNT,	/* of what is in it */
	COLUMN_YES,
};
/* struct ctl_column - its heading (as table_new() takes it), and what of a row stands in it */
struct ctl_column {
	const char *heading, *path;
	enum ctl_kind kind;
};
/* print_list - rows; columns end with an empty one */
void print_list(json_t *list, const struct ctl_column *columns);
/* show_list - GET a list, all its pages or the first rows (most; 0: all), and print it */
int show_list(const struct ctl *c, const char *path, const char *key, unsigned int most, const struct ctl_column *columns);
/* ctl_get - CTL_OK and the answer; -1: it has been printed as JSON; else an exit code */
int ctl_get(const struct ctl *c, const char *path, json_t **answer);
/* ctl_get_list - as ctl_get(), of ctl_list() */
int ctl_get_list(const struct ctl *c, const char *path, const char *key, unsigned int most, json_t **answer);
/* ctl_end - the exit code when these have given nothing to print */
int ctl_end(int ret);

/* duetctl_show.c: VIP, place, MRU, reason */
extern const struct ctl_column plan_columns[];

/* Commands: args are the words after those that name it; they return the exit code */
#define CTL_COMMAND(name) int name(const struct ctl *c, int n, char **args)

/* duetctl_status.c */
CTL_COMMAND(show_status);
CTL_COMMAND(show_explain);	/* asks no controller */
/* duetctl_show.c: VIPs and the assignment */
CTL_COMMAND(show_vips);
CTL_COMMAND(show_vip);
CTL_COMMAND(show_assignment);
CTL_COMMAND(show_moves);
CTL_COMMAND(show_move);
/* duetctl_dip.c */
int print_dips(const struct ctl *c, const char *vip);
CTL_COMMAND(show_dips);
CTL_COMMAND(change_dip_release);
CTL_COMMAND(change_dip_drain);
CTL_COMMAND(change_dip_down);
CTL_COMMAND(change_dip_up);
CTL_COMMAND(change_dip_weight);
CTL_COMMAND(change_host_drain);
CTL_COMMAND(change_host_undrain);
/* duetctl_nodes.c: switches, muxes, hosts, links */
CTL_COMMAND(show_muxes);
CTL_COMMAND(show_mux);
CTL_COMMAND(show_hosts);
CTL_COMMAND(show_host);
CTL_COMMAND(show_switches);
CTL_COMMAND(show_links);
CTL_COMMAND(show_topology);
CTL_COMMAND(show_drains);
CTL_COMMAND(show_traffic);
/* duetctl_key.c */
CTL_COMMAND(show_key);
CTL_COMMAND(change_key);
/* duetctl_snat.c */
CTL_COMMAND(show_snat);
/* duetctl_events.c */
CTL_COMMAND(show_events);
CTL_COMMAND(show_audit);
/* duetctl_whatif.c, duetctl_trace.c */
CTL_COMMAND(show_whatif);
CTL_COMMAND(show_trace);
CTL_COMMAND(show_probe);
/* duetctl_config.c: the configuration as a whole */
CTL_COMMAND(config_export);
CTL_COMMAND(config_diff);
CTL_COMMAND(config_apply);
/* duetctl_change.c */
CTL_COMMAND(change_assign);
CTL_COMMAND(change_plan);
CTL_COMMAND(change_move);
CTL_COMMAND(change_delete);
CTL_COMMAND(change_drain);
CTL_COMMAND(change_undrain);
CTL_COMMAND(change_unfence_mux);
CTL_COMMAND(change_unfence_host);
CTL_COMMAND(change_stop);
CTL_COMMAND(change_resume);
CTL_COMMAND(change_abort);
CTL_COMMAND(change_settings);
CTL_COMMAND(change_backup);
CTL_COMMAND(token_list);
CTL_COMMAND(token_add);
CTL_COMMAND(token_delete);

/* ctl_follow - print a change's answer and, with --wait, what its moves come to; takes the answer's reference */
int ctl_follow(const struct ctl *c, json_t *answer);

#endif
