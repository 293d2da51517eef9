// SPDX-License-Identifier: GPL-2.0
/* duet-controller: reads its configuration, starts the parts of its role. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "api/gate.h"
#include "command.h"
#include "controller.h"
#include "daemon.h"
#include "engine/plan.h"
#include "fault.h"
#include "key.h"
#include "lead.h"
#include "log.h"
#include "monitor/monitor.h"
#include "monitor/topology.h"
#include "store/etcd.h"

#define KEY(k, t, m, ...) \
	{ .section = "controller", .key = k, .type = t, .offset = offsetof(struct config, m), __VA_ARGS__ }

#define MONITOR_KEY(k, t, m, ...) \
	{ .section = "monitor", .key = k, .type = t, .offset = offsetof(struct config, m), __VA_ARGS__ }

static const struct conf_key keys[] = {
	KEY("name", CONF_STR, name, .fallback = "controller"),
	HTTP_CONF_KEYS("controller", struct config, http),
	KEY("role", CONF_STR, role, .fallback = "all"),
	KEY("store", CONF_STR, store),
	KEY("topology", CONF_STR, topology),
	KEY("aggregate", CONF_STR, aggregate_text),
	KEY("key-file", CONF_STR, key_file),
	KEY("seed", CONF_STR, seed),
	KEY("monitor", CONF_STR, monitor),
	KEY("engine", CONF_STR, engine),
	KEY("updater", CONF_STR, updater),
	KEY("aggregate6", CONF_STR, aggregate6_text),
	KEY("etcd_prefix", CONF_STR, etcd_prefix, .fallback = "/duet/"),
	KEY("etcd_ca", CONF_STR, etcd.ca),
	KEY("etcd_cert", CONF_STR, etcd.cert),
	KEY("etcd_key", CONF_STR, etcd.key),
	KEY("etcd_crl", CONF_STR, etcd.crl),
	KEY("lease_s", CONF_UINT, lease_s, .min = 2, .max = 60, .fallback = "5"),
	KEY("auth", CONF_STR, auth),
	KEY("admins", CONF_STR, admins),
	KEY("operators", CONF_STR, operators),
	KEY("readers", CONF_STR, readers),
	KEY("agents", CONF_STR, agents),
	KEY("metrics", CONF_STR, metrics),
	KEY("certificate-optional", CONF_BOOL, http.certificate_optional),
	KEY("part_secret", CONF_STR, part_secret),
	KEY("hosts", CONF_STR, hosts),
	MONITOR_KEY("silent", CONF_STR, silent, .fallback = "down"),
	MONITOR_KEY("silent-after-ms", CONF_UINT, silent_after_ms, .min = 300, .max = 60000, .fallback = "1500"),
	MONITOR_KEY("silent-max-vip-percent", CONF_UINT, silent_vip_percent, .max = 100, .fallback = "75"),
	MONITOR_KEY("silent-max-rack-percent", CONF_UINT, silent_rack_percent, .max = 100, .fallback = "100"),
	MONITOR_KEY("silent-max-hosts-percent", CONF_UINT, silent_hosts_percent, .max = 100, .fallback = "50"),
	KEY("connections", CONF_UINT, http.connections, .max = 1000000, .fallback = "0"),
};
#define N_KEYS (sizeof(keys) / sizeof(*keys))

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
	if (ctl->roles & part)
		ctl->own_parts |= part;
	else
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
	snprintf(out, size, addr_is_v4(&a) ? "%s://%s:%u" : "%s://[%s]:%u", ctl->conf.http.tls.cert ? "https" : "http", text,
		 l->port);
	return 0;
}

static int check_aggregate(const char *file, const char *key, const char *text, const struct prefix *p, struct err *e)
{
	const char *why = prefix_not_hosts(p);

	return why ? err_set(e, -EINVAL, "%s: [controller] %s = %s can't hold VIPs: it is %s", file, key, text, why) : 0;
}

/* https_check - every https:// URL needs certificates to be trusted by */
static int https_check(const struct controller *ctl, const char *file, struct err *e)
{
	const struct config *c = &ctl->conf;
	const char *const parts[] = { c->monitor, c->engine, c->updater };
	char url[256];
	struct err why;
	unsigned int i;

	for (i = 0; i < 3; i++)
		if (parts[i] && http_url_is_tls(parts[i]) && !c->http.tls.ca)
			return err_set(e, -EINVAL, "%s: [controller] %s: https:// needs tls-cert, tls-key and tls-ca: no other CA is trusted",
				       file, parts[i]);
	if (c->store && store_is_etcd(c->store))
		for (i = 0; etcd_endpoint(c->store, i, url, sizeof(url)); i++)
			if (http_url_is_tls(url) && !c->etcd.ca)
				return err_set(e, -EINVAL, "%s: [controller] store = %s: https:// needs etcd_ca: no other CA is trusted", file,
					       c->store);
	if (c->etcd.ca || c->etcd.cert || c->etcd.key || c->etcd.crl) {
		struct tls_set *set;

		if (tls_set_load(&c->etcd, "etcd_", NULL, &set, &why))
			return err_set(e, -EINVAL, "%s: [controller] %s", file, why.text);
		tls_set_unref(set);
	}
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
	if (conf->aggregate6_text && (prefix_parse(conf->aggregate6_text, &conf->aggregate6) ||
				      addr_is_v4(&conf->aggregate6.addr))) {
		err_set(e, ret, "%s: [controller] aggregate6 = %s: must be an IPv6 prefix such as 2001:db8::/64",
			opts->config, conf->aggregate6_text);
		goto err_free;
	}
	if ((conf->aggregate_text && check_aggregate(opts->config, "aggregate", conf->aggregate_text, &conf->aggregate, e)) ||
	    (conf->aggregate6_text && check_aggregate(opts->config, "aggregate6", conf->aggregate6_text, &conf->aggregate6, e)))
		goto err_free;
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
	if (https_check(ctl, opts->config, e))
		goto err_free;
	if (auth_configure(ctl, &why)) {
		err_set(e, ret, "%s: [controller] %s", opts->config, why.text);
		goto err_free;
	}
	conf->silent_down = !strcmp(conf->silent, "down");
	if (!conf->silent_down && strcmp(conf->silent, "keep")) {
		err_set(e, ret, "%s: [monitor] silent is down or keep, not \"%s\"", opts->config, conf->silent);
		goto err_free;
	}
	return 0;

err_free:
	conf_free(keys, N_KEYS, conf);
	return ret;
}

/* check - everything that can be said without starting anything */
static int check(struct controller *ctl, struct err *e)
{
	struct topology topo;
	struct secret key;
	int ret;

	if (ctl->conf.seed)
		return err_set(e, -EINVAL,
			       "[controller] seed: the hash has a key of 128 bits instead; run \"duetctl genkey > FILE\" and set key-file = FILE, or remove the line: a key is then made");
	if (ctl->conf.key_file && key_read(ctl->conf.key_file, true, &key, e))
		return -EINVAL;
	if (!(ctl->roles & ROLE_MONITOR))
		return 0;
	ret = topology_load(ctl, &topo, e);
	if (!ret)
		topology_free(&topo);
	return ret;
}

/* routes_of - those of the process's roles, all of them through the gate */
static struct http_route *routes_of(const struct controller *ctl)
{
	const struct gate_route *r;
	struct http_route *list;
	unsigned int n = 0;

	for (r = gate_routes; r->part; r++)
		n++;
	list = calloc(n + 1, sizeof(*list));
	n = 0;
	for (r = gate_routes; list && r->part; r++) {
		if (!(r->part & ctl->roles))
			continue;
		list[n] = r->route;
		list[n].deferrable = gate_relays(r);
		list[n].own = r;
		list[n++].handle = gate;
	}
	return list;
}

void ctl_store_conf(const struct controller *ctl, uint64_t revision, struct store_conf *conf)
{
	*conf = (struct store_conf){ .spec = ctl->conf.store, .prefix = ctl->conf.etcd_prefix,
				     .tls = ctl->etcd_tls, .leader_key = ctl->leader_key,
				     .leader_rev = revision };
}

void ctl_elected(struct controller *ctl, uint64_t revision)
{
	struct err e;

	log_notice("this controller leads: revision %llu", (unsigned long long)revision);
	ctl->revision = revision;
	if (updater_start(ctl, &e))
		ctl_step_down(ctl, e.text);
}

static char **arguments;
static const char *arguments_role;	/* of --role */

/* Nothing that was known or under way may outlive the right to act on it, and
 * nothing does outlive exec.
 */
void ctl_step_down(struct controller *ctl, const char *why)
{
	log_err("this controller stops acting and starts anew: %s", why);
	close_range(3, ~0U, 0);
	if (!ctl->lead)
		usleep(500000);	/* a store that can't be read: not in a tight loop */
	execv("/proc/self/exe", arguments);
	log_err("exec: %s", strerror(errno));
	_exit(1);
}

/* bytes of bodies being read: a plan of a whole fabric, and the reports of all its hosts beside it */
#define BODIES_MAX (384u << 20)

/* connections_of - half of the descriptors are for those who ask: every host keeps a connection to report on */
static unsigned int connections_of(unsigned int configured)
{
	struct rlimit files;

	if (configured || getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur / 2 < DUET_HTTP_CONNECTIONS)
		return configured;
	return files.rlim_cur / 2;
}

static const char *config_file;

/* reload - lists and certificates of a configuration that was read again */
static int reload(void *ctx, struct err *e)
{
	const struct daemon_opts opts = { .config = config_file, .role = arguments_role };
	struct controller *ctl = ctx, again = {};
	struct tls_conf etcd = ctl->conf.etcd;
	int ret = config_read(&again, &opts, e);

	if (ret)
		return ret;
	ret = daemon_adopt(&ctl->conf.http, &again.conf.http, &ctl->auth, &again.auth, ctl->tls, e);
	if (!ret && ctl->etcd_tls && again.conf.etcd.ca) {
		ctl->conf.etcd = again.conf.etcd;
		again.conf.etcd = etcd;
		tls_reload(ctl->etcd_tls);	/* its trouble is shown */
	}
	auth_free(&again.auth);
	conf_free(keys, N_KEYS, &again.conf);
	return ret;
}

static int certificates_watch(struct controller *ctl)
{
	int ret = ctl->tls ? tls_watch(ctl->tls, ctl->loop) : 0;

	if (!ret && ctl->etcd_tls)
		ret = tls_watch(ctl->etcd_tls, ctl->loop);
	return ret ? ret : daemon_reload(ctl->loop, config_file, reload, ctl);
}

static int start(struct controller *ctl, struct err *e)
{
	int ret;

	ctl->conf.http.connections = connections_of(ctl->conf.http.connections);
	ctl->conf.http.bodies = BODIES_MAX;

	ctl->served = routes_of(ctl);
	if (!ctl->served)
		return err_set(e, -ENOMEM, "out of memory");
	ret = auth_start(ctl, e);
	if (ret)
		return ret;
	ret = http_client_start(ctl->loop, &ctl->client);
	if (!ret)
		ret = http_client_start(ctl->loop, &ctl->etcd_client);
	if (ret)
		return err_set(e, ret, "HTTP client: %s", strerror(-ret));
	http_client_tls(ctl->client, ctl->tls);
	http_client_tls(ctl->etcd_client, ctl->etcd_tls);
	ret = certificates_watch(ctl);
	if (ret)
		return err_set(e, ret, "certificates: %s", strerror(-ret));
	if (ctl->roles & ROLE_ENGINE)
		ret = plan_start(ctl, e);
	if (!ret && (ctl->roles & ROLE_MONITOR))
		ret = monitor_start(ctl, e);
	if (!ret && (ctl->roles & ROLE_UPDATER))
		ret = store_is_etcd(ctl->conf.store) ? lead_start(ctl, e) : updater_start(ctl, e);
	if (!ret)
		ret = http_server_start(ctl->loop, &ctl->conf.http, ctl->tls, &ctl->auth, ctl->served, ctl, &ctl->server, e);
	return ret;
}

static void stop(struct controller *ctl)
{
	plan_stop(ctl);	/* it reads what the server holds */
	http_server_stop(ctl->server);
	if (ctl->client)
		http_client_stop(ctl->client);
	if (ctl->etcd_client)
		http_client_stop(ctl->etcd_client);
	monitor_stop(ctl);
	updater_stop(ctl);
	lead_stop(ctl);
	free(ctl->served);
}

int main(int argc, char **argv)
{
	struct controller ctl = {};
	struct daemon_opts opts = {};
	struct command command = {};
	struct err e;
	int ret;

	arguments = argv;
	fault_init();
	log_init("duet-controller");
	ret = command_take(&argc, argv, &command, &e);
	if (!ret) {
		daemon_options(argc, argv, "duet-controller", command_help, true, &opts);
		ret = config_read(&ctl, &opts, &e);
	}
	if (!ret)
		ret = check(&ctl, &e);
	if (ret) {
		log_err("%s", e.text);
		return 1;
	}
	config_file = opts.config;
	arguments_role = opts.role;
	snprintf(ctl.leader_key, sizeof(ctl.leader_key), "%.120sleader", ctl.conf.etcd_prefix);
	if (opts.check) {
		ret = daemon_checked(opts.config, &ctl.conf.http, &ctl.auth);
		goto out;
	}
	ret = daemon_certificates(&ctl.conf.http, &ctl.tls, &e);
	if (!ret && ctl.conf.etcd.ca)
		ret = tls_open(&ctl.conf.etcd, "etcd_", &ctl.etcd_tls, &e);
	if (ret) {
		log_err("%s", e.text);
		goto out;
	}
	if (command.what) {
		ret = command_run(&ctl, &command, &e);
		if (ret)
			log_err("%s", e.text);
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
		daemon_warn(&ctl.conf.http);
	if (!ret)
		ret = daemon_run(ctl.loop);
	stop(&ctl);
	sd_event_unref(ctl.loop);
out:
	tls_close(ctl.tls);
	tls_close(ctl.etcd_tls);
	auth_free(&ctl.auth);
	conf_free(keys, N_KEYS, &ctl.conf);
	return ret ? 1 : 0;
}
