/* SPDX-License-Identifier: GPL-2.0 */
/* What the two halves of duet-probe share. */
#ifndef DUET_LAB_PROBE_H
#define DUET_LAB_PROBE_H

#include <stdint.h>

#define PROBE_LINE	16	/* bytes of a line sent through a long connection, with its newline */
#define PROBE_GREETING	32	/* longest name an echo server greets with, with its newline */

/* echo_serve - TCP and UDP echo on a port of all addresses, until killed; every
 * connection is greeted with the name, so that its other end knows its server
 */
int echo_serve(uint16_t port, const char *name);

uint64_t now_ns(void);
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
