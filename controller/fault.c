// SPDX-License-Identifier: GPL-2.0
/* Dies at a chosen step, for the tests. */
#include "fault.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long countdown;	/* 0: never */
static char only[32];

void fault_init(void)
{
	const char *text = getenv("DUET_FAULT"), *colon;

	if (!text)
		return;
	colon = strchr(text, ':');
	if (colon && colon - text < (long)sizeof(only))
		memcpy(only, text, colon - text);
	countdown = strtoul(colon ? colon + 1 : text, NULL, 10);
}

void fault(const char *name)
{
	if (!countdown || (only[0] && strcmp(only, name)))
		return;
	if (--countdown)
		return;
	fprintf(stderr, "fault: %s\n", name);	/* where it was */
	kill(getpid(), SIGKILL);
}
