// SPDX-License-Identifier: GPL-2.0
/*
 * Load on a VIP: UDP datagrams at a steady rate to which nobody answers. They
 * leave from many ports in turn, so that every SMux and every DIP gets its share.
 */
#include "probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOOD_FLOWS	32
#define FLOOD_BURST	64	/* a timer that comes late is not caught up by more than so many */

struct flood {
	int fds[FLOOD_FLOWS];
	unsigned int pps;
	uint64_t since, turn, sent;	/* turn: datagrams that were due so far */
};

struct flood *flood_new(struct in_addr vip, uint16_t port, unsigned int pps)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = vip, .sin_port = htons(port) };
	struct flood *f = calloc(1, sizeof(*f));
	unsigned int i;

	if (!f)
		die("out of memory");
	f->pps = pps;
	for (i = 0; i < FLOOD_FLOWS; i++) {
		f->fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (f->fds[i] < 0 || connect(f->fds[i], (struct sockaddr *)&sin, sizeof(sin)))
			die("flood: %s", strerror(errno));
	}
	return f;
}

void flood_send(struct flood *f, uint64_t now)
{
	struct message m = {};
	uint64_t due;

	if (!f->since)
		f->since = now;
	due = (now - f->since) / 1000 * f->pps / 1000000;
	if (due > f->turn + FLOOD_BURST)
		f->turn = due - FLOOD_BURST;
	for (; f->turn < due; f->turn++) {
		m.index = f->turn;
		if (send(f->fds[f->turn % FLOOD_FLOWS], &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m))
			f->sent++;
	}
}

uint64_t flood_sent(const struct flood *f)
{
	return f->sent;
}
