/* SPDX-License-Identifier: GPL-2.0 */
/* What the commands of the tool `duet` share. */
#ifndef DUET_CLI_DUET_H
#define DUET_CLI_DUET_H

#include "duet_nl.h"
#include "out.h"

/* Exit codes: done; refused, with a sentence on stderr; wrong usage */
enum { EXIT_OK, EXIT_REFUSED, EXIT_USAGE };

struct cli {
	struct duet_nl *nl;	/* after cli_open() */
	bool json;
};

/* One command: args[n] are what stands after its name. Returns an exit code. */
struct command {
	const char *object, *verb;
	int (*run)(struct cli *cli, int n, char **args);
	const char *usage;	/* what stands after object and verb */
};

extern const struct command dev_commands[], vip_commands[], flow_commands[], monitor_commands[];

/* cli_open - once what was typed is understood; 0 or -errno */
int cli_open(struct cli *cli, struct err *e);
/* cli_refused - print the sentence, after what it is about where it doesn't say
 * that itself (NULL: nothing); returns EXIT_REFUSED
 */
int cli_refused(const struct err *e, const char *about);
/* cli_usage - print what is wrong; returns EXIT_USAGE */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* cli_addr - an address; false after printing what is wrong */
bool cli_addr(const char *text, struct addr *out);
/* cli_uint - a whole number up to max; false after printing what is wrong */
bool cli_uint(const char *what, const char *text, unsigned long max, unsigned long *out);

#endif
