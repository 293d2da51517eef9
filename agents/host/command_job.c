// SPDX-License-Identifier: GPL-2.0
/*
 * One command of a check: as an unprivileged user, without capabilities or a way to
 * get any, in a session and, where the host lets us, a cgroup for it alone. Its
 * supervisor adopts what it leaves behind (PR_SET_CHILD_SUBREAPER), so a process
 * that leaves the session by setsid() ends with it, cgroup or not.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"

#define AGAIN_NS	5000000		/* between two looks at what is still there */

static void say(int fd, const char *name, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %s\n", name, text);
}

static void limit(int what, rlim_t most)
{
	const struct rlimit l = { most, most };

	setrlimit(what, &l);
}

static void enter(int cgroup)
{
	int fd = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	/* without it the supervisor's adoption does the same */
	if (fd >= 0 && write(fd, "0", 1) == 1)
		close(fd);
}

/* become - the command */
static void __attribute__((noreturn)) become(const struct command_job *job)
{
	char vip[16 + ADDR_STRLEN] = "DUET_VIP=", dip[16 + ADDR_STRLEN] = "DUET_DIP=", target[16 + ADDR_STRLEN] = "DUET_TARGET=";
	char port[32], path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LC_ALL=C.UTF-8";
	char *argv[] = { (char *)job->path, NULL }, *env[] = { vip, dip, target, port, path, lang, NULL };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), sig;
	sigset_t none;

	addr_str(&job->request->vip, vip + strlen(vip));
	addr_str(&job->request->dip, dip + strlen(dip));
	if (!addr_is_none(&job->request->target))
		addr_str(&job->request->target, target + strlen(target));
	snprintf(port, sizeof(port), "DUET_PORT=%u", job->request->port);
	if (job->cgroup >= 0)
		enter(job->cgroup);
	setsid();
	umask(077);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, 256);
	limit(RLIMIT_NPROC, 512);
	limit(RLIMIT_AS, 1ul << 30);
	limit(RLIMIT_CPU, job->request->timeout_ms / 1000 + 2);
	for (sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(job->output, 1) < 0 || dup2(job->output, 2) < 0 || chdir("/"))
		_exit(126);
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_change_id(job->policy->uid, job->policy->gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING | CAPNG_CLEAR_AMBIENT) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || geteuid() != job->policy->uid) {
		say(2, job->request->name, "the agent can't run it as the user of [checks]");
		_exit(126);
	}
	syscall(SYS_close_range, 3, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(job->path, argv, env);
	say(2, job->request->name, strerror(errno));
	_exit(127);
}

/* end_children - of this process, which has adopted those whose parents have ended */
static void end_children(void)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		if (pid > 0)
			kill(pid, SIGKILL);
	if (f)
		fclose(f);
}

static void end_all(const struct command_job *job)
{
	int fd = job->cgroup < 0 ? -1 : openat(job->cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			fprintf(stderr, "%s: cgroup.kill: %s\n", job->path, strerror(errno));
		close(fd);
	}
	end_children();
}

void command_supervise(const struct command_job *job)
{
	const struct timespec again = { .tv_nsec = AGAIN_NS };
	struct command_job own = *job;
	bool ending = false;
	sigset_t set;
	pid_t child, pid;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	prctl(PR_SET_NAME, "duet-check");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0))
		_exit(1);
	child = fork();
	if (!child)
		become(&own);
	if (child < 0)
		_exit(1);
	close(own.output);
	for (;;) {
		int sig = ending ? sigtimedwait(&set, NULL, &again) : sigwaitinfo(&set, NULL);

		ending |= sig == SIGTERM;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid != child)
				continue;
			ending = true;
			if (write(own.status, &status, sizeof(status)) != sizeof(status))
				break;
		}
		if (pid < 0 && errno == ECHILD)
			_exit(0);
		if (ending)
			end_all(&own);
	}
}
