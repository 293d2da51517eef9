/* SPDX-License-Identifier: GPL-2.0 */
/* INI files (libinih), read against a table of what may be in them. */
#ifndef DUET_LIB_CONF_H
#define DUET_LIB_CONF_H

#include <stdbool.h>
#include <stddef.h>

/* A sentence for the user: what, on what, why. Filled by every function that
 * takes one when it returns an error; never on success.
 */
struct err {
	char text[512];
};

void err_say(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));	/* e may be NULL */
/* err_set - the sentence, and error as its value: in sight of the compiler, whose analyzer then knows that it isn't 0 */
#define err_set(e, error, ...) ({ int __error = (error); err_say(e, __VA_ARGS__); __error; })

enum conf_type { CONF_STR, CONF_UINT, CONF_BOOL, CONF_ADDR, CONF_PREFIX, CONF_ADDR_PORT };

/* struct conf_key - one key: where it goes in the caller's struct.
 * CONF_STR: char * (malloc'd), CONF_UINT: unsigned int in [min, max],
 * CONF_BOOL: bool, CONF_ADDR: struct addr, CONF_PREFIX: struct prefix,
 * CONF_ADDR_PORT: struct conf_listen, "ADDRESS:PORT", "unix:/PATH.sock" or both.
 */
struct conf_key {
	const char *section, *key;
	enum conf_type type;
	size_t offset;
	bool required;
	unsigned int min, max;
	const char *fallback;	/* value if absent; NULL: left zero */
};

#include "addr.h"
struct conf_listen {
	struct addr addr;
	uint16_t port;		/* 0: no TCP */
	char path[108];		/* of a unix socket; empty: none */
};

/* conf_read - read file into *out by keys[n]. Unknown sections and keys, keys
 * given twice, bad values and missing ones are errors with file and line.
 */
int conf_read(const char *file, const struct conf_key *keys, size_t n, void *out, struct err *e);
/* conf_free - free the strings conf_read() made */
void conf_free(const struct conf_key *keys, size_t n, void *out);

#endif
