// SPDX-License-Identifier: GPL-2.0
#include "fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int fields_known(json_t *object, const char *const *known, const char *where, struct err *e)
{
	const char *key;
	json_t *value;
	unsigned int i;

	json_object_foreach(object, key, value) {
		for (i = 0; known[i] && strcmp(known[i], key); i++)
			;
		if (!known[i])
			return err_set(e, -EINVAL, "%s: there is no such member as \"%.64s\"", where, key);
	}
	return 0;
}

int field_uint(json_t *object, const char *key, unsigned int min, unsigned int max, unsigned int fallback,
	       const char *where, unsigned int *out, struct err *e)
{
	json_t *v = json_object_get(object, key);

	*out = fallback;
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return err_set(e, -EINVAL, "%s: \"%s\" must be a number from %u to %u", where, key, min, max);
	*out = json_integer_value(v);
	return 0;
}

int field_text(json_t *object, const char *key, const char *where, char *out, size_t size, struct err *e)
{
	json_t *v = json_object_get(object, key);

	if (!v)
		return 0;
	if (!json_is_string(v) || !json_string_length(v) || json_string_length(v) >= size)
		return err_set(e, -EINVAL, "%s: \"%s\" must be a text of 1 to %zu characters", where, key, size - 1);
	snprintf(out, size, "%s", json_string_value(v));
	return 0;
}
