// SPDX-License-Identifier: GPL-2.0
/* Which DIPs of a rule the muxes use: a table of cases. */
#include <stdlib.h>

#include "../../controller/state/policy.h"
#include "kselftest_harness.h"
#include "leaks.h"

/*
 * One letter a DIP. U up, ? never heard, D down, H damped, d drained by its rack or host, o drained by an
 * operator, F the same by force, X off by an operator, x off by the definition, r drained by the definition;
 * a * after it: of last resort; a digit: its weight.
 */
static void read_dip(struct dip *d, char c)
{
	d->in = c != 'D' && c != 'H';
	d->hold = c == 'H';
	d->reported = c == '?' ? REPORT_NONE : c == 'D' ? REPORT_DOWN : REPORT_UP;
	d->drained = c == 'd';
	d->admin = c == 'X' ? OPERATOR_DOWN : c == 'o' || c == 'F' ? OPERATOR_DRAIN : OPERATOR_NONE;
	d->forced = c == 'F';
	d->defined = c == 'x' ? DUET_DIP_DOWN : c == 'r' ? DUET_DIP_DRAIN : DUET_DIP_UP;
	d->weight = 1;
}

static struct dips read_dips(const char *text)
{
	struct dips t = { .n_rules = 1 };

	t.list = calloc(strlen(text), sizeof(*t.list));
	t.first = calloc(2, sizeof(*t.first));
	for (; *text; text++) {
		if (*text == '*')
			t.list[t.n - 1].last_resort = true;
		else if (*text >= '0' && *text <= '9')
			t.list[t.n - 1].weight = *text - '0';
		else
			read_dip(&t.list[t.n++], *text);
	}
	t.first[1] = t.n;
	return t;
}

/* u, d, r: up, down, drain, as muxes are pushed */
static const char *written(const struct dips *t, char *out)
{
	unsigned int i;

	for (i = 0; i < t->n; i++)
		out[i] = t->list[i].table == DUET_DIP_UP ? 'u' : t->list[i].table == DUET_DIP_DRAIN ? 'r' : 'd';
	out[i] = 0;
	return out;
}

#define KEEP PANIC_KEEP
#define ALL  PANIC_ALL
#define NONE PANIC_NONE

TEST(cases)
{
	static const struct {
		const char *dips;
		unsigned int min_share;
		enum vip_panic panic;
		const char *table;
		enum policy_mode mode;
	} cases[] = {
		/* without a policy the table is as health says */
		{ "UU?", 0, KEEP, "uuu", POLICY_NORMAL },
		{ "UDH", 0, KEEP, "udd", POLICY_NORMAL },
		{ "DDD", 0, KEEP, "ddd", POLICY_LOW },
		{ "UXx", 0, KEEP, "udd", POLICY_NORMAL },
		{ "Uor", 0, KEEP, "urr", POLICY_NORMAL },
		{ "Udd", 0, KEEP, "urr", POLICY_NORMAL },
		/* without others those that are drained serve on, unless it was forced or the definition says so */
		{ "Ddd", 0, KEEP, "duu", POLICY_NORMAL },
		{ "oo", 0, KEEP, "uu", POLICY_NORMAL },
		{ "FF", 0, KEEP, "rr", POLICY_LOW },
		{ "rr", 0, KEEP, "rr", POLICY_LOW },
		{ "XX", 0, KEEP, "dd", POLICY_LOW },
		{ "dD", 0, KEEP, "ud", POLICY_NORMAL },
		/* panic */
		{ "UDDD", 25, ALL, "uddd", POLICY_NORMAL },
		{ "UDDD", 26, ALL, "uuuu", POLICY_PANIC_ALL },
		{ "UDDD", 26, NONE, "dddd", POLICY_PANIC_NONE },
		{ "UDDD", 26, KEEP, "uddd", POLICY_LOW },
		{ "DDDD", 0, ALL, "uuuu", POLICY_PANIC_ALL },
		{ "DDDD", 0, NONE, "dddd", POLICY_PANIC_NONE },
		{ "UHDX", 50, ALL, "uuud", POLICY_PANIC_ALL },	/* 1 of 3; what the operator took out stays out */
		{ "UDo", 50, ALL, "udr", POLICY_NORMAL },	/* 1 of 2: a drained one doesn't count */
		{ "U3D1", 75, ALL, "ud", POLICY_NORMAL },
		{ "U1D3", 26, ALL, "uu", POLICY_PANIC_ALL },
		{ "UU", 100, ALL, "uu", POLICY_NORMAL },
		{ "U0D1", 0, ALL, "uu", POLICY_PANIC_ALL },	/* a weight of 0 serves nobody */
		/* last resort */
		{ "UUU*", 0, KEEP, "uud", POLICY_NORMAL },
		{ "UDU*", 0, KEEP, "udd", POLICY_NORMAL },
		{ "DDU*", 0, KEEP, "ddu", POLICY_LAST_RESORT },
		{ "DDD*", 0, KEEP, "ddd", POLICY_LOW },
		{ "DDD*", 0, ALL, "uud", POLICY_PANIC_ALL },
		{ "DDU*", 50, ALL, "ddu", POLICY_LAST_RESORT },	/* before panic */
		{ "UDDU*", 50, ALL, "uuud", POLICY_PANIC_ALL },
		{ "ooU*", 0, KEEP, "rru", POLICY_LAST_RESORT },
		{ "XX?*", 0, KEEP, "ddu", POLICY_LAST_RESORT },
		{ "DDU*U*", 0, KEEP, "dduu", POLICY_LAST_RESORT },
		{ "DDX*", 0, NONE, "ddd", POLICY_PANIC_NONE },
	};
	char out[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vip_health policy = { cases[i].min_share, cases[i].panic, true };
		struct dips t = read_dips(cases[i].dips);

		EXPECT_EQ(cases[i].mode, policy_rule(&policy, &t, 0)) TH_LOG("%s at %u", cases[i].dips, cases[i].min_share);
		EXPECT_STREQ(cases[i].table, written(&t, out)) TH_LOG("%s at %u", cases[i].dips, cases[i].min_share);
		/* a second look at the same changes nothing */
		EXPECT_EQ(cases[i].mode, policy_rule(&policy, &t, 0));
		EXPECT_STREQ(cases[i].table, written(&t, out)) TH_LOG("%s again", cases[i].dips);
		dips_free(&t);
	}
}

/* the words that people see */
TEST(states)
{
	static const struct {
		char dip;
		const char *state;
	} cases[] = {
		{ 'U', "up" }, { '?', "unknown" }, { 'D', "down" }, { 'H', "damped" }, { 'd', "drained" },
		{ 'o', "drained" }, { 'X', "off" }, { 'x', "off" }, { 'r', "drained" },
	};
	struct vip_health policy = { 0, KEEP, true };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dips t = read_dips("UU");

		read_dip(&t.list[1], cases[i].dip);
		policy_rule(&policy, &t, 0);
		EXPECT_STREQ(cases[i].state, dip_state_text(t.list[1].state));
		dips_free(&t);
	}
}

/* a definition: what is good, and what is refused */
TEST(definition)
{
	static const struct {
		const char *health;
		int ret;
	} cases[] = {
		{ "{}", 0 }, { "{\"min-share\":0}", 0 }, { "{\"min-share\":100,\"panic\":\"all\"}", 0 },
		{ "{\"panic\":\"none\",\"damping\":false}", 0 }, { "{\"last-resort\":\"10.0.0.2\"}", 0 },
		{ "{\"last-resort\":[\"10.0.0.2\"]}", 0 }, { "{\"last-resort\":[]}", 0 },
		{ "[]", -EINVAL }, { "{\"min-share\":101}", -EINVAL }, { "{\"min-share\":-1}", -EINVAL },
		{ "{\"min-share\":0.5}", -EINVAL }, { "{\"min-share\":\"50\"}", -EINVAL }, { "{\"panic\":\"some\"}", -EINVAL },
		{ "{\"panic\":true}", -EINVAL }, { "{\"damping\":1}", -EINVAL }, { "{\"min_share\":1}", -EINVAL },
		{ "{\"last-resort\":\"10.0.0.9\"}", -EINVAL }, { "{\"last-resort\":[\"10.0.0.1\",\"10.0.0.2\"]}", -EINVAL },
		{ "{\"last-resort\":7}", -EINVAL }, { "{\"last-resort\":[{}]}", -EINVAL },
	};
	json_t *def = json_loads("{\"vip\":\"203.0.113.1\",\"rules\":[{\"dips\":[{\"address\":\"10.0.0.1\"},{\"address\":\"10.0.0.2\"}]}]}", 0, NULL);
	struct vip_health h;
	struct vip *vip;
	struct err e;

	ASSERT_EQ(0, vip_from_json(def, &vip, &e));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_object_set_new(def, "health", json_loads(cases[i].health, 0, NULL));
		EXPECT_EQ(cases[i].ret, vip_health_from_json(def, vip, "VIP 203.0.113.1", &h, &e)) TH_LOG("%s", cases[i].health);
	}
	json_object_del(def, "health");
	EXPECT_EQ(0, vip_health_from_json(def, vip, "VIP 203.0.113.1", &h, &e));
	EXPECT_TRUE(!h.min_share && h.panic == PANIC_KEEP && h.damping);
	vip_free(vip);
	json_decref(def);
	EXPECT_EQ(0, leaks());
}

/* what is known of a DIP stays when the definition changes around it */
TEST(redefined)
{
	json_t *a = json_loads("{\"rules\":[{\"dips\":[{\"address\":\"10.0.0.1\"},{\"address\":\"10.0.0.2\"}]}]}", 0, NULL);
	json_t *b = json_loads("{\"rules\":[{\"dips\":[{\"address\":\"10.0.0.3\"},{\"address\":\"10.0.0.2\",\"weight\":5}]}]}", 0, NULL);
	struct dips t = {};

	ASSERT_EQ(0, dips_define(&t, a));
	t.list[1].in = false;
	t.list[1].reported = REPORT_DOWN;
	dip_reason(&t.list[1], "refused");
	ASSERT_EQ(0, dips_define(&t, b));
	EXPECT_TRUE(t.list[0].in && t.list[0].reported == REPORT_NONE);
	EXPECT_TRUE(!t.list[1].in && t.list[1].weight == 5);
	EXPECT_STREQ("refused", t.list[1].reason);
	EXPECT_EQ(&t.list[1], dips_find(&t, "10.0.0.2", 0));
	EXPECT_EQ(NULL, dips_find(&t, "10.0.0.1", 0));
	EXPECT_EQ(NULL, dips_find(&t, "10.0.0.2", 1));
	dips_free(&t);
	json_decref(a);
	json_decref(b);
	EXPECT_EQ(0, leaks());
}

TEST_HARNESS_MAIN
