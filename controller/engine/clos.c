// SPDX-License-Identifier: GPL-2.0
/* Finds out whether a graph is a Clos fabric, and says what ECMP does in one. */
#include "clos.h"

#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define NONE UINT32_MAX

void clos_free(struct clos *c)
{
	if (!c)
		return;
	free(c->tier);
	free(c->number);
	free(c->tor_node);
	free(c->agg_node);
	free(c->core_node);
	free(c->tor_container);
	free(c->container);
	free(c->up1);
	free(c->down1);
	free(c->up2);
	free(c->down2);
	free(c->in);
	free(c);
}

static uint32_t *indexes(size_t n)
{
	uint32_t *p = malloc((n + 1) * sizeof(*p));
	size_t i;

	for (i = 0; p && i <= n; i++)
		p[i] = NONE;
	return p;
}

static uint32_t root(uint32_t *parent, uint32_t n)
{
	while (parent[n] != n) {
		parent[n] = parent[parent[n]];
		n = parent[n];
	}
	return n;
}

/* tiers - counts the tiers and checks every link's ends; link capacities are one a tier */
static bool tiers(struct clos *c, const struct engine_model *m)
{
	double mbps[3] = { 0 };
	unsigned int i;

	for (i = 0; i < m->n_switches; i++) {
		const struct engine_switch *s = &m->switches[i];

		c->tier[i] = s->failed && s->tier == ENGINE_TOR ? ENGINE_OTHER : s->tier;
		if (s->failed && s->tier != ENGINE_TOR)
			return false;
		switch (s->tier) {
		case ENGINE_TOR:
			c->tors += !s->failed;
			break;
		case ENGINE_AGG:
			c->aggs++;
			break;
		case ENGINE_CORE:
			c->cores++;
			break;
		case ENGINE_BORDER:
			if (c->border >= 0 || s->candidate)
				return false;
			c->border = i;
			break;
		default:
			return false;
		}
	}
	for (i = 0; i < m->n_links; i++) {
		const struct engine_link *l = &m->links[i];
		enum engine_tier low = c->tier[l->a], high = c->tier[l->b], t;

		if (l->failed)
			return false;
		if (low == ENGINE_OTHER || high == ENGINE_OTHER)
			continue; /* of a failed ToR */
		if (low > high) {
			t = low;
			low = high;
			high = t;
		}
		if (high != low + 1)
			return false;
		if (mbps[low - 1] && mbps[low - 1] != l->mbps)
			return false;
		mbps[low - 1] = l->mbps;
	}
	return c->tors && c->aggs && c->cores;
}

/* containers - components of ToRs and Aggs, numbered in the order of their first switch */
static bool containers(struct clos *c, const struct engine_model *m, uint32_t *parent)
{
	unsigned int i;

	for (i = 0; i < m->n_switches; i++)
		parent[i] = i;
	for (i = 0; i < m->n_links; i++) {
		const struct engine_link *l = &m->links[i];
		enum engine_tier a = c->tier[l->a], b = c->tier[l->b];

		if ((a == ENGINE_TOR && b == ENGINE_AGG) || (a == ENGINE_AGG && b == ENGINE_TOR))
			parent[root(parent, l->a)] = root(parent, l->b);
	}
	for (i = 0; i < m->n_switches; i++) {
		uint32_t r;

		if (c->tier[i] != ENGINE_TOR && c->tier[i] != ENGINE_AGG)
			continue;
		r = root(parent, i);
		if (c->container[r] == NONE)
			c->container[r] = c->containers++;
		c->container[i] = c->container[r];
	}
	if (c->aggs % c->containers)
		return false;
	c->A = c->aggs / c->containers;
	return true;
}

/* planes - parent[core] becomes its plane's number, parent[agg] too */
static bool planes(struct clos *c, const struct engine_model *m, uint32_t *parent)
{
	unsigned int i, *size = NULL;
	bool ok = false;

	for (i = 0; i < m->n_switches; i++)
		parent[i] = i;
	for (i = 0; i < m->n_links; i++) {
		const struct engine_link *l = &m->links[i];
		enum engine_tier a = c->tier[l->a], b = c->tier[l->b];

		if ((a == ENGINE_CORE && b == ENGINE_AGG) || (a == ENGINE_AGG && b == ENGINE_CORE))
			parent[root(parent, l->a)] = root(parent, l->b);
	}
	size = calloc(m->n_switches + 1, sizeof(*size));
	if (!size)
		return false;
	for (i = 0; i < m->n_switches; i++)
		if (c->tier[i] == ENGINE_CORE)
			size[root(parent, i)]++;
	for (i = 0; i < m->n_switches; i++) {
		if (!size[i])
			continue;
		c->k = c->k ? c->k : size[i];
		if (c->k != size[i])
			goto out;
		size[i] = ++c->planes; /* from 1 on: 0 is none */
	}
	for (i = 0; i < m->n_switches; i++) {
		uint32_t plane = size[root(parent, i)];

		/* an Agg of no core has a plane of its own: no fabric of ours */
		if ((c->tier[i] == ENGINE_CORE || c->tier[i] == ENGINE_AGG) && !plane)
			goto out;
		c->number[i] = plane - 1;
	}
	if (c->A % c->planes)
		goto out;
	c->a = c->A / c->planes;
	c->L = c->A * c->k;
	ok = c->L <= 1000000;
out:
	free(size);
	return ok;
}

/* numbers - from planes in number[] to numbers within tiers; seen: per container and plane */
static bool numbers(struct clos *c, const struct engine_model *m, uint32_t *plane_of,
		    unsigned int *seen)
{
	unsigned int i, tor = 0, *cores = seen + (size_t)c->containers * c->planes;

	for (i = 0; i < m->n_switches; i++) {
		uint32_t x = c->container[i], p = c->number[i], q;

		switch (c->tier[i]) {
		case ENGINE_TOR:
			c->tor_container[tor] = x;
			c->tor_node[tor] = i;
			c->number[i] = tor++;
			break;
		case ENGINE_AGG:
			q = seen[x * c->planes + p]++;
			if (q >= c->a)
				return false;
			plane_of[i] = p;
			c->number[i] = x * c->A + p * c->a + q;
			c->agg_node[c->number[i]] = i;
			break;
		case ENGINE_CORE:
			plane_of[i] = p;
			c->number[i] = p * c->k + cores[p]++;
			c->core_node[c->number[i]] = i;
			break;
		default:
			break;
		}
	}
	return true;
}

static bool set(uint32_t *up, uint32_t *down, uint32_t value)
{
	if (*up != NONE)
		return false; /* parallel links */
	*up = value;
	if (down)
		*down = value ^ 1;
	return true;
}

static bool links(struct clos *c, const struct engine_model *m, const uint32_t *plane_of)
{
	size_t i, n1 = 0, n2 = 0, n3 = 0;

	for (i = 0; i < m->n_links; i++) {
		unsigned int low = m->links[i].a, high = m->links[i].b;
		uint32_t up = 2 * i; /* from low to high, as told */
		size_t at;

		if (c->tier[low] == ENGINE_OTHER || c->tier[high] == ENGINE_OTHER)
			continue;
		if (c->tier[low] > c->tier[high]) {
			low = m->links[i].b;
			high = m->links[i].a;
			up++;
		}
		switch (c->tier[low]) {
		case ENGINE_TOR:
			if (c->container[low] != c->container[high])
				return false;
			at = (size_t)c->number[low] * c->A + c->number[high] % c->A;
			if (!set(&c->up1[at], &c->down1[at], up))
				return false;
			n1++;
			break;
		case ENGINE_AGG:
			if (plane_of[low] != plane_of[high])
				return false;
			at = (size_t)c->number[low] * c->k + c->number[high] % c->k;
			if (!set(&c->up2[at], &c->down2[at], up))
				return false;
			n2++;
			break;
		default:
			if (!set(&c->in[c->number[low]], NULL, up ^ 1))
				return false;
			n3++;
			break;
		}
	}
	return n1 == (size_t)c->tors * c->A && n2 == (size_t)c->aggs * c->k &&
	       n3 == (c->border >= 0 ? c->cores : 0);
}

struct clos *clos_detect(const struct engine_model *m)
{
	size_t n = m->n_switches;
	struct clos *c = calloc(1, sizeof(*c));
	uint32_t *parent = indexes(n);
	unsigned int *seen = NULL;
	bool ok = false;

	if (!c || !parent)
		goto out;
	c->border = -1;
	c->tier = calloc(n + 1, 1);
	c->number = indexes(n);
	c->container = indexes(n);
	if (!c->tier || !c->number || !c->container || !tiers(c, m))
		goto out;
	c->tor_node = indexes(c->tors);
	c->agg_node = indexes(c->aggs);
	c->core_node = indexes(c->cores);
	c->tor_container = indexes(c->tors);
	c->in = indexes(c->cores);
	if (!c->tor_node || !c->agg_node || !c->core_node || !c->tor_container || !c->in ||
	    !containers(c, m, parent) || !planes(c, m, parent))
		goto out;
	c->up1 = indexes((size_t)c->tors * c->A);
	c->down1 = indexes((size_t)c->tors * c->A);
	c->up2 = indexes((size_t)c->aggs * c->k);
	c->down2 = indexes((size_t)c->aggs * c->k);
	seen = calloc((size_t)c->containers * c->planes + c->planes + 1, sizeof(*seen));
	ok = c->up1 && c->down1 && c->up2 && c->down2 && seen && numbers(c, m, parent, seen) &&
	     links(c, m, parent);
out:
	free(seen);
	free(parent);
	if (ok)
		return c;
	clos_free(c);
	return NULL;
}

/* Hops between a switch and all Aggs of a plane, or all cores, a few words each. */
struct walk {
	const struct clos *c;
	void (*hop)(void *ctx, uint32_t link, uint32_t one_in);
	void *ctx;
};

static void tor_plane(const struct walk *w, bool up, uint32_t t, int plane, uint32_t one_in)
{
	const struct clos *c = w->c;
	unsigned int i, first = plane < 0 ? 0 : plane * c->a, n = plane < 0 ? c->A : c->a;

	for (i = first; i < first + n; i++)
		w->hop(w->ctx, (up ? c->up1 : c->down1)[t * c->A + i], one_in);
}

/* the links between the Aggs of a container (of one plane, or all) and their cores */
static void agg_cores(const struct walk *w, bool up, uint32_t x, int plane, uint32_t one_in)
{
	const struct clos *c = w->c;
	size_t i, first = (size_t)x * c->A + (plane < 0 ? 0 : plane * c->a);
	size_t n = plane < 0 ? c->A : c->a;

	for (i = first * c->k; i < (first + n) * c->k; i++)
		w->hop(w->ctx, (up ? c->up2 : c->down2)[i], one_in);
}

/* the links between one core and the Aggs of its plane in a container */
static void core_aggs(const struct walk *w, bool up, uint32_t x, uint32_t core, uint32_t one_in)
{
	const struct clos *c = w->c;
	size_t q, first = (size_t)x * c->A + core / c->k * c->a;

	for (q = 0; q < c->a; q++)
		w->hop(w->ctx, (up ? c->up2 : c->down2)[(first + q) * c->k + core % c->k], one_in);
}

/* the links between one Agg and its cores */
static void one_agg(const struct walk *w, bool up, uint32_t agg, uint32_t one_in)
{
	unsigned int m;

	for (m = 0; m < w->c->k; m++)
		w->hop(w->ctx, (up ? w->c->up2 : w->c->down2)[(size_t)agg * w->c->k + m], one_in);
}

static void into_cores(const struct walk *w, int plane, uint32_t one_in)
{
	unsigned int i, first = plane < 0 ? 0 : plane * w->c->k;
	unsigned int n = plane < 0 ? w->c->cores : w->c->k;

	for (i = first; i < first + n; i++)
		w->hop(w->ctx, w->c->in[i], one_in);
}

static bool from_tor(const struct walk *w, uint32_t t, enum engine_tier tier, uint32_t to, uint32_t y)
{
	const struct clos *c = w->c;
	uint32_t x = c->tor_container[t];
	int plane;

	if (tier == ENGINE_TOR) {
		tor_plane(w, true, t, -1, c->A);
		if (x != y) {
			agg_cores(w, true, x, -1, c->L);
			agg_cores(w, false, y, -1, c->L);
		}
		tor_plane(w, false, to, -1, c->A);
		return true;
	}
	if (tier == ENGINE_CORE) {
		tor_plane(w, true, t, to / c->k, c->a);
		core_aggs(w, true, x, to, c->a);
		return true;
	}
	if (tier != ENGINE_AGG)
		return false;
	if (x == y) {
		w->hop(w->ctx, c->up1[t * c->A + to % c->A], 1);
		return true;
	}
	plane = to % c->A / c->a;
	tor_plane(w, true, t, plane, c->a);
	agg_cores(w, true, x, plane, c->a * c->k);
	one_agg(w, false, to, c->k);
	return true;
}

static bool to_tor(const struct walk *w, enum engine_tier tier, uint32_t from, uint32_t x, uint32_t t)
{
	const struct clos *c = w->c;
	uint32_t y = c->tor_container[t];
	int plane;

	switch (tier) {
	case ENGINE_CORE:
		core_aggs(w, false, y, from, c->a);
		tor_plane(w, false, t, from / c->k, c->a);
		return true;
	case ENGINE_BORDER:
		into_cores(w, -1, c->cores);
		agg_cores(w, false, y, -1, c->L);
		tor_plane(w, false, t, -1, c->A);
		return true;
	case ENGINE_AGG:
		if (x == y) {
			w->hop(w->ctx, c->down1[t * c->A + from % c->A], 1);
			return true;
		}
		plane = from % c->A / c->a;
		one_agg(w, true, from, c->k);
		agg_cores(w, false, y, plane, c->a * c->k);
		tor_plane(w, false, t, plane, c->a);
		return true;
	default:
		return false;
	}
}

bool clos_flow(const struct clos *c, unsigned int from, unsigned int to,
	       void (*hop)(void *ctx, uint32_t link, uint32_t one_in), void *ctx)
{
	struct walk w = { c, hop, ctx };
	enum engine_tier a = c->tier[from], b = c->tier[to];
	uint32_t na = c->number[from], nb = c->number[to];

	if (a == ENGINE_OTHER || b == ENGINE_OTHER)
		return false;
	if (from == to)
		return true;
	if (a == ENGINE_TOR)
		return from_tor(&w, na, b, nb, c->container[to]);
	if (b == ENGINE_TOR)
		return to_tor(&w, a, na, c->container[from], nb);
	if (a == ENGINE_BORDER && b == ENGINE_CORE) {
		hop(ctx, c->in[nb], 1);
		return true;
	}
	if (a == ENGINE_BORDER && b == ENGINE_AGG) {
		into_cores(&w, nb % c->A / c->a, c->k);
		one_agg(&w, false, nb, c->k);
		return true;
	}
	if (a == ENGINE_AGG && b == ENGINE_CORE && na % c->A / c->a == nb / c->k) {
		hop(ctx, c->up2[(size_t)na * c->k + nb % c->k], 1);
		return true;
	}
	if (a == ENGINE_CORE && b == ENGINE_AGG && nb % c->A / c->a == na / c->k) {
		hop(ctx, c->down2[(size_t)nb * c->k + na % c->k], 1);
		return true;
	}
	return false;
}
