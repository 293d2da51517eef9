// SPDX-License-Identifier: GPL-2.0
/*
 * duet-host-agent: runs on every server. Decapsulates what muxes send to the
 * VIPs served here, checks the services behind them, reports to the controller.
 * Leaves decapsulator and addresses in place when it stops, however it stops.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "daemon.h"
#include "doctor.h"
#include "host.h"
#include "log.h"
#include "release.h"
#include "snat.h"

#define CONF(section, key, type, member, ...) \
	{ section, key, type, offsetof(struct conf, member), __VA_ARGS__ }

static const struct conf_key conf_keys[] = {
	CONF("agent", "name", CONF_STR, name, .required = true),
	HTTP_CONF_KEYS("agent", struct conf, http),
	AUTH_CONF_KEYS("agent", struct conf, lists),
	CONF("agent", "controller", CONF_STR, controller, .required = true),
	CONF("agent", "state_dir", CONF_STR, state_dir, .required = false),
	CONF("host", "interface", CONF_STR, interface, .required = true),
	CONF("host", "address", CONF_ADDR, address, .required = true),
	CONF("host", "pin", CONF_STR, pin, .required = false),
	CONF("host", "attach", CONF_STR, attach_text, .fallback = "auto"),
	CONF("host", "mtu", CONF_UINT, mtu, .max = 65535, .fallback = "0"),
	CONF("host", "meter", CONF_BOOL, meter, .fallback = "yes"),
	CONF("host", "manage_sysctl", CONF_BOOL, manage_sysctl, .fallback = "no"),
	CONF("host", "mux-prefixes", CONF_STR, mux_prefixes_text, .required = false),
	CONF("host", "client-prefixes", CONF_STR, client_prefixes_text, .required = false),
	CONF("checks", "command-dir", CONF_STR, check_dir, .required = false),
	CONF("checks", "user", CONF_STR, check_user, .fallback = "nobody"),
};
#define CONF_KEYS (sizeof(conf_keys) / sizeof(*conf_keys))

/* read_prefixes - a list, with blanks or commas between */
static int read_prefixes(const char *text, struct prefix list[HOST_PREFIXES], unsigned int *n, struct err *e)
{
	char one[ADDR_STRLEN + 4];
	size_t len;

	for (*n = 0; text && *(text += strspn(text, " ,\t")); text += len) {
		len = strcspn(text, " ,\t");
		if (*n == HOST_PREFIXES)
			return err_set(e, -E2BIG, "more than %u prefixes", HOST_PREFIXES);
		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		if (len >= sizeof(one) || prefix_parse(one, &list[(*n)++]))
			return err_set(e, -EINVAL, "\"%.*s\" is no prefix such as 192.0.2.0/24 with no host bits", (int)len, text);
	}
	return text && !*n ? err_set(e, -EINVAL, "the list is empty") : 0;
}

static int read_conf(const char *file, struct conf *conf, struct err *e)
{
	int ret = conf_read(file, conf_keys, CONF_KEYS, conf, e);
	struct command_policy policy;
	struct err why;

	if (ret)
		return ret;
	ret = http_conf_check(&conf->http, &why);
	if (!ret)
		ret = auth_of_agent(&conf->lists, &conf->http, &conf->auth, &why);
	if (ret) {
		err_set(e, ret, "%s: [agent] %s", file, why.text);
		goto err_free;
	}
	if (!http_url_is(conf->controller)) {
		ret = err_set(e, -EINVAL, "%s: [agent] controller = %s: must be https://ADDRESS:PORT (or http://, or unix:/PATH.sock)",
			      file, conf->controller);
		goto err_free;
	}
	if (http_url_is_tls(conf->controller) && !conf->http.tls.ca) {
		ret = err_set(e, -EINVAL, "%s: [agent] controller = %s: https:// needs tls-cert, tls-key and tls-ca: no other CA is trusted",
			      file, conf->controller);
		goto err_free;
	}
	if (!conf->name[0] || strchr(conf->name, '/')) {
		ret = err_set(e, -EINVAL, "%s: [agent] name = %s: must be a name without /", file, conf->name);
		goto err_free;
	}
	if (!strcmp(conf->attach_text, "xdp")) {
		conf->attach = ATTACH_XDP;
	} else if (!strcmp(conf->attach_text, "tc")) {
		conf->attach = ATTACH_TC;
	} else if (strcmp(conf->attach_text, "auto")) {
		ret = err_set(e, -EINVAL, "%s: [host] attach = %s: must be auto, xdp or tc", file, conf->attach_text);
		goto err_free;
	}
	ret = read_prefixes(conf->mux_prefixes_text, conf->mux_prefixes, &conf->n_mux_prefixes, &why);
	if (ret) {
		err_set(e, ret, "%s: [host] mux-prefixes: %s", file, why.text);
		goto err_free;
	}
	ret = read_prefixes(conf->client_prefixes_text, conf->client_prefixes, &conf->n_client_prefixes, &why);
	if (ret) {
		err_set(e, ret, "%s: [host] client-prefixes: %s", file, why.text);
		goto err_free;
	}
	if (conf->check_dir && conf->check_dir[0] != '/') {
		ret = err_set(e, -EINVAL, "%s: [checks] command-dir = %s: must be an absolute path", file, conf->check_dir);
		goto err_free;
	}
	ret = conf->check_dir ? commands_policy(conf, &policy, &why) : 0;
	if (ret) {
		err_set(e, ret, "%s: %s", file, why.text);
		goto err_free;
	}
	if (conf->pin && conf->pin[0] != '/') {
		ret = err_set(e, -EINVAL, "%s: [host] pin = %s: must be an absolute path", file, conf->pin);
		goto err_free;
	}
	if (!conf->pin && asprintf(&conf->pin, "/sys/fs/bpf/duet-host/%s", conf->name) < 0) {
		conf->pin = NULL;
		ret = err_set(e, -ENOMEM, "no memory");
		goto err_free;
	}
	return 0;

err_free:
	auth_free(&conf->auth);
	conf_free(conf_keys, CONF_KEYS, conf);
	return ret;
}

static void on_change(const struct decap_key *key, void *ctx)
{
	struct host *host = ctx;

	state_health(host, key);
	report_now(host->report);
}

/* What the unit leaves it too. SYS_ADMIN: the kernel asks for it where programs are found by number. */
static const int caps[] = { CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, -1 };

struct reload {
	struct host *host;
	const char *file;
};

static int reload(void *ctx, struct err *e)
{
	const struct reload *r = ctx;
	struct conf conf = {};
	int ret = read_conf(r->file, &conf, e);

	if (ret)
		return ret;
	ret = daemon_adopt(&r->host->conf.http, &conf.http, &r->host->conf.auth, &conf.auth, r->host->tls, e);
	auth_free(&conf.auth);
	conf_free(conf_keys, CONF_KEYS, &conf);
	return ret;
}

static int run(struct host *host, const char *file, struct err *e)
{
	int ret;

	ret = commands_fork(&host->conf, &host->commands, e);
	if (ret)
		return ret;
	ret = daemon_keep_caps(caps, e);
	if (ret)
		goto out_commands;
	ret = daemon_loop(&host->loop);
	if (ret) {
		err_set(e, ret, "no event loop: %s", strerror(-ret));
		goto out_commands;
	}
	ret = lo_open(&host->lo, e);
	if (ret)
		goto out_loop;
	ret = nft_open(&host->nft, e);
	if (ret)
		goto out_lo;
	ret = dp_open(host->conf.interface, host->conf.attach, host->conf.meter, host->conf.pin, &host->dp, e);
	if (ret)
		goto out_nft;
	ret = fencing_open(host, e);
	if (ret)
		goto out_dp;
	ret = dp_sources_set(host->dp, host->conf.client_prefixes, host->conf.n_client_prefixes, e);
	if (ret)
		goto out_dp;
	if (host->conf.manage_sysctl)
		sysctls_manage(host->dp, host->conf.interface);
	ret = checks_start(host->loop, host->dp, on_change, host, &host->checks);
	if (!ret)
		ret = commands_attach(host->commands, host->loop, host->checks);
	if (ret < 0) {
		err_set(e, ret, "health checks: %s", strerror(-ret));
		goto out_dp;
	}
	ret = release_start(host->loop, host->checks, host->conf.pin, &host->release);
	if (!ret)
		ret = snat_start(host->conf.pin, &host->snat);
	if (ret) {
		err_set(e, ret, "programs of sockets: %s", strerror(-ret));
		goto out_release;
	}
	ret = daemon_certificates(&host->conf.http, &host->tls, e);
	if (ret)
		goto out_snat;
	ret = usage_start(host, &host->usage);
	if (!ret)
		ret = report_start(host, &host->report);
	if (ret) {
		err_set(e, ret, "reports: %s", strerror(-ret));
		goto out_snat;
	}
	ret = http_server_start(host->loop, &host->conf.http, host->tls, &host->conf.auth, host_routes, host, &host->server, e);
	if (ret)
		goto out_report;
	daemon_warn(&host->conf.http);
	ret = host->tls ? tls_watch(host->tls, host->loop) : 0;
	if (!ret)
		ret = daemon_reload(host->loop, file, reload, &(struct reload){ host, file });
	if (ret)
		err_set(e, ret, "no event source: %s", strerror(-ret));
	else
		ret = daemon_run(host->loop);
	http_server_stop(host->server);
out_report:
	report_stop(host->report);
out_snat:
	usage_stop(host->usage);
	tls_close(host->tls);
	snat_stop(host->snat);
out_release:
	release_stop(host->release);
	checks_stop(host->checks);
out_dp:
	fence_close(&host->fence);
	desired_free(&host->held);
	dp_close(host->dp);
out_nft:
	nft_close(host->nft);
out_lo:
	lo_close(host->lo);
out_loop:
	sd_event_unref(host->loop);
out_commands:
	commands_stop(host->commands);
	return ret;
}

/* take - an option of this program alone, out of what the common ones are read from */
static bool take(int *argc, char **argv, const char *option)
{
	int i, k;

	for (i = 1; i < *argc && strcmp(argv[i], option); i++)
		;
	if (i == *argc)
		return false;
	for (k = i; k < *argc; k++)
		argv[k] = argv[k + 1];
	(*argc)--;
	return true;
}

int main(int argc, char **argv)
{
	bool ill = take(&argc, argv, "--doctor"), json = take(&argc, argv, "--json"), gone = take(&argc, argv, "--uninstall");
	struct daemon_opts opts;
	bool unfence = take(&argc, argv, "--unfence");
	struct host host = { .fence.fd = -1 };
	struct err e;
	int ret;

	daemon_options(argc, argv, "duet-host-agent",
		       "Decapsulates what muxes send to the VIPs served on this host, checks the services, reports.\n"
		       "  -c FILE --doctor [--json]  look for what keeps packets from being answered; 1: found\n"
		       "  -c FILE --unfence          forget the epoch held: the next controller is obeyed\n"
		       "  -c FILE --uninstall        leave the host as it was before",
		       false, &opts);
	log_init("duet-host-agent");
	if (read_conf(opts.config, &host.conf, &e)) {
		fprintf(stderr, "duet-host-agent: %s\n", e.text);
		return 1;
	}
	if (opts.check && host.conf.check_dir && commands_folder(host.conf.check_dir, &e)) {
		fprintf(stderr, "duet-host-agent: %s: [checks] command-dir: %s\n", opts.config, e.text);
		ret = 1;
	} else if (opts.check) {
		ret = daemon_checked(opts.config, &host.conf.http, &host.conf.auth);
	} else if (ill) {
		ret = doctor(&host.conf, json);
	} else if (unfence) {
		ret = fencing_unfence(&host.conf, &e);
		if (ret)
			fprintf(stderr, "duet-host-agent: %s\n", e.text);
		else
			printf("the next controller is obeyed\n");
		ret = ret ? 1 : 0;
	} else if (gone) {
		printf("%s\n", state_remove(&host.conf) ? "removed" : "nothing of ours was there");
		ret = 0;
	} else {
		ret = run(&host, opts.config, &e);
		if (ret < 0) {
			log_err("%s", e.text);
			ret = 1;
		}
	}
	auth_free(&host.conf.auth);
	conf_free(conf_keys, CONF_KEYS, &host.conf);
	return ret;
}
