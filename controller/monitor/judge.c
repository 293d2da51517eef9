// SPDX-License-Identifier: GPL-2.0
#include "judge.h"

#include <stdio.h>

/* says_of - one witness on the host as a whole: any answer of any of its DIPs is one of the host */
static enum testimony says_of(const struct witness *w, unsigned int n_targets)
{
	enum testimony all = TESTIMONY_NONE;
	unsigned int t;

	for (t = 0; t < n_targets; t++) {
		if (w->of[t] == TESTIMONY_ANSWER || w->of[t] == TESTIMONY_REFUSED)
			return TESTIMONY_ANSWER;
		if (w->of[t] != TESTIMONY_NONE && all != TESTIMONY_NOTHING)
			all = w->of[t];
	}
	return all;
}

enum verdict judge_host(const struct evidence *e)
{
	unsigned int w, against = 0;

	for (w = 0; w < e->n_witnesses; w++) {
		enum testimony says = says_of(&e->witnesses[w], e->n_targets);

		if (says == TESTIMONY_ANSWER)
			return VERDICT_ALIVE;
		against += says == TESTIMONY_NOTHING || says == TESTIMONY_NO_ROUTE;
	}
	return against >= JUDGE_QUORUM ? VERDICT_DEAD : VERDICT_NONE;
}

enum testimony judge_target(const struct evidence *e, unsigned int target)
{
	unsigned int w, refused = 0;

	for (w = 0; w < e->n_witnesses; w++) {
		if (e->witnesses[w].of[target] == TESTIMONY_ANSWER)
			return TESTIMONY_ANSWER;
		refused += e->witnesses[w].of[target] == TESTIMONY_REFUSED;
	}
	return refused >= JUDGE_QUORUM ? TESTIMONY_REFUSED : TESTIMONY_NONE;
}

static const char *saying(enum testimony says, bool many)
{
	switch (says) {
	case TESTIMONY_ANSWER:
		return many ? "get an answer" : "gets an answer";
	case TESTIMONY_NO_ROUTE:
		return many ? "have no route" : "has no route";
	default:
		return many ? "get no answer" : "gets no answer";
	}
}

void judge_says(const struct evidence *e, char *text, size_t size)
{
	static const enum testimony kinds[] = { TESTIMONY_ANSWER, TESTIMONY_NOTHING, TESTIMONY_NO_ROUTE };
	size_t len = 0;
	unsigned int k, w;

	text[0] = '\0';
	for (k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		unsigned int n = 0, of = 0;

		for (w = 0; w < e->n_witnesses; w++)
			of += says_of(&e->witnesses[w], e->n_targets) == kinds[k];
		for (w = 0; w < e->n_witnesses && len < size; w++) {
			if (says_of(&e->witnesses[w], e->n_targets) != kinds[k])
				continue;
			len += snprintf(text + len, size - len, "%s%s", n ? n + 1 == of ? " and " : ", " : len ? ", " : "",
					e->witnesses[w].name);
			n++;
		}
		if (of && len < size)
			len += snprintf(text + len, size - len, " %s", saying(kinds[k], of > 1));
	}
}

bool judge_may(unsigned int out, unsigned int total, unsigned int percent, unsigned int least)
{
	return out <= least || (unsigned long long)out * 100 <= (unsigned long long)total * percent;
}
