// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: configuration files, and the addresses, prefixes and ports in
 * them. A file is taken whole or refused with a sentence; an address that was
 * read is the same one after it was written.
 */
#include "conf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct all {
	char *str, *other;
	unsigned int num, small;
	bool flag;
	struct addr addr;
	struct prefix prefix;
	struct conf_listen listen;
};

static const struct conf_key keys[] = {
	{ "a", "str", CONF_STR, offsetof(struct all, str), true, 0, 0, NULL },
	{ "a", "other", CONF_STR, offsetof(struct all, other), false, 0, 0, "something" },
	{ "a", "num", CONF_UINT, offsetof(struct all, num), false, 0, 0, NULL },
	{ "a", "small", CONF_UINT, offsetof(struct all, small), false, 1, 9, "3" },
	{ "b", "flag", CONF_BOOL, offsetof(struct all, flag), false, 0, 0, NULL },
	{ "b", "addr", CONF_ADDR, offsetof(struct all, addr), false, 0, 0, NULL },
	{ "b", "prefix", CONF_PREFIX, offsetof(struct all, prefix), false, 0, 0, NULL },
	{ "b", "listen", CONF_ADDR_PORT, offsetof(struct all, listen), false, 0, 0, NULL },
};

static void must(bool x)
{
	if (!x)
		__builtin_trap();
}

static void same_again(const struct addr *a)
{
	char text[ADDR_STRLEN];
	struct addr again;

	must(!addr_parse(addr_str(a, text), &again) && !addr_cmp(a, &again));
}

/* texts - each parser by itself: most files never get as far */
static void texts(const char *text)
{
	struct prefix p;
	struct addr a;
	uint16_t port;

	if (!addr_parse(text, &a))
		same_again(&a);
	if (!prefix_parse(text, &p)) {
		must(prefix_holds(&p, &p.addr));
		same_again(&p.addr);
	}
	if (!addr_port_parse(text, &a, &port))
		same_again(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct all all = { 0 };
	struct err e = { "" };
	char path[32], *text;

	if (fd < 0)
		fd = memfd_create("conf", 0);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!conf_read(path, keys, sizeof(keys) / sizeof(keys[0]), &all, &e)) {
		must(all.str && all.other && all.small >= 1 && all.small <= 9);
		same_again(&all.addr);
		same_again(&all.listen.addr);
		conf_free(keys, sizeof(keys) / sizeof(keys[0]), &all);
	} else {
		must(e.text[0]);
	}
	must(!all.str && !all.other);

	text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = 0;
	texts(text);
	free(text);
	return 0;
}
