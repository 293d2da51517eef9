// SPDX-License-Identifier: GPL-2.0
/*
 * The fast search against the plain one: on hundreds of random fabrics, Clos
 * and not, whole, with failures and with VIPs changed one by one, every VIP
 * must get the same switch and every link the same load to the last bit. And
 * what must hold of any plan: no link or table over its limit, what enters a
 * node leaves it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../controller/engine/priv.h"
#include "kselftest_harness.h"

static uint64_t state;

static uint32_t rnd(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

struct fabric {
	struct engine_model m;
	char names[8192][12];
	bool clos;
};

static void vip_free(struct engine_vip *v)
{
	free(v->from);
	free(v->to);
	free(v->dips);
	free(v->dip_node);
}

static void fabric_free(struct fabric *f)
{
	unsigned int i;

	for (i = 0; i < f->m.n_vips; i++)
		vip_free(&f->m.vips[i]);
	free(f->m.vips);
	free(f->m.links);
	free(f->m.switches);
	free(f);
}

static void link_add(struct fabric *f, unsigned int a, unsigned int b, double mbps)
{
	if (rnd(2))
		f->m.links[f->m.n_links++] = (struct engine_link){ .a = a, .b = b, .mbps = mbps };
	else
		f->m.links[f->m.n_links++] = (struct engine_link){ .a = b, .b = a, .mbps = mbps };
}

static void switches(struct fabric *f, unsigned int n, enum engine_tier tier)
{
	static const uint32_t tunnels[] = { 512, 64, 20, 0 };

	while (n--)
		f->m.switches[f->m.n_switches++] = (struct engine_switch){
			.name = "x", .candidate = tier != ENGINE_BORDER && rnd(10), .hosts = rnd(8) ? 16384 : 30,
			.rules = rnd(4) ? 1024 : 3, .members = 4096, .tunnels = tunnels[rnd(4)], .tier = tier,
		};
}

/* nodes are shuffled among tiers only by who is numbered first; links come in random order */
static struct fabric *fabric(bool broken)
{
	struct fabric *f = calloc(1, sizeof(*f));
	unsigned int planes = 1 + rnd(3), a = 1 + rnd(2), k = 1 + rnd(3), containers = 1 + rnd(4);
	unsigned int x, t, i, p, q, core0, agg0, tor0, border = 0, A = planes * a, sizes[4], at;
	double c1 = rnd(2) ? 10000 : 1000, c2 = rnd(2) ? 40000 : c1, c3 = 100000;

	f->m.switches = calloc(4096, sizeof(*f->m.switches));
	f->m.links = calloc(65536, sizeof(*f->m.links));
	core0 = f->m.n_switches;
	switches(f, planes * k, ENGINE_CORE);
	if (rnd(2)) {
		border = f->m.n_switches;
		switches(f, 1, ENGINE_BORDER);
	}
	agg0 = f->m.n_switches;
	switches(f, containers * A, ENGINE_AGG);
	tor0 = f->m.n_switches;
	for (x = 0; x < containers; x++) {
		sizes[x] = 2 + rnd(4);
		switches(f, sizes[x], ENGINE_TOR);
	}
	for (x = 0, at = tor0; x < containers; x++)
		for (t = 0; t < sizes[x]; t++, at++)
			for (i = 0; i < A; i++)
				link_add(f, at, agg0 + x * A + i, c1);
	for (x = 0; x < containers; x++)
		for (p = 0; p < planes; p++)
			for (q = 0; q < a; q++)
				for (i = 0; i < k; i++)
					link_add(f, agg0 + x * A + p * a + q, core0 + p * k + i, c2);
	for (i = 0; border && i < planes * k; i++)
		link_add(f, border, core0 + i, c3);
	for (i = f->m.n_links - 1; i; i--) {
		struct engine_link l = f->m.links[i];

		at = rnd(i + 1);
		f->m.links[i] = f->m.links[at];
		f->m.links[at] = l;
	}
	f->clos = !broken;
	if (broken) {
		if (rnd(2))
			f->m.links[rnd(f->m.n_links)].failed = true;
		else if (rnd(2))
			f->m.switches[core0 + rnd(planes * k)].failed = true;
		else
			f->m.n_links--;
		if (rnd(2))
			f->m.switches[agg0 + rnd(containers * A)].failed = true;
	}
	if (!rnd(3))
		f->m.switches[tor0 + rnd(f->m.n_switches - tor0)].failed = true;
	return f;
}

static void vip(struct fabric *f, unsigned int i, double scale)
{
	struct engine_vip *v = &f->m.vips[i];
	unsigned int k, n, s = f->m.n_switches, share;
	static const unsigned int sizes[] = { 1, 2, 3, 8, 30, 90 };

	snprintf(f->names[i], sizeof(f->names[i]), "v%05u", i);
	*v = (struct engine_vip){ .vip = f->names[i], .mbps = rnd(12) * rnd(50) * scale, .current = (int)rnd(s + 1) - 1,
				  .rules = rnd(2), .unplaceable = rnd(50) ? NULL : "says so" };
	v->from = calloc(8, sizeof(*v->from));
	n = rnd(5);
	for (k = 0; k < n; k++) {
		do {
			share = rnd(s);
		} while (f->m.switches[share].tier != ENGINE_TOR && f->m.switches[share].tier != ENGINE_BORDER && rnd(30));
		v->from[v->n_from++] = (struct engine_share){ share, 1.0 / n };
	}
	v->n_dips = sizes[rnd(6)];
	v->members = v->n_dips;
	v->dips = calloc(v->n_dips, sizeof(*v->dips));
	v->to = calloc(v->n_dips, sizeof(*v->to));
	v->dip_node = calloc(v->n_dips, sizeof(*v->dip_node));
	for (k = 0; k < v->n_dips; k++) {
		do {
			share = rnd(s);
		} while (f->m.switches[share].tier != ENGINE_TOR);
		v->dip_node[k] = share;
		v->dips[k] = rnd(4) ? f->m.n_dips++ : k; /* some that others have too */
		v->to[v->n_to++] = (struct engine_share){ share, 1.0 / v->n_dips };
	}
	if (f->m.n_dips < 100)
		f->m.n_dips = 100;
}

static void vips(struct fabric *f, unsigned int n)
{
	double scale = (1 + rnd(40)) / 8.0;

	f->m.n_dips = 100;
	f->m.vips = calloc(n, sizeof(*f->m.vips));
	for (; f->m.n_vips < n; f->m.n_vips++)
		vip(f, f->m.n_vips, scale);
}

static struct engine_options options(void)
{
	struct engine_options o = { .link_share = 0.8, .delta = rnd(2) ? 0.05 : 0, .sticky = rnd(2), .tips = rnd(2),
				    .go_on = rnd(2), .order = rnd(4) ? ENGINE_BY_TRAFFIC : ENGINE_BY_DENSITY };

	if (!rnd(6))
		o.switch_blast = o.container_blast = 0.2;
	if (!rnd(5))
		o.rounds = 2;
	if (!rnd(8)) {
		o.random = true;
		o.seed = rnd(1000);
	}
	return o;
}

struct both {
	struct engine *fast, *plain;
	struct engine_choice *a, *b;
	unsigned int different, on, off, tips;
};

static void both_free(struct both *b)
{
	engine_free(b->fast);
	engine_free(b->plain);
	free(b->a);
	free(b->b);
}

static void compare(struct both *b)
{
	const struct engine_model *m = b->fast->model;
	unsigned int i, k;

	for (i = 0; i < m->n_vips; i++) {
		b->different += b->a[i].mux != b->b[i].mux || b->a[i].why != b->b[i].why;
		b->different += b->fast->at[i] != b->plain->at[i] || b->fast->at[i] != b->a[i].mux;
		b->on += b->a[i].mux >= 0;
		b->off += b->a[i].mux < 0;
		b->tips += b->fast->tips[i].n;
		b->different += b->fast->tips[i].n != b->plain->tips[i].n;
		for (k = 0; k < b->fast->tips[i].n && k < b->plain->tips[i].n; k++)
			b->different += b->fast->tips[i].tip[k].mux != b->plain->tips[i].tip[k].mux;
	}
	b->different += !!memcmp(b->fast->load, b->plain->load, 2 * m->n_links * sizeof(*b->fast->load));
	b->different += !!memcmp(b->fast->tunnels, b->plain->tunnels, m->n_switches * sizeof(uint32_t));
	b->different += !!memcmp(b->fast->traffic, b->plain->traffic, m->n_switches * sizeof(int64_t));
}

/* run - both engines over one fabric, then a few VIPs changed */
static struct both run(struct fabric *f, struct engine_options o)
{
	struct both b = { 0 };
	unsigned int i, list[3];

	b.a = calloc(f->m.n_vips, sizeof(*b.a));
	b.b = calloc(f->m.n_vips, sizeof(*b.b));
	b.fast = engine_new(&f->m, &o);
	o.plain = true;
	b.plain = engine_new(&f->m, &o);
	b.different = engine_run(b.fast, b.a) || engine_run(b.plain, b.b);
	compare(&b);
	for (i = 0; i < 5; i++) {
		unsigned int n = 1 + rnd(3);

		list[0] = rnd(f->m.n_vips - 2);
		list[1] = list[0] + 1;
		list[2] = list[1] + 1;
		b.different += engine_change(b.fast, list, n, b.a) || engine_change(b.plain, list, n, b.b);
		compare(&b);
	}
	return b;
}

static void limits(struct __test_metadata *_metadata, const struct engine *e)
{
	const struct engine_model *m = e->model;
	unsigned int i;

	for (i = 0; i < 2 * m->n_links; i++) {
		EXPECT_LE(0, e->load[i]);
		EXPECT_LE(e->load[i] * e->inv[i], 1 + 2 * ENGINE_EPSILON);
	}
	for (i = 0; i < m->n_switches; i++) {
		EXPECT_TRUE(!m->switches[i].tunnels || e->tunnels[i] <= m->switches[i].tunnels);
		EXPECT_TRUE(!m->switches[i].members || e->members[i] <= m->switches[i].members);
		EXPECT_TRUE(!m->switches[i].rules || e->rules[i] <= m->switches[i].rules);
	}
	EXPECT_TRUE(!e->min_hosts || e->placed <= e->min_hosts);
}

/* flow conservation, from places alone: what enters a node on links and from its own servers
 * leaves it on links and to its own servers
 */
static void conserved(struct __test_metadata *_metadata, const struct engine *e)
{
	const struct engine_model *m = e->model;
	int64_t *balance = calloc(m->n_switches, sizeof(*balance)), slack;
	unsigned int i, k, t;

	for (i = 0; i < 2 * m->n_links; i++) {
		const struct engine_link *l = &m->links[i / 2];

		balance[i % 2 ? l->b : l->a] -= e->load[i];
		balance[i % 2 ? l->a : l->b] += e->load[i];
	}
	for (i = 0; i < m->n_vips; i++) {
		const struct job *j = &e->jobs[i];
		int64_t tip = 0;

		if (e->at[i] < 0)
			continue;
		for (k = 0; k < j->n_from; k++)
			balance[j->from[k].node] += j->from[k].units;
		/* the mux: rounding of shares apart it sends on what it gets */
		balance[e->at[i]] += j->out - j->in;
		for (t = 0; t < e->tips[i].n; t++)
			tip += e->tips[i].jobs[t].out;
		if (e->tips[i].n)
			EXPECT_EQ(tip, j->out);
		for (k = 0; k < j->n_to; k++)
			balance[j->to[k].node] -= j->to[k].units;
	}
	/* in a Clos fabric every split is exact, but for paths down and up again; elsewhere each hop
	 * rounds by half a unit
	 */
	slack = e->clos ? 0 : 512 * (int64_t)m->n_vips;
	for (i = 0; i < m->n_vips; i++)
		if (!e->jobs[i].symmetric)
			slack = 512 * (int64_t)m->n_vips;
	for (i = 0; i < m->n_switches; i++) {
		EXPECT_LE(balance[i], slack);
		EXPECT_GE(balance[i], -slack);
	}
	free(balance);
}

/* only for the deadline: the machine may be busy */
FIXTURE(fabrics) { int none; };
FIXTURE_SETUP(fabrics) { self->none = 0; }
FIXTURE_TEARDOWN(fabrics) { }

TEST_F_TIMEOUT(fabrics, clos_formulas_are_shortest_paths, 900)
{
	unsigned int round, known = 0;

	state = 88172645463325252ull;
	for (round = 0; round < 40; round++) {
		struct fabric *f = fabric(false);
		struct engine_options o = { .link_share = 1 };
		struct engine *e;
		unsigned int a, b;

		vips(f, 1);
		e = engine_new(&f->m, &o);
		ASSERT_NE(NULL, e->clos);
		for (a = 0; a < f->m.n_switches; a++) {
			for (b = 0; b < f->m.n_switches; b++) {
				struct part from = { a, 60000 * e->clos->L }, to = { b, 1 };
				struct job j = { .from = &from, .n_from = 1, .to = &to };
				int64_t add[8192];
				unsigned int i, wrong = 0;

				if (f->m.switches[a].failed || f->m.switches[b].failed)
					continue;
				ASSERT_EQ(0, any_add(e, &j, b));
				memcpy(add, e->add, 2 * f->m.n_links * sizeof(*add));
				e->options.plain = true;
				ASSERT_EQ(0, any_add(e, &j, b));
				e->options.plain = false;
				for (i = 0; i < 2 * f->m.n_links; i++)
					wrong += add[i] != e->add[i];
				EXPECT_EQ(0, wrong);
				known += f->m.switches[a].tier == ENGINE_TOR;
				any_clear(e);
			}
		}
		engine_free(e);
		fabric_free(f);
	}
	EXPECT_LT(1000, known);
}

TEST_F_TIMEOUT(fabrics, fast_equals_plain_on_clos_fabrics, 900)
{
	unsigned int round, on = 0, off = 0, tips = 0;

	state = 123456789;
	for (round = 0; round < 300; round++) {
		struct fabric *f = fabric(false);
		struct both b;

		vips(f, 10 + rnd(60));
		b = run(f, options());
		EXPECT_TRUE(engine_is_clos(b.fast));
		EXPECT_EQ(0, b.different) {
			TH_LOG("fabric %u: %u different", round, b.different);
		}
		on += b.on;
		off += b.off;
		tips += b.tips;
		both_free(&b);
		fabric_free(f);
	}
	EXPECT_LT(2000, on);
	EXPECT_LT(2000, off);
	EXPECT_LT(20, tips);
	TH_LOG("%u placed, %u not, %u TIPs", on, off, tips);
}

TEST_F_TIMEOUT(fabrics, fast_equals_plain_on_broken_fabrics, 900)
{
	unsigned int round, on = 0;

	state = 987654321;
	for (round = 0; round < 100; round++) {
		struct fabric *f = fabric(true);
		struct both b;

		vips(f, 10 + rnd(40));
		b = run(f, options());
		EXPECT_EQ(0, b.different) {
			TH_LOG("fabric %u: %u different", round, b.different);
		}
		on += b.on;
		both_free(&b);
		fabric_free(f);
	}
	EXPECT_LT(500, on);
}

TEST_F_TIMEOUT(fabrics, nothing_over_its_limit_and_flows_conserved, 900)
{
	unsigned int round;

	state = 5550123;
	for (round = 0; round < 300; round++) {
		struct fabric *f = fabric(round % 3 == 0);
		struct engine_options o = options();
		struct engine_choice *c;
		struct engine *e;
		unsigned int i;

		vips(f, 10 + rnd(80));
		c = calloc(f->m.n_vips, sizeof(*c));
		e = engine_new(&f->m, &o);
		ASSERT_EQ(0, engine_run(e, c));
		limits(_metadata, e);
		conserved(_metadata, e);
		for (i = 0; i < 5; i++) {
			unsigned int v = rnd(f->m.n_vips);

			ASSERT_EQ(0, engine_change(e, &v, 1, c));
		}
		limits(_metadata, e);
		conserved(_metadata, e);
		/* all off: nothing is left on any link */
		for (i = 0; i < f->m.n_vips; i++)
			ASSERT_EQ(0, engine_hold(e, i, ENGINE_SMUX));
		for (i = 0; i < 2 * f->m.n_links; i++)
			EXPECT_EQ(0, e->load[i]);
		EXPECT_EQ(0, e->placed);
		engine_free(e);
		free(c);
		fabric_free(f);
	}
}

TEST_F_TIMEOUT(fabrics, order_of_vips_changes_nothing, 900)
{
	unsigned int round;

	state = 424242;
	for (round = 0; round < 100; round++) {
		struct fabric *f = fabric(round % 4 == 0);
		struct engine_options o = options();
		struct engine_choice *a, *b;
		struct engine_load load;
		unsigned int i;

		vips(f, 40);
		a = calloc(40, sizeof(*a));
		b = calloc(40, sizeof(*b));
		ASSERT_EQ(0, engine_assign(&f->m, &o, a, &load));
		engine_load_free(&load);
		for (i = 0; i < 20; i++) {
			struct engine_vip v = f->m.vips[i];

			f->m.vips[i] = f->m.vips[39 - i];
			f->m.vips[39 - i] = v;
		}
		ASSERT_EQ(0, engine_assign(&f->m, &o, b, &load));
		engine_load_free(&load);
		for (i = 0; i < 40; i++)
			EXPECT_EQ(a[i].mux, b[39 - i].mux);
		free(a);
		free(b);
		fabric_free(f);
	}
}

/* Faster links never leave the same places over their limit, and the worst link is used less */
TEST_F_TIMEOUT(fabrics, more_capacity_is_never_worse, 900)
{
	unsigned int round;

	state = 31337;
	for (round = 0; round < 100; round++) {
		struct fabric *f = fabric(false);
		struct engine_options o = { .link_share = 0.4 };
		struct engine_choice *c;
		struct engine *e;
		double before, after;
		unsigned int i;

		vips(f, 40);
		c = calloc(40, sizeof(*c));
		e = engine_new(&f->m, &o);
		ASSERT_EQ(0, engine_run(e, c));
		before = state_worst(e);
		engine_free(e);
		o.link_share = 0.8;
		e = engine_new(&f->m, &o);
		for (i = 0; i < 40; i++)
			ASSERT_EQ(0, engine_hold(e, i, c[i].mux));
		after = state_worst(e);
		EXPECT_LE(after, before + ENGINE_EPSILON);
		limits(_metadata, e);
		engine_free(e);
		free(c);
		fabric_free(f);
	}
}

TEST_HARNESS_MAIN
