// SPDX-License-Identifier: GPL-2.0
#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool name_good(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(name);

	return len && len < 64 && strspn(name, letters) == len && !strchr("._-", *name);
}

/* character - bytes of the character at in, 0: it is no UTF-8; *code is it */
static unsigned int character(const unsigned char *in, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned int n = *in < 0x80 ? 1 : (*in & 0xe0) == 0xc0 ? 2 : (*in & 0xf0) == 0xe0 ? 3 : (*in & 0xf8) == 0xf0 ? 4 : 0, i;

	*code = n == 1 ? *in : *in & (0xff >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((in[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (in[i] & 0x3f);
	}
	return n && *code >= least[n] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff) ? n : 0;
}

/* hidden - characters that move the cursor, end a line, or turn its direction */
static bool hidden(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

char *text_shown(char *out, size_t size, const char *in)
{
	const unsigned char *at = (const unsigned char *)in;
	size_t n = 0;
	uint32_t c;

	while (*at) {
		unsigned int i, len = character(at, &c);
		bool plain = len && !hidden(c);

		len = len ? len : 1;
		if (n + 4 * len >= size)
			break;
		for (i = 0; i < len; i++, at++)
			if (plain)
				out[n++] = *at;
			else
				n += *at == '\n' ? snprintf(out + n, size - n, "\\n") : snprintf(out + n, size - n, "\\x%02x", *at);
	}
	out[n] = 0;
	return out;
}

bool text_is_shown(const char *in)
{
	const unsigned char *at = (const unsigned char *)in;
	unsigned int len;
	uint32_t c;

	for (; *at; at += len) {
		len = character(at, &c);
		if (!len || hidden(c))
			return false;
	}
	return true;
}
