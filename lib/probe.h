/* SPDX-License-Identifier: GPL-2.0 */
/* A health check as it is written: the one reader of it, for controller and host agent. */
#ifndef DUET_LIB_PROBE_H
#define DUET_LIB_PROBE_H

#include <jansson.h>
#include "conf.h"

enum check_type { CHECK_TCP, CHECK_HTTP, CHECK_HTTPS, CHECK_ICMP, CHECK_COMMAND, __CHECK_TYPES };
enum check_state { CHECK_UNKNOWN, CHECK_UP, CHECK_DOWN };

#define PROBE_COMMAND	65	/* bytes of the name of a command, with its final 0 */

/* Zero behind its texts: two are equal if their bytes are. */
struct probe_conf {
	enum check_type type;
	enum check_state initial;
	unsigned int port, expect, interval_ms, timeout_ms, rise, fall;
	char path[256], body[128], host[128], command[PROBE_COMMAND];
};

extern const char *const check_type_names[__CHECK_TYPES], *const check_state_names[3];

/* probe_parse - {"type", "port", "path", ...}; port: what it has if it names none, 0: it must name one.
 * "rule" is left for the caller. Refuses with a sentence.
 */
int probe_parse(json_t *json, unsigned int port, const char *where, struct probe_conf *conf, struct err *e);

/* probe_command_name - a file's name and nothing else: letters, digits, "-", "_" and ".", which it doesn't begin with */
int probe_command_name(const char *name, const char *where, struct err *e);

#endif
