/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DUET_HOST_DOCTOR_H
#define DUET_HOST_DOCTOR_H

#include <net/if.h>
#include "host.h"

/* doctor - look at everything, print it; the exit status: 1 if a check failed */
int doctor(const struct conf *conf, bool json);

#endif
