// SPDX-License-Identifier: GPL-2.0
/*
 * BIRD's answers, read: `show protocols all` and the listing of a table, as
 * BIRD 2.0.12 prints them (2.15 and 3.x: the same lines).
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* value - "  Neighbor AS:      65002": what follows key, or NULL */
static const char *value(const char *line, const char *key)
{
	size_t len = strlen(key);

	line += strspn(line, " \t");
	if (strncmp(line, key, len))
		return NULL;
	return line + len + strspn(line + len, " \t");
}

static void take(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%.*s", (int)strcspn(text, " \t%"), text);
}

static void detail(struct neighbour *n, const char *line)
{
	const char *v;

	v = value(line, "BGP state:");
	if (v)
		take(n->state, sizeof(n->state), v);
	v = value(line, "Neighbor address:");
	if (v) {
		take(n->address, sizeof(n->address), v);
		v = strchr(v, '%');
		if (v)
			take(n->link, sizeof(n->link), v + 1);
	}
	v = value(line, "Neighbor AS:");
	if (v)
		n->asn = strtoul(v, NULL, 10);
	v = value(line, "Neighbor ID:");
	if (v)
		take(n->id, sizeof(n->id), v);
}

int bird_protocols(const char *text, const char *kernel, char *kernel_state, size_t size, struct neighbour **list,
		   unsigned int *n)
{
	char buf[256], name[64], proto[16], table[64], state[16];
	struct neighbour *more, *now = NULL;
	const char *line, *end;

	*list = NULL;
	*n = 0;
	kernel_state[0] = '\0';
	for (line = text; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		snprintf(buf, sizeof(buf), "%.*s", (int)(end - line), line);
		if (buf[0] == ' ') {
			if (now)
				detail(now, buf);
			continue;
		}
		now = NULL;
		if (sscanf(buf, "%63s %15s %63s %15s", name, proto, table, state) != 4)
			continue;
		if (!strcmp(name, kernel))
			snprintf(kernel_state, size, "%s", strcmp(proto, "Kernel") ? "no kernel protocol" : state);
		if (strcmp(proto, "BGP"))
			continue;
		more = realloc(*list, (*n + 1) * sizeof(**list));
		if (!more)
			return -ENOMEM;
		*list = more;
		now = &more[(*n)++];
		memset(now, 0, sizeof(*now));
		memcpy(now->name, name, sizeof(name));
		snprintf(now->state, sizeof(now->state), "%s", state);
	}
	return 0;
}

/* "203.0.113.1/32       unicast [kduet 12:00:00.000] * (10)" */
void bird_routes(const char *text, void (*route)(const struct prefix *p, void *ctx), void *ctx)
{
	char prefix[ADDR_STRLEN + 5];
	const char *line, *end;
	struct prefix p;

	for (line = text; *line; line = *end ? end + 1 : end) {
		size_t n = strcspn(line, " \t\n");

		end = strchrnul(line, '\n');
		if (!n || n >= sizeof(prefix))
			continue;
		memcpy(prefix, line, n);
		prefix[n] = '\0';
		if (!prefix_parse(prefix, &p))
			route(&p, ctx);
	}
}
