// SPDX-License-Identifier: GPL-2.0
/* Damping of DIPs that come and go: who is kept out, for how long, and who never is. */
#include <stdlib.h>

#include "../../controller/state/damping.h"
#include "../../controller/state/policy.h"
#include "kselftest_harness.h"
#include "leaks.h"

/* table - one rule with n DIPs of weight 1, all up */
static struct dips table(unsigned int n)
{
	struct dips t = { .n = n, .n_rules = 1 };
	unsigned int i;

	t.list = calloc(n, sizeof(*t.list));
	t.first = calloc(2, sizeof(*t.first));
	t.first[1] = n;
	for (i = 0; i < n; i++) {
		snprintf(t.list[i].text, sizeof(t.list[i].text), "10.0.%u.%u", i / 256, i % 256);
		t.list[i].weight = 1;
		t.list[i].in = true;
		t.list[i].reported = REPORT_UP;
	}
	return t;
}

static unsigned int say(struct dips *t, unsigned int i, enum dip_report report, uint64_t now)
{
	return damping_report(t, &t->list[i], report, true, now);
}

static unsigned int ease(struct dips *t, uint64_t now)
{
	unsigned int n = 0;

	while (damping_ease(t, 0, DAMPING_LEAST, now))
		n++;
	return n;
}

static unsigned int in(const struct dips *t)
{
	unsigned int i, n = 0;

	for (i = 0; i < t->n; i++)
		n += t->list[i].in;
	return n;
}

/* a script of one DIP among ten: d, u: reported down, up; e: time for holds to end */
TEST(one_dip)
{
	static const struct {
		const char *script;	/* one letter every ten ms; E: after a minute and a half */
		bool in, hold;
		unsigned int events;
	} cases[] = {
		{ "d", false, false, 1 },
		{ "du", true, false, 2 },
		{ "dd", false, false, 1 },
		{ "uu", true, false, 0 },
		{ "dudu", true, false, 4 },
		{ "dududu", false, true, 6 },		/* the sixth says that it is damped */
		{ "dudududududududududu", false, true, 6 },	/* and nothing more is said */
		{ "dudududud", false, true, 6 },
		{ "dududuE", true, false, 7 },
		{ "dududududE", false, false, 7 },	/* down when the hold ends: that is said */
		{ "dudududE", false, false, 7 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dips t = table(10);
		unsigned int events = 0;
		uint64_t now = 1000;

		for (const char *c = cases[i].script; *c; c++) {
			unsigned int news;

			now += *c == 'E' ? 90000 : 10;
			if (*c == 'E')
				news = damping_expire(&t, t.list, now);
			else
				news = say(&t, 0, *c == 'd' ? REPORT_DOWN : REPORT_UP, now);
			events += !!(news & DAMPING_EVENT);
		}
		EXPECT_EQ(cases[i].in, t.list->in) TH_LOG("script %s", cases[i].script);
		EXPECT_EQ(cases[i].hold, t.list->hold) TH_LOG("script %s", cases[i].script);
		EXPECT_EQ(cases[i].events, events) TH_LOG("script %s", cases[i].script);
		dips_free(&t);
	}
}

/* however many DIPs fail together once, none stays out longer than one that fails alone */
TEST(all_together)
{
	static const unsigned int sizes[] = { 1, 2, 3, 60, 200, 1000 };

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct dips t = table(sizes[k]);
		unsigned int i;

		for (i = 0; i < t.n; i++)
			say(&t, i, REPORT_DOWN, 1000);
		EXPECT_EQ(0, in(&t));
		for (i = 0; i < t.n; i++)
			say(&t, i, REPORT_UP, 1010);
		EXPECT_EQ(sizes[k], in(&t)) TH_LOG("%u DIPs", sizes[k]);
		dips_free(&t);
	}
}

/* a service that fails as a whole three times is damped, but half of it serves */
TEST(half_serves)
{
	struct dips t = table(60);
	uint64_t now = 1000;
	unsigned int i, k;

	for (k = 0; k < 3; k++) {
		for (i = 0; i < t.n; i++)
			say(&t, i, REPORT_DOWN, now);
		now += 100;
		for (i = 0; i < t.n; i++)
			say(&t, i, REPORT_UP, now);
		now += 100;
	}
	ease(&t, now);
	EXPECT_EQ(30, in(&t));
	for (i = 0; i < t.n; i++)
		damping_expire(&t, &t.list[i], now + 60000);
	EXPECT_EQ(60, in(&t));
	dips_free(&t);
}

/* one flaps and is kept out, the other dies: the first is let in at once */
TEST(last_healthy)
{
	struct dips t = table(2);
	uint64_t now = 1000;
	unsigned int k;

	for (k = 0; k < 3; k++) {
		say(&t, 0, REPORT_DOWN, now);
		say(&t, 0, REPORT_UP, now);
	}
	EXPECT_EQ(0, ease(&t, now));
	EXPECT_EQ(1, in(&t));
	say(&t, 1, REPORT_DOWN, now);
	EXPECT_EQ(1, ease(&t, now));
	EXPECT_TRUE(t.list[0].in && t.list[0].hold);
	/* it is down again and up again: not before a second has passed */
	say(&t, 0, REPORT_DOWN, now + 10);
	say(&t, 0, REPORT_UP, now + 20);
	EXPECT_EQ(0, ease(&t, now + 20));
	EXPECT_EQ(1, ease(&t, now + 1000));
	dips_free(&t);
}

TEST(least_penalty_first)
{
	struct dips t = table(3);
	uint64_t now = 1000;
	unsigned int k;

	for (k = 0; k < 5; k++)
		for (unsigned int i = 0; i < 3; i++) {
			if (i == 1 && k > 2)
				continue;
			say(&t, i, REPORT_DOWN, now);
			say(&t, i, REPORT_UP, now);
		}
	EXPECT_EQ(&t.list[1], damping_ease(&t, 0, 1, now));
	EXPECT_EQ(NULL, damping_ease(&t, 0, 1, now));
	dips_free(&t);
}

TEST(release)
{
	struct dips t = table(10);
	unsigned int k;

	EXPECT_EQ(0, damping_release(t.list, 1000));
	for (k = 0; k < 9; k++) {
		say(&t, 0, REPORT_DOWN, 1000);
		say(&t, 0, REPORT_UP, 1000);
	}
	EXPECT_TRUE(t.list->hold && !t.list->in);
	EXPECT_EQ(DAMPING_TABLE | DAMPING_EVENT, damping_release(t.list, 1001));
	EXPECT_TRUE(!t.list->hold && t.list->in);
	say(&t, 0, REPORT_DOWN, 1002);
	EXPECT_EQ(DAMPING_TABLE | DAMPING_EVENT, say(&t, 0, REPORT_UP, 1003));
	dips_free(&t);
}

/* "damping": false in the definition */
TEST(off)
{
	struct dips t = table(10);
	unsigned int k;

	for (k = 0; k < 9; k++) {
		damping_report(&t, t.list, REPORT_DOWN, false, 1000);
		damping_report(&t, t.list, REPORT_UP, false, 1000);
		EXPECT_TRUE(t.list->in);
	}
	dips_free(&t);
}

TEST_HARNESS_MAIN
