/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Points at which the controller can be made to die as by kill -9, for the
 * test that kills it at every step: DUET_FAULT=N, at the N-th point passed;
 * DUET_FAULT=NAME:N, at the N-th of that name. Unset: a test of one number.
 */
#ifndef DUET_CONTROLLER_FAULT_H
#define DUET_CONTROLLER_FAULT_H

void fault_init(void);
void fault(const char *name);

#endif
