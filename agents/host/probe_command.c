// SPDX-License-Identifier: GPL-2.0
/*
 * Probes by a command of the operator's: exit status 0 is up. It runs by sh -c in
 * a process group of its own, which doesn't outlive its time, and is told what it
 * asks about in DUET_VIP, DUET_DIP and DUET_TARGET.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void cancel(struct check *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	if (c->child > 0) {
		kill(-c->child, SIGKILL);
		waitpid(c->child, NULL, 0);
	}
	c->child = 0;
}

static int ended(sd_event_source *source, const siginfo_t *si, void *ctx)
{
	struct check *c = ctx;

	kill(-c->child, SIGKILL);	/* what it left behind */
	c->child = 0;			/* the event source has waited for it */
	if (si->si_code == CLD_EXITED && !si->si_status)
		check_result(c, "");
	else if (si->si_code == CLD_EXITED)
		check_failed(c, "the command ended with status %d", si->si_status);
	else
		check_failed(c, "the command was killed by signal %d", si->si_status);
	return 0;
}

static void start(struct check *c)
{
	char vip[16 + ADDR_STRLEN] = "DUET_VIP=", dip[16 + ADDR_STRLEN] = "DUET_DIP=", target[16 + ADDR_STRLEN] = "DUET_TARGET=";
	char *argv[] = { "sh", "-c", c->def.probe.command, NULL };
	char *env[] = { vip, dip, target, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int ret;

	str_addr(&c->def.key.vip, vip + strlen(vip));
	str_addr(&c->def.key.dip, dip + strlen(dip));
	if (!addr_is_none(&c->def.target))
		addr_str(&c->def.target, target + strlen(target));
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	/* libraries open sockets that commands would inherit (libcurl, libnftables). One that libcurl closes before
	 * it says so stays in our epoll as long as a command has it, and the event loop ends at what comes of it.
	 */
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	ret = posix_spawn(&c->child, "/bin/sh", &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	if (ret) {
		c->child = 0;
		check_failed(c, "the command can't be run: %s", strerror(ret));
		return;
	}
	ret = sd_event_add_child(c->all->loop, &c->io, c->child, WEXITED, ended, c);
	if (ret < 0)
		check_failed(c, "the command can't be waited for: %s", strerror(-ret));
}

static const char *awaits(const struct check *c)
{
	return "end of the command";
}

const struct probe_ops probe_command = { start, cancel, awaits };
