/* SPDX-License-Identifier: GPL-2.0 */
/* "health" of a VIP's definition: what its table holds when few of its DIPs are up. */
#ifndef DUET_LIB_VIP_HEALTH_H
#define DUET_LIB_VIP_HEALTH_H

#include "vip.h"

enum vip_panic { PANIC_KEEP, PANIC_ALL, PANIC_NONE };

struct vip_health {
	unsigned int min_share;		/* percent of a rule's weight; below it the VIP is in panic */
	enum vip_panic panic;
	bool damping;
};

/* vip_health_from_json - of a definition: {"min-share": 0..100, "panic": "keep"|"all"|"none", "damping": true|false,
 * "last-resort": "DIP" or ["DIP", ...]}. Absent is the default: 0, keep, true, none. vip: the same definition,
 * which must have each DIP of last resort, and another DIP in each rule that has one; NULL: stored, so not checked.
 */
int vip_health_from_json(json_t *def, const struct vip *vip, const char *where, struct vip_health *health, struct err *e);
/* vip_last_resort - is this one of them */
bool vip_last_resort(json_t *def, const char *dip);

#endif
