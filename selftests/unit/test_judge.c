// SPDX-License-Identifier: GPL-2.0
/* What follows from a host's silence: every combination of three witnesses, the sentences, the caps. */
#include <stdio.h>
#include <string.h>

#include "../../controller/monitor/judge.h"
#include "kselftest_harness.h"
#include "leaks.h"

#define N TESTIMONY_NONE
#define A TESTIMONY_ANSWER
#define R TESTIMONY_REFUSED
#define X TESTIMONY_NOTHING
#define U TESTIMONY_NO_ROUTE

static struct evidence evidence(unsigned int n_targets, unsigned int n, const enum testimony says[][2])
{
	static const char *const names[] = { "smux1", "tor3", "core1" };
	struct evidence e = { .n_targets = n_targets, .n_witnesses = n };
	unsigned int w, t;

	for (w = 0; w < n; w++) {
		strcpy(e.witnesses[w].name, names[w]);
		for (t = 0; t < n_targets; t++)
			e.witnesses[w].of[t] = says[w][t];
	}
	return e;
}

TEST(hosts)
{
	static const struct {
		unsigned int n_targets, n;
		enum testimony says[3][2];
		enum verdict want;
		const char *sentence;
	} cases[] = {
		{ 1, 0, {}, VERDICT_NONE, "" },
		{ 1, 1, { { X } }, VERDICT_NONE, "smux1 gets no answer" },
		{ 1, 2, { { X }, { X } }, VERDICT_DEAD, "smux1 and tor3 get no answer" },
		{ 1, 2, { { X }, { U } }, VERDICT_DEAD, "smux1 gets no answer, tor3 has no route" },
		{ 1, 3, { { U }, { U }, { U } }, VERDICT_DEAD, "smux1, tor3 and core1 have no route" },
		{ 1, 3, { { X }, { X }, { A } }, VERDICT_ALIVE, "core1 gets an answer, smux1 and tor3 get no answer" },
		{ 1, 3, { { X }, { X }, { R } }, VERDICT_ALIVE, "core1 gets an answer, smux1 and tor3 get no answer" },
		{ 1, 3, { { N }, { N }, { N } }, VERDICT_NONE, "" },
		{ 1, 3, { { X }, { N }, { N } }, VERDICT_NONE, "smux1 gets no answer" },
		{ 1, 3, { { N }, { U }, { X } }, VERDICT_DEAD, "core1 gets no answer, tor3 has no route" },
		{ 2, 2, { { X, A }, { X, X } }, VERDICT_ALIVE, "smux1 gets an answer, tor3 gets no answer" },
		{ 2, 2, { { X, U }, { U, X } }, VERDICT_DEAD, "smux1 and tor3 get no answer" },
		{ 2, 2, { { N, X }, { N, N } }, VERDICT_NONE, "smux1 gets no answer" },
	};
	char text[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct evidence e = evidence(cases[i].n_targets, cases[i].n, cases[i].says);

		EXPECT_EQ(cases[i].want, judge_host(&e)) TH_LOG("case %zu", i);
		judge_says(&e, text, sizeof(text));
		EXPECT_STREQ(cases[i].sentence, text) TH_LOG("case %zu", i);
	}
}

/* any answer saves the host, and nobody is judged by fewer than two, whatever they say */
TEST(all_combinations)
{
	unsigned int n;

	for (n = 0; n < 125; n++) {
		enum testimony says[3][2] = { { n % 5 }, { n / 5 % 5 }, { n / 25 } };
		struct evidence e = evidence(1, 3, says);
		unsigned int w, against = 0, answers = 0;

		for (w = 0; w < 3; w++) {
			answers += says[w][0] == A || says[w][0] == R;
			against += says[w][0] == X || says[w][0] == U;
		}
		EXPECT_EQ(answers ? VERDICT_ALIVE : against >= 2 ? VERDICT_DEAD : VERDICT_NONE, judge_host(&e)) TH_LOG("case %u", n);
	}
}

TEST(targets)
{
	static const struct {
		enum testimony says[3][2], want;
	} cases[] = {
		{ { { R }, { R }, { R } }, R }, { { { R }, { R }, { X } }, R }, { { { R }, { X }, { N } }, N },
		{ { { R }, { R }, { A } }, A }, { { { X }, { X }, { X } }, N }, { { { N }, { N }, { A } }, A },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct evidence e = evidence(1, 3, cases[i].says);

		EXPECT_EQ(cases[i].want, judge_target(&e, 0)) TH_LOG("case %zu", i);
	}
}

TEST(caps)
{
	static const struct {
		unsigned int out, total, percent, least;
		bool want;
	} cases[] = {
		{ 1, 2, 50, 0, true },	  { 1, 2, 25, 0, false },  { 1, 2, 25, 1, true },  { 2, 2, 50, 1, false },
		{ 25, 100, 25, 0, true }, { 26, 100, 25, 0, false }, { 0, 0, 0, 0, true },  { 1, 1, 0, 1, true },
		{ 1, 1, 75, 0, false },	  { 3, 4, 75, 0, true },   { 4, 4, 75, 0, false }, { 4, 4, 100, 0, true },
		{ 4000000000u, 4000000000u, 100, 0, true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		EXPECT_EQ(cases[i].want, judge_may(cases[i].out, cases[i].total, cases[i].percent, cases[i].least)) {
			TH_LOG("case %zu", i);
		}
	}
}

/* a sentence that doesn't fit is cut, not overrun */
TEST(cut)
{
	static const enum testimony says[][2] = { { X }, { X }, { A } };
	struct evidence e = evidence(1, 3, says);
	char text[64];
	size_t size;

	for (size = 1; size < sizeof(text); size++) {
		memset(text, 'x', sizeof(text));
		judge_says(&e, text, size);
		EXPECT_GT(size, strlen(text));
		EXPECT_EQ('x', text[size]);
	}
}

TEST_HARNESS_MAIN
