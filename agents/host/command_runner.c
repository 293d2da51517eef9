// SPDX-License-Identifier: GPL-2.0
/*
 * The runner of checks by command: a process without sockets, maps or keys of the
 * agent, that keeps the right to become another user and to kill, and nothing else. It
 * ends, with all that runs, when the agent ends.
 */
#include <cap-ng.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "log.h"

struct runner {
	sd_event *loop;
	const struct command_policy *policy;
	int socket, root, cgroups;	/* cgroup2, and the folder of the jobs' cgroups; -1: none */
	char cgroups_path[PATH_MAX];
	unsigned int running;
	struct job *jobs;
};

struct job {
	struct job *next;
	struct runner *runner;
	uint64_t id;
	pid_t supervisor;
	int output, status;		/* read ends */
	sd_event_source *readable, *ended, *late;
	char line[COMMAND_LINE];
	size_t written;
	bool silent, timed_out;		/* nobody waits for it */
	uint32_t timeout_ms;
};

static void answer(struct runner *r, uint64_t id, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void answer(struct runner *r, uint64_t id, const char *fmt, ...)
{
	struct command_result result = { .id = id };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result.reason, sizeof(result.reason), fmt, ap);
	va_end(ap);
	if (send(r->socket, &result, sizeof(result), MSG_NOSIGNAL) != sizeof(result))
		sd_event_exit(r->loop, 0);
}

/* cgroups_open - a cgroup below ours, in which each job has one: the unit delegates it (Delegate=yes) */
static int cgroups_open(struct runner *r)
{
	char line[PATH_MAX], own[PATH_MAX / 2] = "";
	FILE *f = fopen("/proc/self/cgroup", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "0::/%2047[^\n]", own) == 1 || !strncmp(line, "0::/", 4))
			break;
	if (f)
		fclose(f);
	r->root = hook_root_cgroup();
	if (r->root < 0)
		return r->root;
	snprintf(r->cgroups_path, sizeof(r->cgroups_path), "%s%sduet-checks.%d", own, own[0] ? "/" : "", getpid());
	if (mkdirat(r->root, r->cgroups_path, 0755) && errno != EEXIST)
		return -errno;
	r->cgroups = openat(r->root, r->cgroups_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->cgroups < 0)
		return -errno;
	if (!faccessat(r->cgroups, "cgroup.kill", W_OK, 0))
		return 0;
	close(r->cgroups);
	r->cgroups = -1;
	unlinkat(r->root, r->cgroups_path, AT_REMOVEDIR);
	return -ENOTSUP;
}

static int cgroup_make(struct runner *r, uint64_t id)
{
	char name[32];

	if (r->cgroups < 0)
		return -1;
	snprintf(name, sizeof(name), "%llu", (unsigned long long)id);
	return mkdirat(r->cgroups, name, 0755) ? -1 : openat(r->cgroups, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void cgroup_remove(struct runner *r, uint64_t id)
{
	char name[32];

	snprintf(name, sizeof(name), "%llu", (unsigned long long)id);
	if (r->cgroups >= 0)
		unlinkat(r->cgroups, name, AT_REMOVEDIR);
}

static void job_free(struct job *j)
{
	struct job **at = &j->runner->jobs;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	j->runner->running--;
	sd_event_source_disable_unref(j->readable);
	sd_event_source_disable_unref(j->ended);
	sd_event_source_disable_unref(j->late);
	close(j->output);
	close(j->status);
	cgroup_remove(j->runner, j->id);
	free(j);
}

/* collect - what the command wrote: the first line is kept, in letters that are safe everywhere */
static void collect(struct job *j)
{
	char data[4096];
	ssize_t n, i;

	while ((n = read(j->output, data, sizeof(data))) > 0) {
		for (i = 0; i < n; i++, j->written++) {
			bool ended = memchr(j->line, '\0', sizeof(j->line) - 1) == j->line + j->written;

			if (j->written >= sizeof(j->line) - 1 || !ended)
				continue;
			if (data[i] == '\n')
				j->line[j->written] = '\0';
			else
				j->line[j->written] = data[i] >= ' ' && data[i] < 127 ? data[i] : '?';
		}
		if (j->written > COMMAND_OUTPUT) {
			kill(j->supervisor, SIGTERM);
			return;
		}
	}
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	struct job *j = ctx;

	collect(j);
	if (j->written > COMMAND_OUTPUT || events & (EPOLLHUP | EPOLLERR))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static void report(struct job *j)
{
	const char *colon = j->line[0] ? ": " : "";
	int status;

	if (j->silent)
		return;
	if (j->written > COMMAND_OUTPUT)
		answer(j->runner, j->id, "the command wrote more than %u bytes and was killed", COMMAND_OUTPUT);
	else if (j->timed_out)
		answer(j->runner, j->id, "no end of the command within %u ms%s%s", j->timeout_ms, colon, j->line);
	else if (read(j->status, &status, sizeof(status)) != sizeof(status))
		answer(j->runner, j->id, "the command can't be run: no process for it");
	else if (WIFSIGNALED(status))
		answer(j->runner, j->id, "the command was killed by signal %d%s%s", WTERMSIG(status), colon, j->line);
	else if (WEXITSTATUS(status))
		answer(j->runner, j->id, "the command ended with status %d%s%s", WEXITSTATUS(status), colon, j->line);
	else
		answer(j->runner, j->id, "%s", "");
}

static int on_ended(sd_event_source *source, const siginfo_t *si, void *ctx)
{
	struct job *j = ctx;

	collect(j);
	report(j);
	job_free(j);
	return 0;
}

static int on_late(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct job *j = ctx;

	j->timed_out = true;
	kill(j->supervisor, SIGTERM);
	return 0;
}

/* supervise - in the forked process: only what the job needs stays open, at the lowest numbers */
static void __attribute__((noreturn)) supervise(struct command_job job)
{
	int fds[] = { job.output, job.status, job.cgroup }, i;

	for (i = 0; i < 3; i++)
		if (fds[i] >= 0)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 6);
	for (i = 0; i < 3; i++)
		if (fds[i] >= 0)
			dup3(fds[i], 3 + i, O_CLOEXEC);
		else
			close(3 + i);
	close_range(6, ~0u, 0);
	job.output = 3;
	job.status = 4;
	if (job.cgroup >= 0)
		job.cgroup = 5;
	command_supervise(&job);
}

static int job_watch(struct job *j)
{
	int ret = sd_event_add_io(j->runner->loop, &j->readable, j->output, EPOLLIN, on_output, j);

	if (ret >= 0)
		ret = sd_event_add_child(j->runner->loop, &j->ended, j->supervisor, WEXITED, on_ended, j);
	if (ret >= 0)
		ret = sd_event_add_time_relative(j->runner->loop, &j->late, CLOCK_MONOTONIC, j->timeout_ms * 1000ull, 1, on_late, j);
	return ret;
}

static void job_start(struct runner *r, const struct command_request *q)
{
	int output[2] = { -1, -1 }, status[2] = { -1, -1 }, cgroup, ret;
	char path[PATH_MAX];
	struct job *j;
	struct err e;

	if (commands_file(r->policy->dir, q->name, path, &e)) {
		answer(r, q->id, "the command isn't run: %s", e.text);
		return;
	}
	j = r->running < COMMAND_JOBS ? calloc(1, sizeof(*j)) : NULL;
	if (!j || pipe2(output, O_CLOEXEC) || pipe2(status, O_CLOEXEC)) {
		answer(r, q->id, "the command isn't run: %s", r->running < COMMAND_JOBS ? strerror(errno) : "too many run already");
		close(output[0]);
		close(output[1]);
		free(j);
		return;
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(status[0], F_SETFL, O_NONBLOCK);
	cgroup = cgroup_make(r, q->id);
	*j = (struct job){ .next = r->jobs, .runner = r, .id = q->id, .output = output[0], .status = status[0],
			   .timeout_ms = q->timeout_ms };
	r->jobs = j;
	r->running++;
	j->supervisor = fork();
	if (!j->supervisor)
		supervise((struct command_job){ r->policy, path, q, output[1], status[1], cgroup });
	ret = j->supervisor < 0 ? -errno : 0;
	close(output[1]);
	close(status[1]);
	if (cgroup >= 0)
		close(cgroup);
	if (!ret)
		ret = job_watch(j);
	if (ret >= 0)
		return;
	answer(r, q->id, "the command isn't run: %s", strerror(-ret));
	if (j->supervisor > 0)
		kill(j->supervisor, SIGTERM);
	job_free(j);
}

static void job_cancel(struct runner *r, uint64_t id)
{
	struct job *j;

	for (j = r->jobs; j && j->id != id; j = j->next)
		;
	if (!j)
		return;
	j->silent = true;
	kill(j->supervisor, SIGTERM);
}

static int on_request(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	struct command_request q;
	struct runner *r = ctx;
	ssize_t n = recv(fd, &q, sizeof(q), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return sd_event_exit(r->loop, 0);	/* the agent has ended */
	if (n != sizeof(q) || strnlen(q.name, sizeof(q.name)) == sizeof(q.name))
		return 0;
	if (q.verb == COMMAND_RUN && q.id)
		job_start(r, &q);
	else if (q.verb == COMMAND_CANCEL)
		job_cancel(r, q.id);
	return 0;
}

/* privileges - to be another user, and to end what that user runs */
static int privileges(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_SETUID, CAP_SETGID, CAP_KILL, CAP_SETPCAP, -1);
	return capng_apply(CAPNG_SELECT_ALL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -EPERM : 0;
}

static void end_all(struct runner *r)
{
	struct job *j;

	for (j = r->jobs; j; j = j->next)
		kill(j->supervisor, SIGTERM);
	while (r->jobs) {
		waitpid(r->jobs->supervisor, NULL, 0);
		job_free(r->jobs);
	}
	if (r->cgroups >= 0)
		unlinkat(r->root, r->cgroups_path, AT_REMOVEDIR);
}

void command_runner(int socket, const struct command_policy *policy)
{
	struct runner r = { .policy = policy, .socket = socket, .root = -1, .cgroups = -1 };
	sigset_t set;
	int ret;

	/* the agent's end is this process's end: no signal that is for the whole group ends it sooner */
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	prctl(PR_SET_NAME, "duet-checks");
	prctl(PR_SET_DUMPABLE, 0);
	ret = cgroups_open(&r);
	if (privileges() || sd_event_new(&r.loop) < 0 ||
	    sd_event_add_io(r.loop, NULL, socket, EPOLLIN, on_request, &r) < 0)
		_exit(1);
	if (ret)
		answer(&r, 0, "by adoption: no cgroup of its own (%s)", strerror(-ret));
	else
		answer(&r, 0, "by cgroup");
	ret = sd_event_loop(r.loop);
	end_all(&r);
	_exit(ret < 0);
}
