/* SPDX-License-Identifier: GPL-2.0 */
/* Engine and monitor, where they are processes of their own: which of them does not answer. */
#ifndef DUET_CONTROLLER_UPDATER_PARTS_H
#define DUET_CONTROLLER_UPDATER_PARTS_H

#include "priv.h"

int parts_start(struct updater *u);
void parts_stop(struct updater *u);
void parts_each_lost(const struct updater *u, void (*each)(const char *name, const char *url, const char *why, void *ctx), void *ctx);

#endif
