// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses of both families in one 16-byte form, prefixes, and their text.
 */
#include "addr.h"

#include <arpa/inet.h>
#include <duet/address.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

int addr_parse(const char *s, struct addr *a)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, s, &v4) == 1)
		return addr_from_raw(&v4, sizeof(v4), a);
	if (inet_pton(AF_INET6, s, &v6) == 1)
		return addr_from_raw(&v6, sizeof(v6), a);
	return -EINVAL;
}

const char *addr_str(const struct addr *a, char *buf)
{
	size_t len;
	const void *raw = addr_raw(a, &len);

	if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, raw, buf, ADDR_STRLEN))
		buf[0] = '\0';
	return buf;
}

bool addr_is_v4(const struct addr *a)
{
	return !memcmp(a->b, v4_mapped, sizeof(v4_mapped));
}

bool addr_is_none(const struct addr *a)
{
	static const struct addr none;

	return !memcmp(a, &none, sizeof(none));
}

const char *addr_not_host(const struct addr *a)
{
	return duet_addr_class_text(duet_addr_class(a->b));
}

const char *addr_host_parse(const char *s, struct addr *a)
{
	return addr_parse(s, a) ? "not an address" : addr_not_host(a);
}

int addr_cmp(const struct addr *a, const struct addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

const void *addr_raw(const struct addr *a, size_t *len)
{
	*len = addr_is_v4(a) ? 4 : 16;
	return a->b + 16 - *len;
}

int addr_from_raw(const void *raw, size_t len, struct addr *a)
{
	if (len == 4) {
		memcpy(a->b, v4_mapped, sizeof(v4_mapped));
		memcpy(a->b + sizeof(v4_mapped), raw, 4);
		return 0;
	}
	if (len == 16) {
		memcpy(a->b, raw, 16);
		return 0;
	}
	return -EINVAL;
}

/* parse_uint - decimal digits only, at most max; returns 0 or -EINVAL */
static int parse_uint(const char *s, unsigned int max, unsigned int *out)
{
	unsigned int value = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		value = value * 10 + (*s - '0');
		if (value > max)
			return -EINVAL;
	}
	*out = value;
	return 0;
}

/* The bits of a prefix in the 16-byte form. */
static unsigned int prefix_bits(const struct prefix *p)
{
	return p->len + (addr_is_v4(&p->addr) ? 96 : 0);
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	unsigned int rest = bits % 8;

	if (memcmp(a, b, bits / 8))
		return false;
	return !rest || !((a[bits / 8] ^ b[bits / 8]) >> (8 - rest));
}

int prefix_parse(const char *s, struct prefix *p)
{
	const char *slash = strchr(s, '/');
	char host[ADDR_STRLEN];
	struct prefix parsed;
	unsigned int i;

	if (!slash || (size_t)(slash - s) >= sizeof(host))
		return -EINVAL;
	memcpy(host, s, slash - s);
	host[slash - s] = '\0';
	if (addr_parse(host, &parsed.addr) ||
	    parse_uint(slash + 1, addr_is_v4(&parsed.addr) ? 32 : 128, &parsed.len))
		return -EINVAL;
	for (i = prefix_bits(&parsed); i < 128; i++)
		if (parsed.addr.b[i / 8] & (0x80 >> (i % 8)))
			return -EINVAL;
	*p = parsed;
	return 0;
}

struct prefix host_prefix(const struct addr *a)
{
	struct prefix p = { .addr = *a, .len = addr_is_v4(a) ? 32 : 128 };

	return p;
}

bool prefix_holds(const struct prefix *p, const struct addr *a)
{
	return addr_is_v4(&p->addr) == addr_is_v4(a) &&
	       bits_equal(p->addr.b, a->b, prefix_bits(p));
}

const char *prefix_not_hosts(const struct prefix *p)
{
	/* the classes that lie in the midst of a /8; of all others an end of p is one */
	static const struct addr inside[] = {
		{ { [10] = 0xff, 0xff, 169, 254 } },
		{ { 0xfe, 0x80 } },
	};
	struct addr last = p->addr;
	const char *why = addr_not_host(&p->addr);
	unsigned int i;

	if (p->len < 8)
		return "wider than a /8";
	for (i = prefix_bits(p); i < 128; i++)
		last.b[i / 8] |= 0x80 >> (i % 8);
	why = why ? why : addr_not_host(&last);
	for (i = 0; !why && i < 2; i++)
		why = prefix_holds(p, &inside[i]) ? addr_not_host(&inside[i]) : NULL;
	return why;
}

bool prefixes_allow(const struct prefix *list, unsigned int n, const struct prefix *p)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (p->len >= list[i].len && prefix_holds(&list[i], &p->addr))
			return true;
	return !n;
}

const char *mux_prefix_refused(const struct prefix *p)
{
	const char *why = prefix_not_hosts(p);

	if (!why && p->len < (addr_is_v4(&p->addr) ? 16 : 48))
		why = "wider than one mux needs (/16, IPv6: /48)";
	return why;
}

int addr_port_parse(const char *s, struct addr *a, uint16_t *port)
{
	const char *colon = strrchr(s, ':');
	char host[ADDR_STRLEN];
	struct addr parsed;
	unsigned int value;
	bool bracket = s[0] == '[';
	size_t len;

	if (!colon)
		return -EINVAL;
	len = colon - s;
	if (bracket) {
		if (len < 2 || s[len - 1] != ']')
			return -EINVAL;
		s++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, s, len);
	host[len] = '\0';
	/* no bracket, no IPv6: "2001:db8::1" has no port, not port 1 */
	if (bracket != !!strchr(host, ':') || addr_parse(host, &parsed) ||
	    parse_uint(colon + 1, 65535, &value))
		return -EINVAL;
	*a = parsed;
	*port = value;
	return 0;
}
