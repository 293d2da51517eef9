// SPDX-License-Identifier: GPL-2.0
/* What duet-probe's client saw: one line of JSON, and on demand every ping as CSV. */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_RUNS	256

static double ms(uint64_t ns)
{
	return ns / 1e6;
}

/* print_runs - runs of lost pings: [sent at, number, ms from the sending of the
 * answered one before to that of the answered one after]; the first MAX_RUNS of them
 */
static void print_runs(const struct stream *t)
{
	uint32_t i = 0, from, printed = 0;

	while (i < t->n && printed < MAX_RUNS) {
		if (t->pings[i].came) {
			i++;
			continue;
		}
		from = i;
		while (i < t->n && !t->pings[i].came)
			i++;
		printf("%s[%.6f, %u, %.3f]", printed++ ? ", " : "", t->pings[from].sent / 1e9, i - from,
		       ms(t->pings[i < t->n ? i : t->n - 1].sent - t->pings[from ? from - 1 : 0].sent));
	}
}

void report(const struct probe *p)
{
	char text[INET_ADDRSTRLEN];
	unsigned int i;

	printf("{\"started-s\": %.6f, \"seconds\": %.3f, \"ready\": %s, \"pings\": [", p->started / 1e9,
	       (p->stopped - p->started) / 1e9, p->ready ? "true" : "false");
	for (i = 0; i < p->n_streams; i++) {
		const struct stream *t = &p->streams[i];
		uint64_t best = 0;
		uint32_t k;

		for (k = 0; k < t->n; k++)
			if (t->pings[k].came && (!best || t->pings[k].came - t->pings[k].sent < best))
				best = t->pings[k].came - t->pings[k].sent;
		printf("%s{\"vip\": \"%s\", \"kind\": \"%s\", \"sent\": %u, \"answered\": %u, \"lost\": %u, "
		       "\"max-gap-ms\": %.3f, \"max-gap-at-s\": %.6f, \"rtt-min-ms\": %.3f, \"lost-runs\": [",
		       i ? ", " : "", inet_ntop(AF_INET, &t->vip, text, sizeof(text)), t->port ? "udp" : "icmp",
		       t->n, t->answered, t->n - t->answered, ms(t->max_gap), t->max_gap_at / 1e9, ms(best));
		print_runs(t);
		printf("]}");
	}
	printf("], \"connections\": [");
	for (i = 0; i < p->n_conns; i++) {
		const struct conn *c = &p->conns[i];

		printf("%s{\"vip\": \"%s\", \"port\": %u, \"own-port\": %u, \"server\": \"%s\", \"state\": \"%s\", "
		       "\"why\": \"%s\", \"sent\": %u, \"echoed\": %u, \"max-gap-ms\": %.3f, \"ended-at-s\": %.6f}",
		       i ? ", " : "", inet_ntop(AF_INET, &c->vip, text, sizeof(text)), c->port, c->own_port, c->server,
		       c->ended ? (c->error ? "reset" : "closed") : c->greeted ? "open" : "never",
		       c->error ? strerror(c->error) : "", c->sent, c->echoed, ms(c->max_gap), c->ended_at / 1e9);
	}
	printf("], \"floods\": [");
	for (i = 0; i < p->n_floods; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)flood_sent(p->floods[i]));
	puts("]}");
}

void trace(const struct probe *p, const char *path)
{
	FILE *f = fopen(path, "w");
	char text[INET_ADDRSTRLEN];
	unsigned int i;
	uint32_t k;

	if (!f)
		die("%s: %s", path, strerror(errno));
	fputs("kind,vip,sent-s,rtt-ms\n", f);
	for (i = 0; i < p->n_streams; i++) {
		const struct stream *t = &p->streams[i];

		inet_ntop(AF_INET, &t->vip, text, sizeof(text));
		for (k = 0; k < t->n; k++) {
			fprintf(f, "%s,%s,%.6f,", t->port ? "udp" : "icmp", text, t->pings[k].sent / 1e9);
			if (t->pings[k].came)
				fprintf(f, "%.3f", ms(t->pings[k].came - t->pings[k].sent));
			fputc('\n', f);
		}
	}
	if (fclose(f))
		die("%s: %s", path, strerror(errno));
}
