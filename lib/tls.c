// SPDX-License-Identifier: GPL-2.0
/*
 * The certificates of a process over time: loaded again when the files change,
 * or not, and what is to be said about them.
 */
#include "tls_priv.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_USEC	1000000ull

/* What tells one state of the files from another. */
struct look {
	struct {
		dev_t dev;
		ino_t ino;
		off_t size;
		struct timespec modified, changed;
	} file[4];
};

struct tls {
	struct tls_source src;
	struct tls_set *now;
	struct look loaded, last;	/* when they were tried, and at the last look */
	sd_event_source *timer;
	char trouble[512];		/* why the present files aren't used; "": they are */
};

static const char *const what_name[TLS_EXPIRIES] = { "certificate", "ca", "crl" };
static const char *const what_key[TLS_EXPIRIES] = { "cert", "ca", "crl" };

static const char *file_of(const struct tls_conf *conf, enum tls_what what)
{
	return what == TLS_CERT ? conf->cert : what == TLS_CA ? conf->ca : conf->crl;
}

static void look(const struct tls *t, struct look *out)
{
	const char *const files[4] = { t->src.conf->cert, t->src.conf->key, t->src.conf->ca, t->src.conf->crl };
	struct stat st;
	unsigned int i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < 4; i++) {
		if (!files[i] || stat(files[i], &st))
			continue;
		out->file[i].dev = st.st_dev;
		out->file[i].ino = st.st_ino;
		out->file[i].size = st.st_size;
		out->file[i].modified = st.st_mtim;
		out->file[i].changed = st.st_ctim;
	}
}

int tls_reload(struct tls *t)
{
	struct tls_set *set;
	struct err e;
	int ret;

	look(t, &t->loaded);
	t->last = t->loaded;
	ret = tls_set_load(t->src.conf, t->src.prefix, t->now, &set, &e);
	if (ret) {
		if (strcmp(t->trouble, e.text))
			log_err("certificates are not loaded again, the ones before stay in use: %s", e.text);
		snprintf(t->trouble, sizeof(t->trouble), "%s", e.text);
		return ret;
	}
	t->trouble[0] = '\0';
	tls_set_unref(t->now);
	t->now = set;
	log_notice("certificates loaded again: %s%s", t->src.conf->cert ?: t->src.conf->ca, t->src.conf->crl ? ", with a revocation list" : "");
	return 0;
}

/* on_look - files that change from one look to the next are still being written */
static int on_look(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct tls *t = ctx;
	struct look now;

	look(t, &now);
	if (memcmp(&now, &t->loaded, sizeof(now)) && !memcmp(&now, &t->last, sizeof(now)))
		tls_reload(t);
	t->last = now;
	sd_event_source_set_time_relative(source, LOOK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int tls_watch(struct tls *t, sd_event *loop)
{
	int ret = sd_event_add_time_relative(loop, &t->timer, CLOCK_MONOTONIC, LOOK_USEC, LOOK_USEC / 10, on_look, t);

	return ret < 0 ? ret : 0;
}

int tls_open(const struct tls_conf *conf, const char *prefix, struct tls **out, struct err *e)
{
	struct tls *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return err_set(e, -ENOMEM, "TLS: no memory");
	t->src = (struct tls_source){ conf, prefix };
	look(t, &t->loaded);
	t->last = t->loaded;
	ret = tls_set_load(conf, prefix, NULL, &t->now, e);
	if (ret)
		free(t);
	else
		*out = t;
	return ret;
}

void tls_close(struct tls *t)
{
	if (!t)
		return;
	sd_event_source_disable_unref(t->timer);
	tls_set_unref(t->now);
	free(t);
}

struct tls_set *tls_now(const struct tls *t)
{
	return t ? t->now : NULL;
}

void tls_each_expiry(const struct tls *t, void (*each)(const char *what, int64_t at, void *ctx), void *ctx)
{
	enum tls_what what;

	for (what = 0; t && what < TLS_EXPIRIES; what++)
		if (tls_set_expiry(t->now, what)->given)
			each(what_name[what], tls_set_expiry(t->now, what)->at, ctx);
}

/* expiry_text - false: it is far away */
static bool expiry_text(const struct tls_source *src, enum tls_what what, const struct tls_expiry *x, char *text, size_t size)
{
	int64_t now = time(NULL);
	time_t at = x->at;
	struct tm tm;
	char day[32];

	if (!x->given || x->at > now + TLS_SOON_DAYS * 86400)
		return false;
	gmtime_r(&at, &tm);
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M UTC", &tm);
	snprintf(text, size, "%s%s %s %s %s%s", src->prefix, what_key[what], file_of(src->conf, what), x->at <= now ? "expired on" : "expires on",
		 day, what == TLS_CRL && x->at <= now ? ": no peer is accepted" : "");
	return true;
}

void tls_each_trouble(const struct tls *t, trouble_each *each, void *ctx)
{
	enum tls_what what;
	char text[600], key[64];

	if (!t)
		return;
	if (t->trouble[0]) {
		snprintf(text, sizeof(text), "certificates are not loaded again, the ones before stay in use: %s", t->trouble);
		snprintf(key, sizeof(key), "%s%s", t->src.prefix, what_key[TLS_CERT]);
		each(FAULT_CERTIFICATE_NOT_LOADED, key, text, ctx);
	}
	for (what = 0; what < TLS_EXPIRIES; what++) {
		const struct tls_expiry *x = tls_set_expiry(t->now, what);

		if (!expiry_text(&t->src, what, x, text, sizeof(text)))
			continue;
		snprintf(key, sizeof(key), "%s%s", t->src.prefix, what_key[what]);
		each(tls_expired(x, time(NULL)) ? FAULT_CERTIFICATE_EXPIRED : FAULT_CERTIFICATE_EXPIRES, key, text, ctx);
	}
}

bool tls_expired_any(const struct tls *t)
{
	int64_t now = time(NULL);
	enum tls_what what;

	for (what = 0; t && what < TLS_EXPIRIES; what++)
		if (tls_expired(tls_set_expiry(t->now, what), now))
			return true;
	return false;
}
