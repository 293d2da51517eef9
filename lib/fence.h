/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fence of an agent: the newest (epoch, generation) that a controller's request carried. Requests with an older
 * pair are refused, so that a deposed controller, or a late request, changes nothing.
 *
 * The fence is kept in a file, because an agent that forgets it when it restarts obeys the deposed controller again.
 * The pair is in the file before the request is answered. A new epoch is also flushed to the disk: it must outlive a
 * power failure. A new generation need not be: it orders requests of one controller, and a power failure ends the
 * connections that could still carry an older one.
 *
 * Not thread safe: used from the event loop only.
 */
#ifndef DUET_LIB_FENCE_H
#define DUET_LIB_FENCE_H

#include <stdbool.h>
#include <stdint.h>
#include "conf.h"

/* Numbers above this are refused: they are no controller's (JSON readers keep 53 bits), and would shut every
 * controller out for good.
 */
#define FENCE_MAX	((1ull << 53) - 1)

struct fence {
	uint64_t epoch, generation;
	int fd;			/* of the file, -1: kept in memory only */
};

/* fence_open - read DIR/NAME.fence, or make it; dir NULL: keep it in memory only. 0, or -errno and a sentence: -EUCLEAN
 * if the file isn't a fence. The file stays open, so that the user an agent becomes later needs no right to it.
 */
int fence_open(struct fence *f, const char *dir, const char *name, struct err *e);
void fence_close(struct fence *f);

/* fence_check - may a request with this pair be obeyed? 0; -ESTALE: it is older than the fence; -ERANGE: a number is
 * above FENCE_MAX. Changes nothing.
 */
int fence_check(const struct fence *f, uint64_t epoch, uint64_t generation, struct err *e);

/* fence_pass - fence_check(), and the pair is the fence from now on. -errno of the file, and a sentence: the fence is as
 * it was and the request must not be obeyed
 */
int fence_pass(struct fence *f, uint64_t epoch, uint64_t generation, struct err *e);

/* fence_reset - any controller may command again. An operator's way out after an epoch that no controller has. */
int fence_reset(struct fence *f, struct err *e);

#endif
