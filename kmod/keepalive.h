/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mux whose agent is dead takes itself out: the device goes down, and with
 * it every route into it, so that the fabric falls back to the SMuxes.
 */
#ifndef DUET_KEEPALIVE_H
#define DUET_KEEPALIVE_H

#include <linux/types.h>
#include <linux/workqueue.h>

struct duet_dev;

struct duet_keepalive {
	struct delayed_work work;
	u32 ms;			/* 0: off */
	unsigned long until;	/* jiffies */
};

void duet_keepalive_init(struct duet_dev *dd);
/* duet_keepalive_set - alive: the next time is due within ms; lock held */
void duet_keepalive_set(struct duet_dev *dd, u32 ms);
/* duet_keepalive_stop - for good: nobody can set it any more. Waits for nothing. */
void duet_keepalive_stop(struct duet_dev *dd);

#endif
