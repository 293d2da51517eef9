// SPDX-License-Identifier: GPL-2.0
/*
 * The assignment engine on the testbed of the paper's Figure 10, against
 * numbers worked out by hand. The comparison with an independent program, on
 * this and on random fabrics, is in selftests/controller/test_engine.py.
 */
#include <stdlib.h>
#include <string.h>

#include "../../controller/engine/engine.h"
#include "kselftest_harness.h"

enum { CORE1, CORE2, AGG1, AGG2, AGG3, AGG4, TOR1, TOR2, TOR3, TOR4, SWITCHES };

#define SWITCH(n, t) { .name = n, .candidate = true, .hosts = 16384, .rules = 1024, .members = 4096, .tunnels = 512, .tier = t }
static struct engine_switch switches[SWITCHES] = {
	SWITCH("core1", ENGINE_CORE), SWITCH("core2", ENGINE_CORE), SWITCH("agg1", ENGINE_AGG), SWITCH("agg2", ENGINE_AGG),
	SWITCH("agg3", ENGINE_AGG), SWITCH("agg4", ENGINE_AGG), SWITCH("tor1", ENGINE_TOR), SWITCH("tor2", ENGINE_TOR),
	SWITCH("tor3", ENGINE_TOR), SWITCH("tor4", ENGINE_TOR),
};

#define LINK(x, y, m) { .a = x, .b = y, .mbps = m }
static struct engine_link links[] = {
	LINK(TOR1, AGG1, 10000), LINK(TOR1, AGG2, 10000), LINK(TOR2, AGG1, 10000), LINK(TOR2, AGG2, 10000),
	LINK(TOR3, AGG3, 10000), LINK(TOR3, AGG4, 10000), LINK(TOR4, AGG3, 10000), LINK(TOR4, AGG4, 10000),
	LINK(AGG1, CORE1, 40000), LINK(AGG1, CORE2, 40000), LINK(AGG2, CORE1, 40000), LINK(AGG2, CORE2, 40000),
	LINK(AGG3, CORE1, 40000), LINK(AGG3, CORE2, 40000), LINK(AGG4, CORE1, 40000), LINK(AGG4, CORE2, 40000),
};

static const struct engine_options options = { .link_share = 0.8, .delta = 0.05, .sticky = true, .explain = true };

/* One VIP: all its traffic from one rack, all its DIPs in one rack */
struct simple {
	struct engine_share from, to;
	uint32_t dips[600];
};

static struct engine_vip vip(struct simple *s, const char *name, double mbps, unsigned int from, unsigned int to,
			     uint32_t first_dip, unsigned int n_dips)
{
	unsigned int i;

	s->from = (struct engine_share){ from, 1 };
	s->to = (struct engine_share){ to, 1 };
	for (i = 0; i < n_dips; i++)
		s->dips[i] = first_dip + i;
	return (struct engine_vip){ .vip = name, .mbps = mbps, .from = &s->from, .n_from = 1, .to = &s->to, .n_to = 1,
				    .dips = s->dips, .n_dips = n_dips, .members = n_dips, .current = ENGINE_SMUX };
}

static struct engine_model model(struct engine_vip *vips, unsigned int n)
{
	return (struct engine_model){ .switches = switches, .n_switches = SWITCHES, .links = links,
				      .n_links = sizeof(links) / sizeof(*links), .vips = vips, .n_vips = n,
				      .n_dips = 20000 };
}

#define NEAR(a, b) ((a) - (b) < 1e-9 && (b) - (a) < 1e-9)

static double share_on(const struct engine_flow *flow, unsigned int link, unsigned int dir)
{
	unsigned int i;

	for (i = 0; i < flow->n; i++)
		if (flow->hops[i].link == link && flow->hops[i].dir == dir)
			return flow->hops[i].share;
	return 0;
}

TEST(shares_across_containers)
{
	struct engine_model m = model(NULL, 0);
	struct engine_paths *paths = engine_paths_new(&m);
	const struct engine_flow *flow;
	unsigned int i;

	ASSERT_NE(NULL, paths);
	flow = engine_paths_get(paths, TOR1, TOR3);
	ASSERT_NE(NULL, flow);
	EXPECT_TRUE(flow->reachable);
	EXPECT_EQ(12, flow->n);		/* 2 up, 4 to cores, 4 down, 2 to the rack */
	EXPECT_TRUE(NEAR(share_on(flow, 0, 0), 0.5));
	EXPECT_TRUE(NEAR(share_on(flow, 1, 0), 0.5));
	for (i = 8; i < 12; i++)
		EXPECT_TRUE(NEAR(share_on(flow, i, 0), 0.25));
	for (i = 12; i < 16; i++)
		EXPECT_TRUE(NEAR(share_on(flow, i, 1), 0.25));
	EXPECT_TRUE(NEAR(share_on(flow, 4, 1), 0.5));
	flow = engine_paths_get(paths, TOR1, TOR2);
	EXPECT_EQ(4, flow->n);		/* stays in the container */
	flow = engine_paths_get(paths, TOR1, TOR1);
	EXPECT_EQ(0, flow->n);
	engine_paths_free(paths);
}

TEST(unreachable_is_told)
{
	struct engine_switch two[2] = { { .name = "a", .candidate = true }, { .name = "b", .candidate = true } };
	struct engine_model m = { .switches = two, .n_switches = 2 };
	struct engine_paths *paths = engine_paths_new(&m);

	ASSERT_NE(NULL, paths);
	EXPECT_FALSE(engine_paths_get(paths, 0, 1)->reachable);
	EXPECT_TRUE(engine_paths_get(paths, 1, 1)->reachable);
	engine_paths_free(paths);
}

TEST(a_vip_of_one_rack_stays_there)
{
	struct simple s;
	struct engine_vip v = vip(&s, "203.0.113.1", 4000, TOR2, TOR2, 0, 4);
	struct engine_model m = model(&v, 1);
	struct engine_choice c;
	struct engine_load load;
	unsigned int i;

	ASSERT_EQ(0, engine_assign(&m, &options, &c, &load));
	EXPECT_EQ(TOR2, c.mux);
	EXPECT_EQ(ENGINE_BEST, c.why);
	EXPECT_TRUE(NEAR(c.mru, 4.0 / 512));	/* no link is touched, 4 tunnels are */
	for (i = 0; i < m.n_links; i++)
		EXPECT_TRUE(load.link[0][i] == 0 && load.link[1][i] == 0);
	EXPECT_EQ(4, load.tunnels[TOR2]);
	engine_load_free(&load);
}

TEST(utilisation_is_of_four_fifths)
{
	struct simple s;
	struct engine_vip v = vip(&s, "203.0.113.1", 8000, TOR1, TOR3, 0, 2);
	struct engine_model m = model(&v, 1);
	struct engine_choice c;
	struct engine_load load;

	ASSERT_EQ(0, engine_assign(&m, &options, &c, &load));
	/* 4000 Mbps on each link of tor1 and tor3: no mux on the way changes that,
	 * but one on an agg would put all 8000 on one link
	 */
	EXPECT_TRUE(NEAR(c.mru, 4000 / 8000.0));
	EXPECT_EQ(ENGINE_LINK, c.resource);
	EXPECT_TRUE(c.mux == TOR1 || c.mux == TOR3 || c.mux == CORE1 || c.mux == CORE2);
	engine_load_free(&load);
}

TEST(the_greedy_stops_when_full)
{
	static struct simple s[3];
	struct engine_vip v[3] = {
		vip(&s[0], "203.0.113.1", 12000, TOR1, TOR3, 0, 1),
		vip(&s[1], "203.0.113.2", 11000, TOR1, TOR3, 1, 1),
		vip(&s[2], "203.0.113.3", 10, TOR2, TOR2, 2, 1),
	};
	struct engine_model m = model(v, 3);
	struct engine_choice c[3];
	struct engine_load load;

	ASSERT_EQ(0, engine_assign(&m, &options, c, &load));
	EXPECT_EQ(ENGINE_BEST, c[0].why);
	EXPECT_EQ(ENGINE_SMUX, c[1].mux);
	EXPECT_EQ(ENGINE_FULL, c[1].why);
	EXPECT_TRUE(NEAR(c[1].mru, 11500 / 8000.0));
	EXPECT_EQ(ENGINE_SMUX, c[2].mux);	/* it would fit: the paper's rule stops all the same */
	EXPECT_EQ(ENGINE_STOPPED, c[2].why);
	engine_load_free(&load);
}

TEST(tunnels_of_the_same_dip_count_once)
{
	static struct simple s[2];
	struct engine_vip v[2] = {
		vip(&s[0], "203.0.113.1", 2, TOR1, TOR1, 0, 300),
		vip(&s[1], "203.0.113.2", 1, TOR1, TOR1, 0, 300),
	};
	struct engine_switch saved = switches[TOR1];
	struct engine_model m = model(v, 2);
	struct engine_choice c[2];
	struct engine_load load;
	unsigned int i;

	for (i = 0; i < SWITCHES; i++)
		switches[i].candidate = i == TOR1;
	ASSERT_EQ(0, engine_assign(&m, &options, c, &load));
	EXPECT_EQ(TOR1, c[0].mux);
	EXPECT_EQ(TOR1, c[1].mux);
	EXPECT_EQ(300, load.tunnels[TOR1]);
	EXPECT_EQ(600, load.members[TOR1]);
	engine_load_free(&load);
	s[1].dips[0] = 1000;
	for (i = 0; i < 300; i++)
		s[1].dips[i] = 1000 + i;
	ASSERT_EQ(0, engine_assign(&m, &options, c, &load));
	EXPECT_EQ(ENGINE_FULL, c[1].why);	/* 600 of 512 */
	engine_load_free(&load);
	for (i = 0; i < SWITCHES; i++)
		switches[i].candidate = true;
	switches[TOR1] = saved;
}

TEST(more_dips_than_any_table_stops_nobody)
{
	static struct simple s[2];
	struct engine_vip v[2] = {
		vip(&s[0], "203.0.113.1", 100, TOR1, TOR1, 0, 513),
		vip(&s[1], "203.0.113.2", 10, TOR1, TOR1, 600, 1),
	};
	struct engine_model m = model(v, 2);
	struct engine_choice c[2];
	struct engine_load load;

	ASSERT_EQ(0, engine_assign(&m, &options, c, &load));
	EXPECT_EQ(ENGINE_TOO_BIG, c[0].why);
	EXPECT_EQ(TOR1, c[1].mux);
	engine_load_free(&load);
}

TEST(sticky_within_delta)
{
	static struct simple s;
	struct engine_vip v = vip(&s, "203.0.113.1", 300, TOR1, TOR1, 0, 1);
	struct engine_model m = model(&v, 1);
	struct engine_options loose = options;
	struct engine_choice c;
	struct engine_load load;

	/* tor2 costs 150 Mbps on its links, 0.01875; tor1 nothing */
	v.current = TOR2;
	ASSERT_EQ(0, engine_assign(&m, &options, &c, &load));
	EXPECT_EQ(TOR2, c.mux);
	EXPECT_EQ(ENGINE_KEPT, c.why);
	EXPECT_EQ(TOR1, c.other);
	engine_load_free(&load);
	loose.delta = 0.01;
	ASSERT_EQ(0, engine_assign(&m, &loose, &c, &load));
	EXPECT_EQ(TOR1, c.mux);
	engine_load_free(&load);
	loose = options;
	loose.sticky = false;
	ASSERT_EQ(0, engine_assign(&m, &loose, &c, &load));
	EXPECT_EQ(TOR1, c.mux);
	engine_load_free(&load);
}

TEST(host_table_is_a_limit_of_all)
{
	static struct simple s[3];
	struct engine_vip v[3] = {
		vip(&s[0], "203.0.113.1", 3, TOR1, TOR1, 0, 1),
		vip(&s[1], "203.0.113.2", 2, TOR2, TOR2, 1, 1),
		vip(&s[2], "203.0.113.3", 1, TOR3, TOR3, 2, 1),
	};
	struct engine_model m = model(v, 3);
	struct engine_choice c[3];
	struct engine_load load;

	switches[CORE2].hosts = 2;	/* every switch holds every /32 */
	ASSERT_EQ(0, engine_assign(&m, &options, c, &load));
	EXPECT_EQ(TOR1, c[0].mux);
	EXPECT_EQ(TOR2, c[1].mux);
	EXPECT_EQ(ENGINE_FULL, c[2].why);
	switches[CORE2].hosts = 16384;
	engine_load_free(&load);
}

TEST(equals_spread)
{
	static struct simple s[4];
	struct engine_vip v[4];
	struct engine_choice c[4];
	struct engine_model m = model(v, 4);
	static const char *const names[4] = { "1", "2", "3", "4" };
	struct engine_load load;
	unsigned int i, most = 0;

	for (i = 0; i < 4; i++)
		v[i] = vip(&s[i], names[i], 400, TOR1, TOR3, 10 * i, 3);
	ASSERT_EQ(0, engine_assign(&m, &options, c, &load));
	for (i = 0; i < SWITCHES; i++)
		most = load.vips[i] > most ? load.vips[i] : most;
	EXPECT_LE(most, 2);
	engine_load_free(&load);
}

TEST(order_of_input_does_not_matter)
{
	static struct simple s[8], r[8];
	struct engine_vip v[8], w[8];
	struct engine_choice a[8], b[8];
	struct engine_model m = model(v, 8), n = model(w, 8);
	static const char *const names[8] = { "1", "2", "3", "4", "5", "6", "7", "8" };
	struct engine_load load;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		unsigned int from = TOR1 + i % 4, to = TOR1 + (i * 3 + 1) % 4;

		v[i] = vip(&s[i], names[i], 500 + 100 * (i / 2), from, to, 10 * i, 3);
		w[7 - i] = vip(&r[i], names[i], 500 + 100 * (i / 2), from, to, 10 * i, 3);
	}
	ASSERT_EQ(0, engine_assign(&m, &options, a, &load));
	engine_load_free(&load);
	ASSERT_EQ(0, engine_assign(&n, &options, b, &load));
	engine_load_free(&load);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(a[i].mux, b[7 - i].mux);
}

TEST_HARNESS_MAIN
