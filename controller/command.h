/* SPDX-License-Identifier: GPL-2.0 */
/* duet-controller as a command on its store, the controller itself being stopped. */
#ifndef DUET_CONTROLLER_COMMAND_H
#define DUET_CONTROLLER_COMMAND_H

#include "controller.h"

struct command {
	const char *what;	/* "check", "export", "import", "backup"; NULL: be the controller */
	const char *file;
};

extern const char command_help[];
/* command_take - take these options out of the arguments */
int command_take(int *argc, char **argv, struct command *c, struct err *e);
int command_run(struct controller *ctl, const struct command *c, struct err *e);

#endif
