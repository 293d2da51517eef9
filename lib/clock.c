// SPDX-License-Identifier: GPL-2.0
#include "clock.h"

#include <time.h>

static uint64_t clock_usec(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

uint64_t wall_ms(void)
{
	return clock_usec(CLOCK_REALTIME) / 1000;
}

uint64_t mono_ms(void)
{
	return mono_usec() / 1000;
}

uint64_t mono_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}
