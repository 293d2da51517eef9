/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every daemon does alike: options (-c FILE, --check-config, --version,
 * --help), event loop, SIGTERM and SIGINT as a clean stop, sd_notify and watchdog.
 */
#ifndef DUET_LIB_DAEMON_H
#define DUET_LIB_DAEMON_H

#include <duet/version.h>
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>
#include "http.h"

struct daemon_opts {
	const char *config;	/* -c FILE */
	bool check;		/* --check-config: read, say "FILE: ok", exit */
	const char *role;	/* --role=, controller only; else NULL */
};

/* daemon_options - parse argv; exits on --help, --version and usage errors (2) */
void daemon_options(int argc, char **argv, const char *program, const char *what,
		    bool has_role, struct daemon_opts *opts);
/* daemon_loop - new default loop with signals and watchdog wired */
int daemon_loop(sd_event **loop);
/* daemon_run - READY=1, run until told to stop, STOPPING=1; returns the exit code */
int daemon_run(sd_event *loop);
/* daemon_only_net_admin - keep CAP_NET_ADMIN, drop every other capability for
 * good; become user (its groups too) unless NULL. Nothing to do for who isn't root.
 */
int daemon_only_net_admin(const char *user, struct err *e);
/* daemon_user - a user by name or number, and its group; -ENOENT and a sentence: there is none */
int daemon_user(const char *user, uid_t *uid, gid_t *gid, struct err *e);
/* daemon_drop_all - become that user, without its other groups, with no capability and no way to gain any. Whoever isn't
 * root stays who he is. Not to be called when there are threads.
 */
int daemon_drop_all(uid_t uid, gid_t gid, struct err *e);
/* daemon_keep_caps - drop for good what isn't in this list, which ends with -1; no way to get any back. A capability that the
 * process never had isn't missed here.
 */
int daemon_keep_caps(const int *caps, struct err *e);
/* daemon_checked - what --check-config prints of a configuration that can be read: "FILE: ok", what expires soon and who
 * may do what, or why it can't work; returns the exit code, 1 also if something has expired
 */
int daemon_checked(const char *file, const struct http_conf *http, const struct auth *auth);
/* daemon_instance - random id of this process, 16 hex digits */
const char *daemon_instance(void);


/* daemon_tls.c */
/* daemon_certificates - of the configuration; *tls is NULL if it names none. *http lives as long. */
int daemon_certificates(const struct http_conf *http, struct tls **tls, struct err *e);
/* daemon_reload - on SIGHUP: reload() reads file again and takes over what can change while running, or refuses and
 * leaves everything as it is; then the sentence is logged and shown
 */
int daemon_reload(sd_event *loop, const char *file, int (*reload)(void *ctx, struct err *e), void *ctx);
/* daemon_adopt - certificates and lists out of a configuration that was read again, all or nothing. What they replace is
 * in *from and *from_auth then, to be freed with them.
 */
int daemon_adopt(struct http_conf *http, struct http_conf *from, struct auth *auth, struct auth *from_auth, struct tls *tls, struct err *e);
/* daemon_each_trouble - a sentence for each fault of reloading (what: NULL) and of certificates */
void daemon_each_trouble(const struct tls *tls, trouble_each *each, void *ctx);
/* daemon_warn - logs what is insecure */
void daemon_warn(const struct http_conf *http);
/* daemon_status, daemon_metrics - "tls" and "warnings" of a status; families duet_tls_expires_seconds, duet_http_insecure */
void daemon_status(const struct http_conf *http, const struct tls *tls, json_t *status);
struct metrics;
void daemon_metrics(const struct http_conf *http, const struct tls *tls, struct metrics *m);

#endif
