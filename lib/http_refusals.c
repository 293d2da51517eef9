// SPDX-License-Identifier: GPL-2.0
/*
 * The log of refusals: a peer that is refused a thousand times a second is one
 * line a minute, with the reason and how many there were.
 */
#include "http_priv.h"
#include "clock.h"
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PEERS 64	/* remembered; a crowd of others pushes the oldest out */
#define QUIET_USEC (60 * 1000000ull)

/* Process-wide, as the log is. */
static struct {
	struct {
		char who[AUTH_ID_SIZE];
		uint64_t at;		/* mono_usec() of its last line; 0: free */
		unsigned long silent;	/* refused since */
	} peer[PEERS];
	uint64_t window;		/* lines of all peers together are bounded too */
	unsigned int lines;
} refusals;

void refusal_log(const char *who, const char *why, ...)
{
	unsigned int i, slot = 0;
	uint64_t now = mono_usec();
	char text[512];
	va_list ap;

	for (i = 0; i < PEERS; i++) {
		if (refusals.peer[i].at && !strcmp(refusals.peer[i].who, who)) {
			slot = i;
			break;
		}
		if (refusals.peer[i].at < refusals.peer[slot].at)
			slot = i;
	}
	if (i == PEERS) {
		snprintf(refusals.peer[slot].who, sizeof(refusals.peer[slot].who), "%s", who);
		refusals.peer[slot].at = refusals.peer[slot].silent = 0;
	}
	if (now - refusals.window > QUIET_USEC) {
		refusals.window = now;
		refusals.lines = 0;
	}
	if ((refusals.peer[slot].at && now - refusals.peer[slot].at < QUIET_USEC) || refusals.lines >= PEERS) {
		refusals.peer[slot].silent++;
		return;
	}
	refusals.lines++;
	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	if (refusals.peer[slot].silent)
		log_warn("refused: %s (and %lu times more since the last line)", text, refusals.peer[slot].silent);
	else
		log_warn("refused: %s", text);
	refusals.peer[slot].at = now;
	refusals.peer[slot].silent = 0;
}
