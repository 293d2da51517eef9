/* SPDX-License-Identifier: GPL-2.0 */
/* What check.c (states) and probe_*.c (one probe) share. */
#ifndef DUET_HOST_CHECK_H
#define DUET_HOST_CHECK_H

#include <netinet/in.h>
#include "host.h"

struct curl_probes;
struct curl_slist;

struct check {
	struct check_def def;
	struct checks *all;
	enum check_state state;
	uint64_t since_ms;		/* wall clock: it is for people and for other machines */
	unsigned int streak;		/* results in a row that were `streak_ok` */
	bool streak_ok;
	char reason[160];
	uint64_t probes, failures;

	sd_event_source *timer;
	bool probing, hurried;
	uint64_t started;		/* usec, monotonic */

	/* of the probe under way, by its kind */
	sd_event_source *io;		/* socket, or the child */
	int fd;				/* -1: none */
	bool connected;
	char text[2048];		/* request to be sent, then the beginning of the answer */
	size_t len, sent;
	uint16_t sequence;
	void *easy;			/* HTTPS: CURL * */
	struct curl_slist *headers;
	uint64_t job;			/* command: its number; 0: none runs */
};

struct checks {
	sd_event *loop;
	struct helper *helper;
	void (*changed)(const struct decap_key *key, void *ctx);
	void *ctx;
	struct check **list;
	unsigned int n;
	struct curl_probes *curl;	/* NULL until the first HTTPS probe */
	struct commands *commands;	/* NULL: none are allowed */
};

/* One kind of probe. start() ends in check_result() or check_failed(), now or
 * later, exactly once; cancel() ends it without. awaits(): what hasn't come, when time is over
 */
struct probe_ops {
	void (*start)(struct check *c);
	void (*cancel)(struct check *c);
	const char *(*awaits)(const struct check *c);
};

extern const struct probe_ops probe_tcp, probe_http, probe_icmp, probe_https, probe_command;

/* check_result - a probe ended; "" is success */
void check_result(struct check *c, const char *reason);
void check_failed(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* probe_address - addr:port for the socket calls; its length */
socklen_t probe_address(const struct addr *addr, uint16_t port, struct sockaddr_in6 *out);
/* probe_socket - not connected, of the kind that the check needs, whose packets go the way that traffic goes; -errno */
int probe_socket(struct check *c);
/* probe_answer - does the answer of an HTTP server hold what is expected? 1: yes, 0: not yet, -1: it can't */
int probe_answer(struct check *c, bool over, char *why, size_t size);
void curl_probes_stop(struct curl_probes *curl);

#endif
