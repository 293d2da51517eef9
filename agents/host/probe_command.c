// SPDX-License-Identifier: GPL-2.0
/* Probes by a command of the host's own: status 0 is up. commands.h says who runs it. */
#include <stdio.h>

#include "check.h"
#include "commands.h"

static void cancel(struct check *c)
{
	if (c->job)
		commands_cancel(c->all->commands, c->job);
	c->job = 0;
}

static void start(struct check *c)
{
	struct command_request q = { .verb = COMMAND_RUN, .timeout_ms = c->def.probe.timeout_ms, .port = c->def.probe.port,
				     .target = c->def.target };
	static uint64_t last;
	int ret;

	if (!c->all->commands) {
		check_failed(c, "checks by command are off on this host");
		return;
	}
	q.id = ++last;
	q.vip = to_addr(&c->def.key.vip);
	q.dip = to_addr(&c->def.key.dip);
	snprintf(q.name, sizeof(q.name), "%s", c->def.probe.command);
	ret = commands_run(c->all->commands, &q);
	if (ret)
		check_failed(c, "the command isn't run: %s", strerror(-ret));
	else
		c->job = q.id;
}

static const char *awaits(const struct check *c)
{
	return "end of the command";
}

const struct probe_ops probe_command = { start, cancel, awaits };
