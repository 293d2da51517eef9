/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who leads, when the store is etcd: a key with a lease. Whoever made it leads
 * until the lease runs out, and its revision is the epoch. One that is no
 * longer sure of its lease starts anew as a standby, by exec: nothing of what
 * it knew or had under way is left.
 */
#ifndef DUET_CONTROLLER_LEAD_H
#define DUET_CONTROLLER_LEAD_H

#include "controller.h"

struct lead;

/* lead_start - calls ctl_elected() when this controller leads */
int lead_start(struct controller *ctl, struct err *e);
void lead_stop(struct controller *ctl);		/* gives the lease back, so that another takes over at once */
/* lead_url, lead_name - of the one that leads; "" if none is known */
const char *lead_url(const struct lead *lead);
const char *lead_name(const struct lead *lead);

#endif
