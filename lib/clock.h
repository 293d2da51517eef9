/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DUET_CLOCK_H
#define DUET_CLOCK_H

#include <stdint.h>

uint64_t wall_ms(void);		/* since 1970: for people */
uint64_t mono_ms(void);		/* since boot: for deadlines */
uint64_t mono_usec(void);	/* the same, as sd-event's timers take it */

#endif
