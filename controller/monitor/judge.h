/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What follows from a host's silence and from what witnesses say of it. Witnesses are muxes that probed the DIPs of the
 * host as traffic would reach them. Everything here is computed from its arguments: no state, no I/O.
 */
#ifndef DUET_CONTROLLER_JUDGE_H
#define DUET_CONTROLLER_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#define JUDGE_WITNESSES	3
#define JUDGE_QUORUM	2	/* so many must agree on what is against a host */
#define JUDGE_TARGETS	8
#define JUDGE_NAME	64

enum testimony {
	TESTIMONY_NONE,		/* it could not be asked, or gets no answer from hosts that are alive either */
	TESTIMONY_ANSWER,
	TESTIMONY_REFUSED,	/* the server answers; nothing listens there */
	TESTIMONY_NOTHING,	/* no answer, or "unreachable" */
	TESTIMONY_NO_ROUTE,
};

struct witness {
	char name[JUDGE_NAME];
	enum testimony of[JUDGE_TARGETS];
};

/* struct evidence - all that is known of one silent host: the targets are its DIPs, a VIP and rule each */
struct evidence {
	unsigned int n_targets, n_witnesses;
	struct witness witnesses[JUDGE_WITNESSES];
};

enum verdict {
	VERDICT_NONE,		/* too few witnesses: the host is kept as it is */
	VERDICT_ALIVE,		/* one got an answer: only its agent, or the way from it, is dead */
	VERDICT_DEAD,
};

enum verdict judge_host(const struct evidence *e);
/* judge_target - TESTIMONY_ANSWER: one got it; TESTIMONY_REFUSED: enough were refused and none got an answer; else NONE */
enum testimony judge_target(const struct evidence *e, unsigned int target);
/* judge_says - the witnesses' part of a sentence: "smux1 and tor3 get no answer", "smux1 gets an answer" */
void judge_says(const struct evidence *e, char *text, size_t size);
/* judge_may - may `out` of `total` be taken out by silence? Up to percent of them, but `least` always may. */
bool judge_may(unsigned int out, unsigned int total, unsigned int percent, unsigned int least);

#endif
