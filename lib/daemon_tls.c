// SPDX-License-Identifier: GPL-2.0
/*
 * What every daemon does alike with its certificates and lists: loads them, loads
 * them again on SIGHUP or when files change, and shows what is wrong with them.
 */
#include "daemon.h"
#include "log.h"
#include "metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

/* Process-wide, as the signal is. */
static struct {
	const char *file;
	int (*reload)(void *ctx, struct err *e);
	void *ctx;
	char trouble[512];	/* why the configuration of now isn't used; "": it is */
} reloading;

int daemon_certificates(const struct http_conf *http, struct tls **tls, struct err *e)
{
	*tls = NULL;
	return http->tls.ca ? tls_open(&http->tls, "tls-", tls, e) : 0;
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	struct err e;

	if (reloading.reload(reloading.ctx, &e)) {
		log_err("not reloaded, all stays as it is: %s", e.text);
		snprintf(reloading.trouble, sizeof(reloading.trouble), "%s", e.text);
		return 0;
	}
	reloading.trouble[0] = '\0';
	log_notice("reloaded %s: lists and certificates; other keys need a restart", reloading.file);
	return 0;
}

int daemon_reload(sd_event *loop, const char *file, int (*reload)(void *ctx, struct err *e), void *ctx)
{
	int ret;

	reloading.file = file;
	reloading.reload = reload;
	reloading.ctx = ctx;
	ret = sd_event_add_signal(loop, NULL, SIGHUP, on_hup, NULL);
	return ret < 0 ? ret : 0;
}

int daemon_adopt(struct http_conf *http, struct http_conf *from, struct auth *auth, struct auth *from_auth, struct tls *tls, struct err *e)
{
	struct tls_conf files = http->tls;
	struct auth lists = *auth;

	if (!!tls != !!from->tls.ca)
		return err_set(e, -EINVAL, "certificates are %s: that needs a restart", tls ? "gone from the configuration" : "new in the configuration");
	http->tls = from->tls;	/* which is what tls looks at */
	if (tls && tls_reload(tls)) {
		http->tls = files;
		return err_set(e, -EINVAL, "its certificates can't be used");
	}
	from->tls = files;	/* freed with the rest of the old */
	auth->grants = from_auth->grants;
	auth->n_grants = from_auth->n_grants;
	auth->open = from_auth->open;
	from_auth->grants = lists.grants;
	from_auth->n_grants = lists.n_grants;
	return 0;
}

void daemon_each_trouble(const struct tls *tls, trouble_each *each, void *ctx)
{
	char text[600];

	if (reloading.trouble[0]) {
		snprintf(text, sizeof(text), "not reloaded, the configuration before stays in use: %s", reloading.trouble);
		each(FAULT_CONFIG_NOT_LOADED, NULL, text, ctx);
	}
	tls_each_trouble(tls, each, ctx);
}

static bool insecure(const struct http_conf *http, char *text, size_t size)
{
	char at[ADDR_STRLEN];

	if (!http->insecure || !http->listen.port)
		return false;
	snprintf(text, size, "insecure = yes: REST on %s port %u is plain HTTP, whoever reaches it may change everything",
		 addr_str(&http->listen.addr, at), http->listen.port);
	return true;
}

void daemon_warn(const struct http_conf *http)
{
	char text[200];

	if (insecure(http, text, sizeof(text)))
		log_warn("%s", text);
}

static void add_expiry(const char *what, int64_t at, void *ctx)
{
	char key[40];

	snprintf(key, sizeof(key), "%s-expires-ms", what);
	json_object_set_new(ctx, key, json_integer(at * 1000));
}

void daemon_status(const struct http_conf *http, const struct tls *tls, json_t *status)
{
	json_t *warnings = json_array(), *expiries = tls ? json_object() : json_null();
	char text[200];

	if (insecure(http, text, sizeof(text)))
		json_array_append_new(warnings, json_string(text));
	tls_each_expiry(tls, add_expiry, expiries);
	json_object_set_new(status, "tls", expiries);
	json_object_set_new(status, "warnings", warnings);
}

static void metric_expiry(const char *what, int64_t at, void *ctx)
{
	metrics_add(ctx, at - time(NULL), "what", what, NULL);
}

void daemon_metrics(const struct http_conf *http, const struct tls *tls, struct metrics *m)
{
	if (tls) {
		metrics_family(m, "duet_tls_expires_seconds", "gauge", "Seconds until it expires; negative: it has");
		tls_each_expiry(tls, metric_expiry, m);
	}
	metrics_family(m, "duet_http_insecure", "gauge", "1: REST over TCP is plain HTTP, without names");
	metrics_add(m, http->insecure && http->listen.port, NULL);
}

static void print_trouble(enum fault_code code, const char *what, const char *sentence, void *ctx)
{
	printf("  warning: %s\n", sentence);
}

int daemon_checked(const char *file, const struct http_conf *http, const struct auth *auth)
{
	struct tls *tls = NULL;
	char text[200];
	bool expired;
	struct err e;

	if (http_conf_check(http, &e) || daemon_certificates(http, &tls, &e)) {
		log_err("%s: %s", file, e.text);
		return 1;
	}
	expired = tls_expired_any(tls);
	printf("%s: %s\n", file, expired ? "can be read, but something in it has expired" : "ok");
	tls_each_trouble(tls, print_trouble, NULL);
	if (insecure(http, text, sizeof(text)))
		printf("  warning: %s\n", text);
	auth_print(auth, http);
	tls_close(tls);
	return expired;
}
