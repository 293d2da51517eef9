// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses that are taken: no VIP is programmed that is an address of this
 * machine, the broadcast address of one of its subnets, or the source of its
 * tunnels, and no aggregate is announced that has one of its addresses in it.
 *
 * A VIP that is served when its address is added to an interface stays, and the
 * status says so: its clients were there first, and which of the two is the
 * mistake only an operator knows.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define TABLE_LOCAL	255	/* a route in it comes and goes with each address */

struct taken {
	struct addr addr;
	const char *what;	/* "an address of this machine", ... */
	char link[16];		/* empty: of none */
};

static int taken_cmp(const void *a, const void *b)
{
	return addr_cmp(&((const struct taken *)a)->addr, &((const struct taken *)b)->addr);
}

static void add(struct agent *a, const struct addr *addr, const char *what, const char *link)
{
	struct taken *t = &a->taken[a->n_taken++];

	t->addr = *addr;
	t->what = what;
	snprintf(t->link, sizeof(t->link), "%s", link);
}

/* add_subnet - the last address of an IPv4 subnet, the first of an IPv6 one (RFC 4291, 2.6.1) */
static void add_subnet(struct agent *a, const struct rt_addr *of)
{
	bool v4 = addr_is_v4(&of->addr);
	unsigned int bits = of->len + (v4 ? 96 : 0), i;
	struct addr addr = of->addr;

	if (bits > 126)
		return;
	for (i = bits; i < 128; i++) {
		if (v4)
			addr.b[i / 8] |= 0x80 >> (i % 8);
		else
			addr.b[i / 8] &= ~(0x80 >> (i % 8));
	}
	add(a, &addr, v4 ? "the broadcast address of a subnet" : "the routers' anycast address of a subnet", of->link);
}

/* refresh - the list again, if an address came or went since */
static void refresh(struct agent *a)
{
	struct rt_addr *list;
	unsigned int n, i;
	struct err e;

	if (!a->addresses_stale)
		return;
	if (rt_addr_dump(a->rt, &list, &n, &e)) {
		log_warn("%s", e.text);
		return;
	}
	free(a->taken);
	a->n_taken = 0;
	a->taken = calloc(2 * n + 2, sizeof(*a->taken));
	for (i = 0; a->taken && i < n; i++) {
		add(a, &list[i].addr, "an address of this machine", list[i].link);
		add_subnet(a, &list[i]);
	}
	free(list);
	if (!a->taken)
		return;
	if (!addr_is_none(&a->config.local))
		add(a, &a->config.local, "the source of the tunnels", "");
	if (!addr_is_none(&a->config.local6))
		add(a, &a->config.local6, "the source of the tunnels", "");
	qsort(a->taken, a->n_taken, sizeof(*a->taken), taken_cmp);
	a->addresses_stale = false;
	a->retry = true;	/* what was refused may be free now */
}

/* find - is addr taken, and by what */
static bool find(const struct agent *a, const struct addr *addr, struct taken *out)
{
	const struct prefix sources = { .addr = a->config.local, .len = a->config.spread };
	const struct taken *t;

	*out = (struct taken){ .addr = *addr, .what = "a source of the tunnels ([device] spread)" };
	t = a->n_taken ? bsearch(out, a->taken, a->n_taken, sizeof(*out), taken_cmp) : NULL;
	if (t)
		*out = *t;
	return t || (a->config.spread < 32 && prefix_holds(&sources, addr));
}

static void sentence(const char *kind, const struct taken *t, char *text, size_t size)
{
	char addr[ADDR_STRLEN];

	snprintf(text, size, "%s %s is %s%s%s", kind, addr_str(&t->addr, addr), t->what, t->link[0] ? ", on " : "", t->link);
}

void guard_changed(struct agent *a, const struct prefix *p, unsigned int table)
{
	if (!p || table == TABLE_LOCAL)
		a->addresses_stale = true;
}

bool guard_refuses(struct agent *a, const struct vip *vip, char *why, size_t size)
{
	unsigned int r, d;
	struct taken t;

	refresh(a);
	if (find(a, &vip->addr, &t)) {
		sentence("VIP", &t, why, size);
		return true;
	}
	for (r = 0; r < vip->n_rules; r++) {
		for (d = 0; d < vip->rules[r].n_dips; d++) {
			/* a server may run on the mux itself */
			if (!find(a, &vip->rules[r].dips[d].addr, &t) || !strcmp(t.what, "an address of this machine"))
				continue;
			sentence("DIP", &t, why, size);
			return true;
		}
	}
	return false;
}

int guard_aggregate(struct agent *a, const struct prefix *p, struct err *e)
{
	const char *why = prefix_not_hosts(p);
	char text[ADDR_STRLEN], own[ADDR_STRLEN];
	unsigned int i;

	if (why)
		return err_set(e, -EINVAL, "aggregate %s/%u can't be announced: it is %s", addr_str(&p->addr, text), p->len, why);
	refresh(a);
	for (i = 0; i < a->n_taken; i++)
		if (prefix_holds(p, &a->taken[i].addr))
			return err_set(e, -EINVAL, "aggregate %s/%u can't be announced: %s in it is %s%s%s", addr_str(&p->addr, text),
				       p->len, addr_str(&a->taken[i].addr, own), a->taken[i].what,
				       a->taken[i].link[0] ? ", on " : "", a->taken[i].link);
	return 0;
}

const char *guard_trouble(struct agent *a)
{
	unsigned int i;

	refresh(a);
	for (i = 0; i < a->n_taken; i++) {
		const struct mux_vip *v = state_find(a, &a->taken[i].addr);

		if (!v || !v->have)
			continue;
		sentence("VIP", &a->taken[i], a->guard_trouble, sizeof(a->guard_trouble));
		return a->guard_trouble;
	}
	return NULL;
}
