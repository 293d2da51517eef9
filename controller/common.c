// SPDX-License-Identifier: GPL-2.0
/* Small things all parts of the controller use: JSON members. */
#include "common.h"

#include <string.h>

const char *get_str(json_t *object, const char *key, const char *fallback)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : fallback;
}

uint64_t get_u64(json_t *object, const char *key, uint64_t fallback)
{
	json_t *v = json_object_get(object, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v)
								: fallback;
}

double get_num(json_t *object, const char *key, double fallback)
{
	json_t *v = json_object_get(object, key);

	return json_is_number(v) ? json_number_value(v) : fallback;
}

json_t *json_cut(const char *text, size_t max)
{
	size_t len = strlen(text);

	if (len > max)
		for (len = max; len && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			;
	return json_stringn(text, len);
}
