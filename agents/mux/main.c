// SPDX-License-Identifier: GPL-2.0
/*
 * duet-mux-agent: configuration and start. Stopping leaves device, VIPs and
 * triggers as they are: traffic goes on, and the next start takes over.
 */
#include "agent.h"

#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <duet/limits.h>

#include "daemon.h"
#include "log.h"

#define KEY(sec, name, t, member, ...) \
	{ .section = sec, .key = name, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__ }

static const struct conf_key keys[] = {
	KEY("agent", "name", CONF_STR, name, .required = true),
	HTTP_CONF_KEYS("agent", struct config, http),
	AUTH_CONF_KEYS("agent", struct config, lists),
	KEY("agent", "run_dir", CONF_STR, run_dir),
	KEY("agent", "state_dir", CONF_STR, state_dir),
	KEY("device", "name", CONF_STR, device, .required = true),
	KEY("device", "mode", CONF_STR, mode_name, .required = true),
	KEY("device", "local", CONF_ADDR, local, .required = true),
	KEY("agent", "user", CONF_STR, user),
	KEY("device", "local6", CONF_ADDR, local6),
	KEY("device", "link", CONF_STR, link),
	KEY("device", "fwmark", CONF_UINT, fwmark, .max = UINT32_MAX),
	KEY("device", "tos", CONF_STR, tos_name, .fallback = "inherit"),
	KEY("device", "spread", CONF_UINT, spread, .min = DUET_SPREAD4_MIN, .max = 32, .fallback = "32"),
	KEY("device", "drift", CONF_STR, drift_name, .fallback = "repair"),
	KEY("device", "keepalive_ms", CONF_UINT, keepalive_ms, .fallback = "0xffffffff"),
	KEY("device", "ports", CONF_STR, ports, .fallback = ""),
	KEY("device", "backend", CONF_STR, backend_name, .fallback = "kmod"),
	KEY("device", "max_vips", CONF_UINT, max_vips, .max = DUET_LIMIT_KEEP - 1),
	KEY("device", "max_rules", CONF_UINT, max_rules, .max = DUET_LIMIT_KEEP - 1),
	KEY("device", "max_members", CONF_UINT, max_members, .max = DUET_LIMIT_KEEP - 1),
	KEY("device", "max_tunnels", CONF_UINT, max_tunnels, .max = DUET_LIMIT_KEEP - 1),
	KEY("bird", "socket", CONF_STR, bird_socket, .fallback = "/run/bird/bird.ctl"),
	KEY("bird", "table", CONF_STR, bird_table[0], .fallback = "duet4"),
	KEY("bird", "protocol", CONF_STR, bird_protocol[0], .fallback = "kduet"),
	KEY("bird", "table6", CONF_STR, bird_table[1], .fallback = "duet6"),
	KEY("bird", "protocol6", CONF_STR, bird_protocol[1], .fallback = "kduet6"),
	KEY("announce", "table", CONF_UINT, table, .min = 1, .fallback = "199"),
	KEY("announce", "allow", CONF_STR, allow),
	KEY("announce", "hold_ms", CONF_UINT, hold_ms, .max = 600000, .fallback = "2000"),
};

#define KEEPALIVE_MS	3000

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static bool is_word(const char *s)
{
	return *s && *s != '.' && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")];
}

static int allow_read(const char *file, struct config *config, struct err *e)
{
	char *list = strdup(config->allow ?: ""), *at = list, *word;
	int ret = list ? 0 : err_set(e, -ENOMEM, "no memory");

	while (!ret && (word = strsep(&at, " \t,"))) {
		if (!*word)
			continue;
		if (config->n_allowed == ALLOWED_MAX)
			ret = err_set(e, -E2BIG, "%s: [announce] allow has more than %d prefixes", file, ALLOWED_MAX);
		else if (prefix_parse(word, &config->allowed[config->n_allowed++]))
			ret = err_set(e, -EINVAL, "%s: [announce] allow: \"%s\" is no prefix (203.0.113.0/24), or has bits behind its length",
				      file, word);
	}
	if (!ret && config->allow && !config->n_allowed)
		ret = err_set(e, -EINVAL, "%s: [announce] allow names no prefix: leave it out if any is allowed", file);
	free(list);
	return ret;
}

int config_read(const char *file, struct config *config, struct err *e)
{
	int ret = conf_read(file, keys, N_KEYS, config, e);
	struct err why;

	if (ret)
		return ret;
	ret = -EINVAL;
	if (http_conf_check(&config->http, &why) || auth_of_agent(&config->lists, &config->http, &config->auth, &why)) {
		err_set(e, ret, "%s: [agent] %s", file, why.text);
		goto err_free;
	}
	/* it goes into the name of a file */
	if (!is_word(config->name) || strlen(config->name) > 63) {
		err_set(e, ret, "%s: [agent] name \"%s\" is at most 63 letters, digits, \"_\", \"-\" and \".\"", file, config->name);
		goto err_free;
	}
	if (mode_parse(config->mode_name, &config->mode)) {
		err_set(e, ret, "%s: [device] mode is hmux or smux, not \"%s\"", file, config->mode_name);
		goto err_free;
	}
	if (strcmp(config->backend_name, "kmod") && strcmp(config->backend_name, "sim")) {
		err_set(e, ret, "%s: [device] backend is kmod or sim, not \"%s\"", file, config->backend_name);
		goto err_free;
	}
	if (!is_word(config->device) || strlen(config->device) >= IF_NAMESIZE) {
		err_set(e, ret, "%s: [device] name \"%s\" can't be the name of a device", file, config->device);
		goto err_free;
	}
	if (!addr_is_v4(&config->local)) {
		err_set(e, ret, "%s: [device] local is the IPv4 source of tunnels; the IPv6 one is local6", file);
		goto err_free;
	}
	if (!addr_is_none(&config->local6) && addr_is_v4(&config->local6)) {
		err_set(e, ret, "%s: [device] local6 is an IPv6 address", file);
		goto err_free;
	}
	if (duet_tos_parse(config->tos_name, &config->tos)) {
		err_set(e, ret, "%s: [device] tos is inherit, or a number up to 0xfc whose lowest two bits (ECN) are 0, not \"%s\"", file, config->tos_name);
		goto err_free;
	}
	if (config->link && (!is_word(config->link) || strlen(config->link) >= IF_NAMESIZE)) {
		err_set(e, ret, "%s: [device] link \"%s\" can't be the name of a netdev", file, config->link);
		goto err_free;
	}
	config->drift_report = !strcmp(config->drift_name, "report");
	if (!config->drift_report && strcmp(config->drift_name, "repair")) {
		err_set(e, ret, "%s: [device] drift is repair or report, not \"%s\"", file, config->drift_name);
		goto err_free;
	}
	/* an SMux whose agent is dead serves on: it is the others' backstop */
	if (config->keepalive_ms == UINT32_MAX)
		config->keepalive_ms = config->mode == DUET_MODE_HMUX ? KEEPALIVE_MS : 0;
	if (config->keepalive_ms && (config->keepalive_ms < DUET_KEEPALIVE_MIN || config->keepalive_ms > DUET_KEEPALIVE_MAX)) {
		err_set(e, ret, "%s: [device] keepalive_ms is 0 (off) or from 100 to 600000", file);
		goto err_free;
	}
	if (allow_read(file, config, e))
		goto err_free;
	/* these go into BIRD's commands */
	if (!is_word(config->bird_table[0]) || !is_word(config->bird_protocol[0]) || !is_word(config->bird_table[1]) ||
	    !is_word(config->bird_protocol[1])) {
		err_set(e, ret, "%s: [bird] table and protocol are names of BIRD's", file);
		goto err_free;
	}
	return 0;

err_free:
	config_free(config);
	return ret;
}

void config_free(struct config *config)
{
	auth_free(&config->auth);
	conf_free(keys, N_KEYS, config);
}

static const char *state_dir(const struct config *config)
{
	return config->state_dir ?: config->run_dir ?: "/var/lib/duet-mux";
}

struct reload {
	struct agent *agent;
	const char *file;
};

static int reload(void *ctx, struct err *e)
{
	const struct reload *r = ctx;
	struct config config = {};
	int ret = config_read(r->file, &config, e);

	if (ret)
		return ret;
	ret = daemon_adopt(&r->agent->config.http, &config.http, &r->agent->config.auth, &config.auth, r->agent->tls, e);
	config_free(&config);
	return ret;
}

int main(int argc, char **argv)
{
	struct agent a = { .changes = 1, .fence.fd = -1 };	/* changes 0: it is not counted */
	struct daemon_opts opts;
	struct err e;
	int ret;

	log_init("duet-mux-agent");
	daemon_options(argc, argv, "duet-mux-agent", "Keeps one Duet mux as its controller wants it, and BIRD told.",
		       false, &opts);
	if (config_read(opts.config, &a.config, &e)) {
		log_err("%s", e.text);
		return 1;
	}
	if (opts.check) {
		ret = daemon_checked(opts.config, &a.config.http, &a.config.auth);
		config_free(&a.config);
		return ret;
	}
	ret = daemon_loop(&a.loop);
	if (ret) {
		log_err("no event loop: %s", strerror(-ret));
		goto out_config;
	}
	ret = fence_open(&a.fence, state_dir(&a.config), a.config.name, &e);
	if (ret)
		goto out_error;
	ret = rt_open(&a.rt, &e);
	if (ret)
		goto out_error;
	ret = (strcmp(a.config.backend_name, "sim") ? &backend_kmod : &backend_sim)->open(&a.config, &a.backend, &e);
	if (ret)
		goto out_error;
	ret = reach_start(&a, &e);
	if (ret)
		goto out_error;
	ret = state_start(&a, &e);
	if (ret)
		goto out_error;
	ret = birdwatch_start(&a, &e);
	if (ret)
		goto out_error;
	ret = probes_start(&a, &e);
	if (ret)
		goto out_error;
	ret = daemon_certificates(&a.config.http, &a.tls, &e);
	if (ret)
		goto out_error;
	ret = http_server_start(a.loop, &a.config.http, a.tls, &a.config.auth, api_routes, &a, &a.http, &e);
	if (ret)
		goto out_error;
	ret = daemon_only_net_admin(a.config.user, &e);
	if (ret)
		goto out_error;
	log_notice("%s: %s %s, instance %s, %u VIPs found", a.config.name, a.config.mode_name, a.config.device,
		   daemon_instance(), a.n_vips);
	daemon_warn(&a.config.http);
	ret = a.tls ? tls_watch(a.tls, a.loop) : 0;
	if (!ret)
		ret = daemon_reload(a.loop, opts.config, reload, &(struct reload){ &a, opts.config });
	if (ret) {
		err_set(&e, ret, "no event source: %s", strerror(-ret));
		goto out_error;
	}
	if (links_local_trouble(&a))
		log_warn("%s", a.local_trouble);
	ret = daemon_run(a.loop);
	goto out;

out_error:
	log_err("%s", e.text);
	ret = 1;
out:
	http_server_stop(a.http);
	probes_stop(&a);
	tls_close(a.tls);
	birdwatch_stop(&a);
	reach_stop(&a);
	state_free(&a);
	if (a.backend)
		a.backend->ops->close(a.backend);
	rt_close(a.rt);
	fence_close(&a.fence);
	sd_event_unref(a.loop);
out_config:
	config_free(&a.config);
	return ret ? 1 : 0;
}
