/* SPDX-License-Identifier: GPL-2.0 */
/* What dataplane.c (programs) and maps.c (their maps) share. */
#ifndef DUET_HOST_DATAPLANE_H
#define DUET_HOST_DATAPLANE_H

#include <limits.h>
#include <net/if.h>
#include "host.h"

enum map_id {
	MAP_MUXES, MAP_DIPS, MAP_SERVED, MAP_VIPS, MAP_RACKS, MAP_METERS, MAP_CHOICES, MAP_REASONS, MAP_SETTINGS,
	MAP_META, MAP_LOCALS, MAP_HEALTH, MAP_NAMES, MAP_BEFORE, MAP_ACCEPTS, MAP_SOURCES, MAP_MUX_PREFIXES, __MAPS
};

struct dataplane {
	char interface[IF_NAMESIZE];
	unsigned int ifindex;
	int mtu;
	int maps[__MAPS], progs[__HOOKS];	/* owned; a program not attached: -1 */
	uint32_t prog_id;
	bool taken_over, replaced;
	char pin[PATH_MAX];		/* "" if not pinned */
	char pin_why[256], xdp_why[512];
	int cpus;
};

#endif
