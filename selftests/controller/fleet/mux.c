// SPDX-License-Identifier: GPL-2.0
/* One mux of many: what agents/mux/main.c does, without what is a process's own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../agents/mux/agent.h"
#include "fleet.h"

#define HOLD_MS 200

static int configure(struct config *c, bool smux, const char *name, const char *local, const char *listen, struct err *e)
{
	c->name = strdup(name);
	c->mode = smux ? DUET_MODE_SMUX : DUET_MODE_HMUX;
	c->mode_name = smux ? "smux" : "hmux";
	c->device = "mux0";
	c->backend_name = "sim";
	c->spread = 32;
	c->ports = "";
	c->table = DUET_ROUTE_TABLE;
	c->hold_ms = HOLD_MS;
	c->http.insecure = true;
	c->auth.open = true;
	if (addr_parse(local, &c->local) || addr_port_parse(listen, &c->http.listen.addr, &c->http.listen.port))
		return err_set(e, -EINVAL, "mux %s: %s or %s is no address", name, local, listen);
	return c->name ? 0 : err_set(e, -ENOMEM, "no memory");
}

int mux_add(struct fleet *f, bool smux, const char *name, const char *local, const char *listen, struct err *e)
{
	struct agent *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return err_set(e, -ENOMEM, "no memory");
	a->loop = f->loop;
	a->changes = 1;
	ret = configure(&a->config, smux, name, local, listen, e);
	if (!ret)
		ret = fence_open(&a->fence, NULL, name, e);
	if (!ret)
		ret = rt_open(&a->rt, e);
	if (!ret)
		ret = backend_sim.open(&a->config, &a->backend, e);
	if (!ret)
		ret = reach_start(a, e);
	if (!ret)
		ret = state_start(a, e);
	if (!ret)
		ret = birdwatch_start(a, e);
	if (!ret)
		ret = http_server_start(f->loop, &a->config.http, NULL, &a->config.auth, api_routes, a, &a->http, e);
	f->n_muxes++;
	return ret;	/* the process ends if it fails, and the agent with it in any case */
}
