/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Client of BIRD's control socket, by its four-digit reply codes, in the
 * event loop. Observation and `reload in` only: VIP churn is netlink.
 */
#ifndef DUET_LIB_BIRD_H
#define DUET_LIB_BIRD_H

#include <stdbool.h>
#include <systemd/sd-event.h>

struct bird;

enum bird_state { BIRD_DOWN, BIRD_CONNECTING, BIRD_UP, BIRD_WEDGED };

/* One complete reply: code of the last line, text of all lines joined by \n
 * (each line without its code). code < 0: -errno, connection lost or timed out.
 */
typedef void bird_done(int code, const char *text, void *ctx);

/* bird_start - connects now and again after a loss (every second); state
 * changes are told. A command unanswered for 2 s makes it BIRD_WEDGED.
 */
int bird_start(sd_event *loop, const char *socket, void (*state)(enum bird_state state, const char *detail, void *ctx),
	       void *ctx, struct bird **bird);
void bird_stop(struct bird *bird);
enum bird_state bird_state(const struct bird *bird);
/* bird_command - queued, answered in order; -ENOTCONN when down */
int bird_command(struct bird *bird, const char *command, bird_done *done, void *ctx);

#endif
