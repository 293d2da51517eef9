// SPDX-License-Identifier: GPL-2.0
#include "json_budget.h"

#include <errno.h>
#include <stdbool.h>

int json_budget(const char *text, size_t len, size_t nodes)
{
	bool quoted = false;
	size_t i, n = 1;
	int depth = 0;

	for (i = 0; i < len; i++) {
		char c = text[i];

		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
			continue;
		}
		if (c == '"') {
			quoted = true;
		} else if (c == '[' || c == '{') {
			n++;
			if (++depth > JSON_DEPTH_MAX)
				return -ELOOP;
		} else if (c == ']' || c == '}') {
			depth--;
		} else if (c == ',' || c == ':') {
			n++;
		}
		if (n > nodes)
			return -E2BIG;
	}
	return 0;
}
