/* SPDX-License-Identifier: GPL-2.0 */
/* Members of a JSON object, read with their bounds; a refusal is a sentence that begins with `where`. */
#ifndef DUET_LIB_FIELDS_H
#define DUET_LIB_FIELDS_H

#include <jansson.h>
#include "conf.h"

/* fields_known - does it have no other members than these? the list ends with NULL */
int fields_known(json_t *object, const char *const *known, const char *where, struct err *e);
/* field_uint - a number from min to max; absent: fallback */
int field_uint(json_t *object, const char *key, unsigned int min, unsigned int max, unsigned int fallback,
	       const char *where, unsigned int *out, struct err *e);
/* field_text - a string that fits; absent: *out stays as it is */
int field_text(json_t *object, const char *key, const char *where, char *out, size_t size, struct err *e);

#endif
