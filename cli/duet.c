// SPDX-License-Identifier: GPL-2.0
/*
 * duet - the muxes of this node: show and change them, ask them what they
 * would do. Life of a device, addresses and routes are ip(8)'s.
 */
#include "duet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon.h"

static const struct command *const objects[] = { dev_commands, vip_commands, flow_commands, monitor_commands };

static void usage(FILE *out)
{
	const struct command *c;
	unsigned int i;

	fputs("usage: duet [-j] OBJECT COMMAND ...\n", out);
	for (i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		for (c = objects[i]; c->object; c++)
			fprintf(out, "  duet %s%s%s %s\n", c->object, c->verb ? " " : "",
				c->verb ?: "", c->usage);
	fputs("  -j, --json  print JSON      exit: 0 done, 1 refused, 2 usage\n"
	      "  a device is set up by `ip link set NAME up` and deleted by `ip link del NAME`\n", out);
}

int cli_open(struct cli *cli, struct err *e)
{
	return cli->nl ? 0 : duet_nl_open(&cli->nl, e);
}

int cli_refused(const struct err *e, const char *about)
{
	if (about && !strstr(e->text, about))
		fprintf(stderr, "duet: %s: %s\n", about, e->text);
	else
		fprintf(stderr, "duet: %s\n", e->text);
	return EXIT_REFUSED;
}

int cli_usage(const char *fmt, ...)
{
	va_list ap;

	fputs("duet: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" (duet help shows the commands)\n", stderr);
	return EXIT_USAGE;
}

bool cli_addr(const char *text, struct addr *out)
{
	if (!addr_parse(text, out))
		return true;
	cli_usage("\"%s\" is no address", text);
	return false;
}

bool cli_uint(const char *what, const char *text, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 0);
	if (errno || *end || *text < '0' || *text > '9' || *out > max) {
		cli_usage("%s is a whole number up to %lu, not \"%s\"", what, max, text);
		return false;
	}
	return true;
}

static const struct command *find(int *n, char ***args)
{
	const char *object = (*args)[0], *verb = *n > 1 ? (*args)[1] : NULL;
	bool known = false;
	unsigned int i;

	for (i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		const struct command *c;

		for (c = objects[i]; c->object; c++) {
			if (strcmp(c->object, object))
				continue;
			known = true;
			if (c->verb && strcmp(c->verb, verb ?: "show"))
				continue;
			*args += 1 + (c->verb && verb);
			*n -= 1 + (c->verb && verb);
			return c;
		}
	}
	if (known)
		cli_usage("%s: no command \"%s\"", object, verb);
	else
		cli_usage("no object \"%s\"", object);
	return NULL;
}

/* options - take them out of args[*n], wherever they stand; -1: go on */
static int options(struct cli *cli, int *n, char **args)
{
	int i, left = 0;

	for (i = 0; i < *n; i++) {
		const char *text = args[i];

		if (!strcmp(text, "-j") || !strcmp(text, "--json")) {
			cli->json = true;
		} else if (!strcmp(text, "-V") || !strcmp(text, "--version")) {
			puts("duet " DUET_VERSION);
			return EXIT_OK;
		} else if (!strcmp(text, "-h") || !strcmp(text, "--help") || (!left && !strcmp(text, "help"))) {
			usage(stdout);
			return EXIT_OK;
		} else if (!left && text[0] == '-') {
			return cli_usage("no option \"%s\"", text);
		} else {
			args[left++] = args[i];
		}
	}
	*n = left;
	return -1;
}

int main(int argc, char **argv)
{
	const struct command *c;
	struct cli cli = {};
	int ret;

	argc--;
	argv++;
	ret = options(&cli, &argc, argv);
	if (ret >= 0)
		return ret;
	if (!argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	c = find(&argc, &argv);
	if (!c)
		return EXIT_USAGE;
	ret = c->run(&cli, argc, argv);
	duet_nl_close(cli.nl);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "duet: can't write the output: %s\n", strerror(errno));
		return EXIT_REFUSED;
	}
	return ret;
}
