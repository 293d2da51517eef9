// SPDX-License-Identifier: GPL-2.0
/*
 * The log of refusals: a peer that is refused a thousand times a second is one
 * line a minute, with the reason and how many there were.
 */
#include "http_priv.h"
#include "clock.h"
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEERS 64	/* remembered; a crowd of others pushes the oldest out */
#define QUIET_USEC (60 * 1000000ull)

struct refusals {
	struct {
		char who[AUTH_ID_SIZE];
		uint64_t at;		/* mono_usec() of its last line; 0: free */
		unsigned long silent;	/* refused since */
	} peer[PEERS];
	uint64_t window;		/* lines of all peers together are bounded too */
	unsigned int lines;
};

int refusals_start(struct http_server *s)
{
	s->refusals = calloc(1, sizeof(*s->refusals));
	return s->refusals ? 0 : -ENOMEM;
}

void refusal_log(struct http_server *s, const char *who, const char *why, ...)
{
	unsigned int i, slot = 0;
	uint64_t now = mono_usec();
	struct refusals *r = s->refusals;
	char text[512];
	va_list ap;

	for (i = 0; i < PEERS; i++) {
		if (r->peer[i].at && !strcmp(r->peer[i].who, who)) {
			slot = i;
			break;
		}
		if (r->peer[i].at < r->peer[slot].at)
			slot = i;
	}
	if (i == PEERS) {
		snprintf(r->peer[slot].who, sizeof(r->peer[slot].who), "%s", who);
		r->peer[slot].at = r->peer[slot].silent = 0;
	}
	if (now - r->window > QUIET_USEC) {
		r->window = now;
		r->lines = 0;
	}
	if ((r->peer[slot].at && now - r->peer[slot].at < QUIET_USEC) || r->lines >= PEERS) {
		r->peer[slot].silent++;
		return;
	}
	r->lines++;
	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	if (r->peer[slot].silent)
		log_warn("refused: %s (and %lu times more since the last line)", text, r->peer[slot].silent);
	else
		log_warn("refused: %s", text);
	r->peer[slot].at = now;
	r->peer[slot].silent = 0;
}
