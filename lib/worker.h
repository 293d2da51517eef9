/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What takes long, beside the event loop: one piece at a time in a thread, in the
 * order they came; their ends are told in the loop. The thread is made for a
 * piece and ends with it, so it never has more rights than the program has kept.
 */
#ifndef DUET_LIB_WORKER_H
#define DUET_LIB_WORKER_H

#include <systemd/sd-event.h>

struct worker;

/* worker_start - 0 or -errno; the worker is the caller's, until worker_stop() */
int worker_start(sd_event *loop, struct worker **w);
/* worker_do - work(ctx) in the thread, which has what ctx points to for itself meanwhile, then done(ctx) in the
 * loop. -ENOMEM: neither is called. Where no thread can be had the loop does the work.
 */
int worker_do(struct worker *w, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);
/* worker_stop - waits for the piece under way; drop(ctx) of it and of those not begun, instead of done */
void worker_stop(struct worker *w, void (*drop)(void *ctx));

#endif
