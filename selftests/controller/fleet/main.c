// SPDX-License-Identifier: GPL-2.0
/*
 * duet-fleet LISTEN CONTROLLER < AGENTS - plays agents until SIGTERM. A line an agent:
 *
 *	hmux|smux NAME LOCAL ADDRESS:PORT	a mux agent that listens there
 *	host NAME ADDRESS			a host agent, http://LISTEN/NAME
 *
 * GET http://LISTEN/v1/fleet tells how it goes. CONTROLLER "-": no reports.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon.h"
#include "fleet.h"
#include "log.h"

static int by_number(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return x < y ? -1 : x > y;
}

static void fleet_get(struct http_request *req, json_t *body, void *ctx)
{
	static unsigned int usec[65536];	/* not on the stack */
	struct fleet *f = ctx;
	unsigned int n = f->count.sent < 65536 ? f->count.sent : 65536;

	memcpy(usec, f->count.usec, sizeof(usec));
	qsort(usec, n, sizeof(*usec), by_number);
	http_reply(req, 200, json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:i, s:i, s:i}", "error", f->error, "muxes", f->n_muxes, "hosts", f->n_hosts,
		"reports", (json_int_t)f->count.sent, "failed", (json_int_t)f->count.failed, "states",
		(json_int_t)f->count.states, "report-us", n ? usec[n / 2] : 0, "report-us-p99",
		n ? usec[n - 1 - n / 100] : 0, "report-us-max", n ? usec[n - 1] : 0));
}

static void clear_post(struct http_request *req, json_t *body, void *ctx)
{
	struct fleet *f = ctx;

	memset(&f->count, 0, sizeof(f->count));
	http_reply(req, 200, NULL);
}

static const struct http_route routes[] = {
	{ "GET", "/v1/fleet", fleet_get, RIGHT_ANY },
	{ "POST", "/v1/clear", clear_post, RIGHT_ANY },
	{ "PUT", "/*/v1/state", host_state_put, RIGHT_ANY },
	{ "POST", "/*/v1/down", host_down_post, RIGHT_ANY },
	{}
};

static int read_agents(struct fleet *f, FILE *in, struct err *e)
{
	char line[512], kind[8], name[64], address[64], listen[64];
	int ret = 0, n;

	while (!ret && fgets(line, sizeof(line), in)) {
		n = sscanf(line, "%7s %63s %63s %63s", kind, name, address, listen);
		if (n == 3 && !strcmp(kind, "host"))
			ret = host_add(f, name, address, e);
		else if (n == 4 && (!strcmp(kind, "hmux") || !strcmp(kind, "smux")))
			ret = mux_add(f, *kind == 's', name, address, listen, e);
		else
			ret = err_set(e, -EINVAL, "no agent: %s", line);
	}
	return ret ? ret : hosts_start(f, e);
}

int main(int argc, char **argv)
{
	static struct fleet f;
	static const struct auth everybody = { .open = true };
	struct http_conf http = { .insecure = true };
	struct rlimit files;
	struct err e = { "" };
	int ret;

	log_init("duet-fleet");
	TAILQ_INIT(&f.waiting);
	if (argc != 3 || addr_port_parse(argv[1], &http.listen.addr, &http.listen.port)) {
		fprintf(stderr, "usage: duet-fleet ADDRESS:PORT CONTROLLER|- < AGENTS\n");
		return 2;
	}
	f.controller = strcmp(argv[2], "-") ? argv[2] : NULL;
	ret = daemon_loop(&f.loop);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {	/* five a mux */
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (!ret)
		ret = http_client_start(f.loop, &f.client);
	if (!ret)
		ret = read_agents(&f, stdin, &e);
	if (!ret)
		ret = http_server_start(f.loop, &http, NULL, &everybody, routes, &f, &f.server, &e);
	if (ret) {
		log_err("%s", e.text[0] ? e.text : strerror(-ret));
		return 1;
	}
	log_notice("%u muxes and %u hosts", f.n_muxes, f.n_hosts);
	return daemon_run(f.loop);
}
