// SPDX-License-Identifier: GPL-2.0
/* helper CONFIGURATION FD - the helper of the host agent, as it is, with whoever holds the other end of FD as its agent. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "../../agents/host/helper.h"
#include "log.h"

int main(int argc, char **argv)
{
	struct conf conf = {};
	struct err e;

	log_init("helper");
	if (argc != 3 || config_read(argv[1], &conf, &e)) {
		fprintf(stderr, "%s\n", argc == 3 ? e.text : "usage: helper CONFIGURATION FD");
		return 2;
	}
	privileged(atoi(argv[2]), eventfd(0, EFD_CLOEXEC), &conf);
}
