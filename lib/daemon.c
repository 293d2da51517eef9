// SPDX-License-Identifier: GPL-2.0
/*
 * What every daemon does alike: options, event loop, stopping, systemd.
 */
#include "daemon.h"
#include "log.h"

#include <cap-ng.h>
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#define FILES 131072	/* a controller of 50,000 hosts needs two thirds of them */

static void usage(FILE *out, const char *program, const char *what, bool has_role)
{
	fprintf(out, "usage: %s -c FILE [--check-config]%s\n%s\n"
		     "  -c, --config FILE  configuration\n"
		     "      --check-config read it, say what is wrong with it, exit\n%s"
		     "      --version      print the version\n"
		     "      --help         this\n"
		     "DUET_LOG=err|warn|notice|info|debug sets the log level\n",
		program, has_role ? " [--role ROLE]" : "", what,
		has_role ? "      --role ROLE    all, monitor, engine or updater\n" : "");
}

void daemon_options(int argc, char **argv, const char *program, const char *what,
		    bool has_role, struct daemon_opts *opts)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "role", required_argument, NULL, 'r' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int c;

	memset(opts, 0, sizeof(*opts));
	while ((c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			opts->config = optarg;
			break;
		case 'k':
			opts->check = true;
			break;
		case 'r':
			if (!has_role)
				goto bad;
			opts->role = optarg;
			break;
		case 'V':
			printf("%s " DUET_VERSION "\n", program);
			exit(0);
		case 'h':
			usage(stdout, program, what, has_role);
			exit(0);
		default:
			goto bad;
		}
	}
	if (optind == argc && opts->config)
		return;
	if (optind < argc)
		fprintf(stderr, "%s: \"%s\" is too much\n", program, argv[optind]);
	else
		fprintf(stderr, "%s: which configuration? (-c FILE)\n", program);
bad:
	usage(stderr, program, what, has_role);
	exit(2);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	log_notice("stopping: signal %u", si->ssi_signo);
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

int daemon_loop(sd_event **out)
{
	struct rlimit files;
	sd_event *loop;
	sigset_t set;
	int ret;

	/* a crowd of connections must not use up the descriptors that the work needs */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < FILES) {
		files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);	/* daemon_reload() */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	ret = sd_event_default(&loop);
	if (ret < 0)
		return ret;
	ret = sd_event_add_signal(loop, NULL, SIGTERM, on_signal, NULL);
	if (ret >= 0)
		ret = sd_event_add_signal(loop, NULL, SIGINT, on_signal, NULL);
	if (ret >= 0)
		ret = sd_event_set_watchdog(loop, true);
	if (ret < 0) {
		sd_event_unref(loop);
		return ret;
	}
	*out = loop;
	return 0;
}

int daemon_run(sd_event *loop)
{
	int ret;

	sd_notify(0, "READY=1");
	ret = sd_event_loop(loop);
	sd_notify(0, "STOPPING=1");
	if (ret < 0)
		log_err("event loop: %s", strerror(-ret));
	return ret < 0 ? 1 : ret;
}

int daemon_user(const char *user, uid_t *uid, gid_t *gid, struct err *e)
{
	unsigned int number;
	struct passwd *pw;
	char rest;

	if (sscanf(user, "%u%c", &number, &rest) == 1 && number && number < 1u << 31) {
		*uid = number;
		*gid = number;
		return 0;
	}
	pw = getpwnam(user);
	if (!pw)
		return err_set(e, -ENOENT, "there is no user %.64s on this host", user);
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int daemon_only_net_admin(const char *user, struct err *e)
{
	uid_t uid = 0;
	gid_t gid = 0;
	int ret = user ? daemon_user(user, &uid, &gid, e) : 0;

	if (ret)
		return ret;
	if (geteuid())
		return 0;
	capng_clear(CAPNG_SELECT_BOTH);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN);
	ret = uid ? capng_change_id(uid, gid, CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING) : capng_apply(CAPNG_SELECT_BOTH);
	if (ret || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, -EPERM, "can't drop privileges (%d)", ret);
	return 0;
}

int daemon_drop_all(uid_t uid, gid_t gid, struct err *e)
{
	int ret;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, -errno, "can't give up gaining privileges: %s", strerror(errno));
	capng_clear(CAPNG_SELECT_ALL);
	if (geteuid())
		ret = capng_apply(CAPNG_SELECT_CAPS);
	else
		ret = capng_change_id(uid, gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING | CAPNG_CLEAR_AMBIENT);
	if (ret)
		return err_set(e, -EPERM, "can't become user %u and drop all capabilities (%d)", uid, ret);
	/* nothing of this may come back */
	if ((!geteuid() || !setuid(0)) && uid)
		return err_set(e, -EPERM, "privileges were not dropped for good");
	return 0;
}

int daemon_keep_caps(const int *caps, struct err *e)
{
	unsigned int cap;
	int i;

	if (capng_get_caps_process())
		return err_set(e, -EPERM, "the process's capabilities can't be read");
	for (cap = 0; cap <= CAP_LAST_CAP; cap++) {
		for (i = 0; caps[i] >= 0 && caps[i] != (int)cap; i++)
			;
		if (caps[i] < 0)
			capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_BOUNDING_SET, cap);
	}
	/* without CAP_SETPCAP the bounding set stays, and matters no more: nothing can be gained */
	if (capng_apply(CAPNG_SELECT_BOUNDS))
		log_debug("the bounding set of capabilities stays as it was");
	if (capng_apply(CAPNG_SELECT_CAPS))
		return err_set(e, -EPERM, "can't drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, -errno, "can't give up gaining privileges: %s", strerror(errno));
	return 0;
}

const char *daemon_instance(void)
{
	static char text[17];
	uint64_t id;

	if (!text[0]) {
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			abort();
		snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	}
	return text;
}
