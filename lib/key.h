/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The key of the deployment's hash (duet/hash.h) as programs handle it: read,
 * made, compared. It is a secret: nothing here prints it, and what is shown of it
 * is its fingerprint, which tells keys apart and nothing about them.
 */
#ifndef DUET_LIB_KEY_H
#define DUET_LIB_KEY_H

#include <duet/hash.h>
#include <duet/limits.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "conf.h"

#define KEY_TEXT	(2 * DUET_KEY_LEN + 1)
#define KEY_FINGERPRINT	17

extern const char *const key_names[DUET_KEYS];	/* as states and devices call them */

struct secret {
	uint8_t bytes[DUET_KEY_LEN];	/* zeros: none */
};

bool key_is_none(const struct secret *key);
bool key_equal(const struct secret *a, const struct secret *b);
/* key_parse - 32 hex digits; -EINVAL: they aren't, or are all zeros */
int key_parse(const char *text, struct secret *key);
/* key_read - from a file that holds 32 hex digits, "-" is standard input; strict: others
 * than its owner must have no access to the file. 0 or -errno.
 */
int key_read(const char *path, bool strict, struct secret *key, struct err *e);
/* key_make - a new one, random; 0 or -errno */
int key_make(struct secret *key);
/* key_text - the key itself, for files and for agents */
const char *key_text(const struct secret *key, char text[KEY_TEXT]);
/* key_fingerprint - 16 hex digits, "none" */
const char *key_fingerprint(const struct secret *key, char text[KEY_FINGERPRINT]);
void key_ready(const struct secret *key, struct duet_key *ready);
/* key_from_json - the member `name` of a state; absent and not required: none. A
 * "seed" is refused: the choice by it is another.
 */
int key_from_json(json_t *body, const char *name, bool required, struct secret *key, struct err *e);
/* keys_from_json - "key" and "key1" of a state; required: at least one */
int keys_from_json(json_t *body, bool required, struct secret keys[DUET_KEYS], struct err *e);
/* keys_have - is key i there for a VIP that chooses by it? A state without any key has none to miss. */
int keys_have(const struct secret keys[DUET_KEYS], unsigned int i, const char *where, struct err *e);

#endif
