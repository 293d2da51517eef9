/* SPDX-License-Identifier: GPL-2.0 */
/* The end of a service, seen as it closes the socket it listened on. */
#ifndef DUET_HOST_RELEASE_AGENT_H
#define DUET_HOST_RELEASE_AGENT_H

#include "host.h"

struct release;

/* hurry: an eventfd, borrowed; pin: a folder for the link, borrowed; nothing is loaded before there is a need */
int release_start(sd_event *loop, int hurry, const char *pin, struct release **release);
void release_stop(struct release *release);
/* release_apply - hooked while there is a check of a port */
void release_apply(struct release *release, const struct desired *d);
/* release_unlink - let go of the sockets, whoever attached to them */
void release_unlink(const char *pin);

#endif
