/* SPDX-License-Identifier: GPL-2.0 */
/* Links of the topology as the agents at their ends report them. */
#ifndef DUET_CONTROLLER_QUERY_LINKS_H
#define DUET_CONTROLLER_QUERY_LINKS_H

#include "../updater/priv.h"

/* link_state - "up", "down", "missing" (no such port) or "unknown"; which mux reported it in *by (may be NULL) */
const char *link_state(const struct updater *u, json_t *link, const char **by);

#endif
