/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Checks by command. The agent never starts a command: a runner, a process that it
 * forks before anything else, does so for it, by the name of a file in a folder that
 * the host's own configuration gives. Agent and runner speak over a socketpair in
 * the messages below.
 */
#ifndef DUET_HOST_COMMANDS_H
#define DUET_HOST_COMMANDS_H

#include <limits.h>
#include <sys/types.h>
#include "host.h"

#define COMMAND_JOBS	256		/* that run at a time */
#define COMMAND_OUTPUT	65536		/* bytes; a command that writes more has failed */
#define COMMAND_LINE	96		/* of its output, for the reason */

/* What a command runs as and from where: the host's own configuration. */
struct command_policy {
	const char *dir, *user;		/* borrowed */
	uid_t uid;
	gid_t gid;
};

enum command_verb { COMMAND_RUN, COMMAND_CANCEL };

struct command_request {
	uint64_t id;
	uint32_t verb, timeout_ms;
	uint32_t port, zero;
	struct addr vip, dip, target;
	char name[PROBE_COMMAND];
};

struct command_result {
	uint64_t id;			/* 0: the runner is ready, reason says how it ends what is left of a command */
	char reason[160];		/* "": status 0 */
};

/* commands_policy - of a configuration; -EINVAL and a sentence: no such user, or root */
int commands_policy(const struct conf *conf, struct command_policy *policy, struct err *e);
/* commands_folder - may commands be run from there? Root's, and nobody else may write there or above */
int commands_folder(const char *dir, struct err *e);
/* commands_file - may that file of the folder be run? Its path; looked at at each use */
int commands_file(const char *dir, const char *name, char path[PATH_MAX], struct err *e);

/* ---- commands.c: the agent's end ---- */
struct check;

/* commands_fork - the runner, before the agent has opened anything; *commands is NULL if the configuration allows none */
int commands_fork(const struct conf *conf, struct commands **commands, struct err *e);
int commands_attach(struct commands *commands, sd_event *loop, struct checks *checks);
void commands_stop(struct commands *commands);
/* commands_run - check_result() follows, for the check that has this number; 0 or -errno. commands_cancel: it doesn't */
int commands_run(struct commands *commands, const struct command_request *request);
void commands_cancel(struct commands *commands, uint64_t id);

/* ---- command_runner.c: the runner, which doesn't return ---- */
void command_runner(int socket, const struct command_policy *policy) __attribute__((noreturn));

/* ---- command_job.c: one command, and all it leaves behind ---- */
struct command_job {
	const struct command_policy *policy;
	const char *path;
	const struct command_request *request;
	int output;			/* write end */
	int status;			/* write end: the wait status of the command */
	int cgroup;			/* folder fd of a cgroup for it alone; -1: none */
};

/* command_supervise - in a process forked for it: runs the command, ends all that is left of it when it ends or at
 * SIGTERM, and exits when nothing of it is left
 */
void command_supervise(const struct command_job *job) __attribute__((noreturn));

#endif
