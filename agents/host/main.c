// SPDX-License-Identifier: GPL-2.0
/*
 * duet-host-agent: runs on every server. Decapsulates what muxes send to the
 * VIPs served here, checks the services behind them, reports to the controller.
 * Leaves decapsulator and addresses in place when it stops, however it stops.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "daemon.h"
#include "doctor.h"
#include "helper.h"
#include "log.h"

static void on_change(const struct decap_key *key, void *ctx)
{
	struct host *host = ctx;

	state_health(host, key);
	report_now(host->report);
}

struct reload {
	struct host *host;
	const char *file;
};

static int reload(void *ctx, struct err *e)
{
	const struct reload *r = ctx;
	struct conf conf = {};
	int ret = config_read(r->file, &conf, e);

	if (ret)
		return ret;
	ret = daemon_adopt(&r->host->conf.http, &conf.http, &r->host->conf.auth, &conf.auth, r->host->tls, e);
	config_free(&conf);
	return ret;
}

/* serve - as who faces the network */
static int serve(struct host *host, const char *file, struct err *e)
{
	struct reload again = { host, file };
	int ret = confine(&host->conf, e);

	if (ret)
		return ret;
	daemon_warn(&host->conf.http);
	ret = host->tls ? tls_watch(host->tls, host->loop) : 0;
	if (!ret)
		ret = daemon_reload(host->loop, file, reload, &again);
	return ret ? err_set(e, ret, "no event source: %s", strerror(-ret)) : daemon_run(host->loop);
}

static int run(struct host *host, const char *file, struct err *e)
{
	int ret;

	ret = commands_fork(&host->conf, &host->commands, e);
	if (ret)
		return ret;
	ret = helper_fork(&host->conf, &host->helper, e);
	if (ret)
		goto out_commands;
	ret = daemon_loop(&host->loop);
	if (ret) {
		err_set(e, ret, "no event loop: %s", strerror(-ret));
		goto out_helper;
	}
	ret = checks_start(host->loop, host->helper, on_change, host, &host->checks);
	if (!ret)
		ret = commands_attach(host->commands, host->loop, host->checks);
	if (ret >= 0)
		ret = helper_watch(host->helper, host->loop, host->checks);
	if (ret < 0) {
		err_set(e, ret, "health checks: %s", strerror(-ret));
		goto out_checks;
	}
	/* its port, its key and the place of its socket may be root's; nothing comes from the network before the loop runs */
	ret = daemon_certificates(&host->conf.http, &host->tls, e);
	if (ret)
		goto out_checks;
	ret = usage_start(host, &host->usage);
	if (!ret)
		ret = report_start(host, &host->report);
	if (ret) {
		err_set(e, ret, "reports: %s", strerror(-ret));
		goto out_usage;
	}
	ret = http_server_start(host->loop, &host->conf.http, host->tls, &host->conf.auth, host_routes, host, &host->server, e);
	if (ret)
		goto out_report;
	ret = serve(host, file, e);
	http_server_stop(host->server);
out_report:
	report_stop(host->report);
out_usage:
	usage_stop(host->usage);
	tls_close(host->tls);
out_checks:
	checks_stop(host->checks);
	desired_free(&host->held);
	sd_event_unref(host->loop);
out_helper:
	helper_stop(host->helper);
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
	struct host host = {};
	struct err e;
	int ret;

	daemon_options(argc, argv, "duet-host-agent",
		       "Decapsulates what muxes send to the VIPs served on this host, checks the services, reports.\n"
		       "  -c FILE --doctor [--json]  look for what keeps packets from being answered; 1: found\n"
		       "  -c FILE --unfence          forget the epoch held: the next controller is obeyed\n"
		       "  -c FILE --uninstall        leave the host as it was before",
		       false, &opts);
	log_init("duet-host-agent");
	if (config_read(opts.config, &host.conf, &e)) {
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
	config_free(&host.conf);
	return ret;
}
