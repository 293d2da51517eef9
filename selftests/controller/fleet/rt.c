// SPDX-License-Identifier: GPL-2.0
/*
 * lib/route.h for many muxes in one process: each has a table of triggers of
 * its own, in memory. Every address can be reached, and links are as asked for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "route.h"

struct rt {
	struct rt_trigger *list;	/* sorted */
	unsigned int n, room;
	int events;			/* never readable: nobody else changes routes */
};

int rt_open(struct rt **out, struct err *e)
{
	struct rt *rt = calloc(1, sizeof(*rt));

	if (!rt)
		return err_set(e, -ENOMEM, "no memory");
	rt->events = -1;
	*out = rt;
	return 0;
}

void rt_close(struct rt *rt)
{
	if (!rt)
		return;
	if (rt->events >= 0)
		close(rt->events);
	free(rt->list);
	free(rt);
}

int rt_link_ensure(struct rt *rt, const char *name, const char *kind, bool *created, struct err *e)
{
	*created = false;
	return 0;
}

static int order(const struct prefix *a, const struct prefix *b)
{
	int c = addr_cmp(&a->addr, &b->addr);

	return c ? c : (int)a->len - (int)b->len;
}

static unsigned int place(const struct rt *rt, const struct prefix *p, bool *there)
{
	unsigned int low = 0, high = rt->n;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (order(&rt->list[mid].prefix, p) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*there = low < rt->n && !order(&rt->list[low].prefix, p);
	return low;
}

int rt_trigger_set(struct rt *rt, const struct prefix *p, const char *dev, unsigned int table,
		   unsigned int proto, struct err *e)
{
	struct rt_trigger *more = rt->list;
	bool there;
	unsigned int i = place(rt, p, &there);

	if (there) {
		rt->list[i].proto = proto;
		return 0;
	}
	if (rt->n == rt->room) {
		more = realloc(rt->list, (rt->room ? rt->room * 2 : 16) * sizeof(*more));
		if (!more)
			return err_set(e, -ENOMEM, "no memory");
		rt->list = more;
		rt->room = rt->room ? rt->room * 2 : 16;
	}
	memmove(&more[i + 1], &more[i], (rt->n - i) * sizeof(*more));
	more[i] = (struct rt_trigger){ .prefix = *p, .proto = proto };
	rt->n++;
	return 0;
}

int rt_trigger_del(struct rt *rt, const struct prefix *p, const char *dev, unsigned int table, struct err *e)
{
	bool there;
	unsigned int i = place(rt, p, &there);

	if (!there)
		return 0;
	rt->n--;
	memmove(&rt->list[i], &rt->list[i + 1], (rt->n - i) * sizeof(*rt->list));
	return 0;
}

int rt_trigger_dump(struct rt *rt, const char *dev, unsigned int table, struct rt_trigger **out,
		    unsigned int *n, struct err *e)
{
	*out = malloc((rt->n + 1) * sizeof(**out));
	if (!*out)
		return err_set(e, -ENOMEM, "no memory");
	if (rt->n)
		memcpy(*out, rt->list, rt->n * sizeof(**out));
	*n = rt->n;
	return 0;
}

int rt_reachable(struct rt *rt, const struct addr *a, bool *yes, struct err *e)
{
	*yes = true;
	return 0;
}

int rt_route_link(struct rt *rt, const struct addr *a, char *dev, struct err *e)
{
	strcpy(dev, "lo");	/* it is asked of the mux's own address */
	return 0;
}

int rt_link_get(struct rt *rt, const char *name, struct rt_link *out, struct err *e)
{
	*out = (struct rt_link){ .up = true, .carrier = true, .mtu = 1500 };
	return 0;
}

int rt_watch_fd(struct rt *rt, struct err *e)
{
	if (rt->events < 0)
		rt->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return rt->events < 0 ? err_set(e, -errno, "no event descriptor: %s", strerror(errno)) : rt->events;
}

void rt_watch_read(struct rt *rt, void (*changed)(const struct prefix *p, unsigned int table, void *ctx), void *ctx)
{
}

/* The muxes of one process are no machines: they have no addresses. */
int rt_addr_dump(struct rt *rt, struct rt_addr **out, unsigned int *n, struct err *e)
{
	*n = 0;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : err_set(e, -ENOMEM, "no memory");
}
