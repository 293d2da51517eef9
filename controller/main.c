// SPDX-License-Identifier: GPL-2.0
/* duet-controller: reads its configuration, starts the parts of its role. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "controller.h"
#include "daemon.h"
#include "engine/plan.h"
#include "log.h"
#include "monitor/monitor.h"
#include "monitor/topology.h"

#define KEY(k, t, m, ...) \
	{ .section = "controller", .key = k, .type = t, .offset = offsetof(struct config, m), __VA_ARGS__ }

static const struct conf_key keys[] = {
	KEY("name", CONF_STR, name, .fallback = "controller"),
	HTTP_CONF_KEYS("controller", struct config, http),
	KEY("role", CONF_STR, role, .fallback = "all"),
	KEY("store", CONF_STR, store),
	KEY("topology", CONF_STR, topology),
	KEY("aggregate", CONF_STR, aggregate_text),
	KEY("seed", CONF_STR, seed),
	KEY("monitor", CONF_STR, monitor),
	KEY("engine", CONF_STR, engine),
	KEY("updater", CONF_STR, updater),
};
#define N_KEYS (sizeof(keys) / sizeof(*keys))

struct part_route {
	enum role part;
	struct http_route route;
};

static const struct part_route routes[] = {
	{ ROLE_MONITOR, { "GET", "/v1/monitor/model", monitor_model_get } },
	{ ROLE_MONITOR, { "GET", "/v1/topology", monitor_topology_get } },
	{ ROLE_MONITOR, { "POST", "/v1/reports", monitor_report_post } },
	{ ROLE_ENGINE, { "POST", "/v1/engine/plan", plan_post } },
	{ ROLE_UPDATER, { "PUT", "/v1/updater/health", updater_health_put } },
	{ ROLE_UPDATER, { "PUT", "/v1/updater/assignment", updater_assignment_put } },
	{ ROLE_UPDATER, { "GET", "/v1/vips", api_vips_get } },
	{ ROLE_UPDATER, { "GET", "/v1/vips/*", api_vip_get } },
	{ ROLE_UPDATER, { "PUT", "/v1/vips/*", api_vip_put } },
	{ ROLE_UPDATER, { "DELETE", "/v1/vips/*", api_vip_delete } },
	{ ROLE_UPDATER, { "PUT", "/v1/config", api_config_put } },
	{ ROLE_UPDATER, { "GET", "/v1/assignment", api_assignment_get } },
	{ ROLE_UPDATER, { "POST", "/v1/assign", api_assign_post } },
	{ ROLE_UPDATER, { "POST", "/v1/moves", api_moves_post } },
	{ ROLE_UPDATER, { "GET", "/v1/moves", api_moves_get } },
	{ ROLE_UPDATER, { "GET", "/v1/moves/*", api_move_get } },
	{ ROLE_UPDATER, { "GET", "/v1/muxes", api_muxes_get } },
	{ ROLE_UPDATER, { "GET", "/v1/hosts", api_hosts_get } },
	{ ROLE_UPDATER, { "GET", "/v1/events", api_events_get } },
	{ ROLE_UPDATER, { "GET", "/v1/status", api_status_get } },
	{ ROLE_ALL, { "GET", "/healthz", api_healthz_get } },
	{ ROLE_ALL, { "GET", "/metrics", api_metrics_get } },
};
#define N_ROUTES (sizeof(routes) / sizeof(*routes))

int once(sd_event *loop, sd_event_source **timer, uint64_t ms, sd_event_time_handler_t call, void *ctx)
{
	int ret;

	if (!*timer)
		return sd_event_add_time_relative(loop, timer, CLOCK_MONOTONIC, ms * 1000, 1, call, ctx);
	ret = sd_event_source_set_time_relative(*timer, ms * 1000);
	return ret < 0 ? ret : sd_event_source_set_enabled(*timer, SD_EVENT_ONESHOT);
}

static int role_parse(const char *s, enum role *roles)
{
	static const struct {
		const char *name;
		enum role roles;
	} known[] = { { "all", ROLE_ALL }, { "monitor", ROLE_MONITOR }, { "engine", ROLE_ENGINE },
		      { "updater", ROLE_UPDATER } };
	unsigned int i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!strcmp(known[i].name, s)) {
			*roles = known[i].roles;
			return 0;
		}
	}
	return -EINVAL;
}

static int need(const char *file, const char *value, const char *key, const char *role, struct err *e)
{
	if (value)
		return 0;
	return err_set(e, -EINVAL, "%s: [controller] %s is missing; role %s needs it", file, key, role);
}

/* part_url - where a part is: as configured, else in this process */
static int part_url(struct controller *ctl, const char *file, enum role part, const char *key, const char *url,
		    char *out, size_t size, struct err *e)
{
	const struct conf_listen *l = &ctl->conf.http.listen;
	char text[ADDR_STRLEN];
	struct addr a = l->addr;
	bool any4;

	if (url) {
		if (!http_url_is(url))
			return err_set(e, -EINVAL, "%s: [controller] %s = %s: must be a URL", file, key, url);
		snprintf(out, size, "%s", url);
		while (*out && out[strlen(out) - 1] == '/')
			out[strlen(out) - 1] = 0;
		return 0;
	}
	if (!(ctl->roles & part))
		return err_set(e, -EINVAL,
			       "%s: [controller] %s is missing: another process has that part, and this one needs its URL",
			       file, key);
	if (!l->port) {
		snprintf(out, size, "unix:%s", l->path);
		return 0;
	}
	any4 = addr_is_v4(&a) && !memcmp(a.b + 12, "\0\0\0\0", 4);
	if (any4 || addr_is_none(&a))
		addr_parse(any4 ? "127.0.0.1" : "::1", &a);
	addr_str(&a, text);
	snprintf(out, size, addr_is_v4(&a) ? "%s://%s:%u" : "%s://[%s]:%u", ctl->conf.http.cert ? "https" : "http", text,
		 l->port);
	return 0;
}

static int config_read(struct controller *ctl, const struct daemon_opts *opts, struct err *e)
{
	struct config *conf = &ctl->conf;
	const char *role;
	struct err why;
	int ret;

	ret = conf_read(opts->config, keys, N_KEYS, conf, e);
	if (ret)
		return ret;
	role = opts->role ? opts->role : conf->role;
	ret = -EINVAL;
	if (http_conf_check(&conf->http, &why)) {
		err_set(e, ret, "%s: [controller] %s", opts->config, why.text);
		goto err_free;
	}
	if (role_parse(role, &ctl->roles)) {
		err_set(e, ret, "role %s is none of all, monitor, engine, updater", role);
		goto err_free;
	}
	if (((ctl->roles & ROLE_MONITOR) && need(opts->config, conf->topology, "topology", role, e)) ||
	    ((ctl->roles & (ROLE_MONITOR | ROLE_UPDATER)) &&
	     need(opts->config, conf->aggregate_text, "aggregate", role, e)) ||
	    ((ctl->roles & ROLE_UPDATER) && need(opts->config, conf->store, "store", role, e)))
		goto err_free;
	if (conf->aggregate_text && prefix_parse(conf->aggregate_text, &conf->aggregate)) {
		err_set(e, ret,
			"%s: [controller] aggregate = %s: must be a prefix such as 203.0.113.0/24 with no host bits",
			opts->config, conf->aggregate_text);
		goto err_free;
	}
	/* each part needs only those it talks to: the monitor the updater, the updater both others */
	if (((ctl->roles & ROLE_UPDATER) &&
	     (part_url(ctl, opts->config, ROLE_MONITOR, "monitor", conf->monitor, ctl->monitor_url,
		       sizeof(ctl->monitor_url), e) ||
	      part_url(ctl, opts->config, ROLE_ENGINE, "engine", conf->engine, ctl->engine_url,
		       sizeof(ctl->engine_url), e))) ||
	    ((ctl->roles & (ROLE_UPDATER | ROLE_MONITOR)) &&
	     part_url(ctl, opts->config, ROLE_UPDATER, "updater", conf->updater, ctl->updater_url,
		      sizeof(ctl->updater_url), e)))
		goto err_free;
	return 0;

err_free:
	conf_free(keys, N_KEYS, conf);
	return ret;
}

/* check - everything that can be said without starting anything */
static int check(struct controller *ctl, struct err *e)
{
	struct topology topo;
	int ret;

	if (!(ctl->roles & ROLE_MONITOR))
		return 0;
	ret = topology_read(ctl->conf.topology, &topo, e);
	if (!ret)
		topology_free(&topo);
	return ret;
}

static int start(struct controller *ctl, struct err *e)
{
	struct http_route *list = calloc(N_ROUTES + 2, sizeof(*list));
	unsigned int i, n = 0;
	int ret = 0;

	if (!list)
		return err_set(e, -ENOMEM, "out of memory");
	ctl->served = list;
	for (i = 0; i < N_ROUTES; i++)
		if (routes[i].part & ctl->roles)
			list[n++] = routes[i].route;
	if ((ctl->roles & ROLE_UPDATER) && !(ctl->roles & ROLE_MONITOR))
		list[n++] = (struct http_route){ "GET", "/v1/topology", api_topology_get };
	ret = http_client_start(ctl->loop, &ctl->client);
	if (!ret)
		ret = http_client_tls(ctl->client, &ctl->conf.http);
	if (ret)
		return err_set(e, ret, "HTTP client: %s", strerror(-ret));
	if (ctl->roles & ROLE_MONITOR)
		ret = monitor_start(ctl, e);
	if (!ret && (ctl->roles & ROLE_UPDATER))
		ret = updater_start(ctl, e);
	if (!ret)
		ret = http_server_start(ctl->loop, &ctl->conf.http, list, ctl, &ctl->server, e);
	return ret;
}

static void stop(struct controller *ctl)
{
	http_server_stop(ctl->server);
	if (ctl->client)
		http_client_stop(ctl->client);
	monitor_stop(ctl);
	updater_stop(ctl);
	free(ctl->served);
}

int main(int argc, char **argv)
{
	struct controller ctl = {};
	struct daemon_opts opts = {};
	struct err e;
	int ret;

	log_init("duet-controller");
	daemon_options(argc, argv, "duet-controller",
		       "sees the fabric, assigns VIPs to switches, moves them without loss", true, &opts);
	ret = config_read(&ctl, &opts, &e);
	if (!ret)
		ret = check(&ctl, &e);
	if (ret) {
		log_err("%s", e.text);
		return 1;
	}
	if (opts.check) {
		printf("%s: ok\n", opts.config);
		goto out;
	}
	ret = daemon_loop(&ctl.loop);
	if (ret < 0) {
		log_err("event loop: %s", strerror(-ret));
		goto out;
	}
	ret = start(&ctl, &e);
	if (ret)
		log_err("%s", e.text);
	else
		ret = daemon_run(ctl.loop);
	stop(&ctl);
	sd_event_unref(ctl.loop);
out:
	conf_free(keys, N_KEYS, &ctl.conf);
	return ret ? 1 : 0;
}
