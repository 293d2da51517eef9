// SPDX-License-Identifier: GPL-2.0
/* The agent's end of checks by command: the runner does the work. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "commands.h"
#include "log.h"

struct commands {
	char *dir, *user, *ends;	/* for status */
	int socket;
	pid_t runner;
	sd_event_source *io;
	struct checks *checks;
};

static int fork_runner(struct commands *c, const struct command_policy *policy, struct err *e)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return err_set(e, -errno, "checks by command: no socket: %s", strerror(errno));
	c->runner = fork();
	if (!c->runner) {
		close(fds[0]);
		command_runner(fds[1], policy);
	}
	close(fds[1]);
	c->socket = fds[0];
	return c->runner < 0 ? err_set(e, -errno, "checks by command: no process: %s", strerror(errno)) : 0;
}

int commands_fork(const struct conf *conf, struct commands **out, struct err *e)
{
	struct command_result ready = {};
	struct command_policy policy;
	struct commands *c;
	struct err why;
	int ret;

	*out = NULL;
	if (!conf->check_dir)
		return 0;
	ret = commands_policy(conf, &policy, e);
	if (ret)
		return ret;
	if (commands_folder(policy.dir, &why))
		log_warn("checks by command fail until this is mended: %s", why.text);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	c->socket = -1;
	ret = fork_runner(c, &policy, e);
	if (!ret && recv(c->socket, &ready, sizeof(ready), 0) != sizeof(ready))
		ret = err_set(e, -EPERM, "checks by command: no runner: it needs root, to become user %s", policy.user);
	c->dir = strdup(policy.dir);
	c->user = strdup(policy.user);
	c->ends = strdup(ready.reason);
	if (!ret && (!c->dir || !c->user || !c->ends))
		ret = err_set(e, -ENOMEM, "no memory");
	if (ret) {
		commands_stop(c);
		return ret;
	}
	log_info("checks by command: from %s, as user %s; what they leave ends %s", policy.dir, policy.user, ready.reason);
	*out = c;
	return 0;
}

static int on_result(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	struct command_result r;
	struct commands *c = ctx;
	ssize_t n = recv(fd, &r, sizeof(r), MSG_DONTWAIT);
	unsigned int i;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != sizeof(r)) {
		log_err("the runner of checks by command has ended: starting anew");
		return sd_event_exit(sd_event_source_get_event(source), 1);
	}
	r.reason[sizeof(r.reason) - 1] = '\0';
	for (i = 0; i < c->checks->n; i++) {
		if (!r.id || c->checks->list[i]->job != r.id)
			continue;
		c->checks->list[i]->job = 0;
		check_result(c->checks->list[i], r.reason);
		break;
	}
	return 0;
}

int commands_attach(struct commands *c, sd_event *loop, struct checks *checks)
{
	checks->commands = c;
	if (!c)
		return 0;
	c->checks = checks;
	return sd_event_add_io(loop, &c->io, c->socket, EPOLLIN, on_result, c);
}

void commands_stop(struct commands *c)
{
	if (!c)
		return;
	sd_event_source_disable_unref(c->io);
	if (c->socket >= 0)
		close(c->socket);
	if (c->runner > 0)
		waitpid(c->runner, NULL, 0);
	free(c->dir);
	free(c->user);
	free(c->ends);
	free(c);
}

int commands_run(struct commands *c, const struct command_request *q)
{
	return send(c->socket, q, sizeof(*q), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(*q) ? 0 : -errno;
}

void commands_cancel(struct commands *c, uint64_t id)
{
	struct command_request q = { .id = id, .verb = COMMAND_CANCEL };

	if (send(c->socket, &q, sizeof(q), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(q))
		log_debug("a command isn't cancelled: its own timeout ends it");
}

int commands_allowed(const struct commands *c, const struct desired *d, struct err *e)
{
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < d->n_checks && !c; i++) {
		const struct check_def *def = &d->checks[i];

		if (def->probe.type == CHECK_COMMAND)
			return err_set(e, -EPERM, "VIP %s, DIP %s: the check by command \"%s\" is refused: they are off on this host; to allow them, set [checks] command-dir in its configuration",
				       str_addr(&def->key.vip, vip), str_addr(&def->key.dip, dip), def->probe.command);
	}
	return 0;
}

json_t *commands_json(const struct commands *c)
{
	struct err e = {};

	if (!c)
		return json_pack("{s:b, s:s}", "allowed", 0, "reason", "[checks] command-dir is not set in this host's configuration");
	commands_folder(c->dir, &e);
	return json_pack("{s:b, s:s, s:s, s:s, s:s}", "allowed", 1, "folder", c->dir, "user", c->user, "left-behind-ends", c->ends,
			 "reason", e.text);
}
