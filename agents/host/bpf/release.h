/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DUET_HOST_RELEASE_H
#define DUET_HOST_RELEASE_H

#include <linux/types.h>

/* To the agent: a socket of this host that listened was closed. */
struct release_event {
	__u32 unused;
};

#endif
