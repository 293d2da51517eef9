/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What muxes of ordinary users may take. A network namespace whose user namespace
 * isn't the initial one was made by somebody who needs no privilege for it, and as
 * many more as he likes. Memory cgroups bound them where there are some;
 * here are hard caps for where there are none: of each such namespace, and
 * of all of them together.
 *
 * Objects are accounted when they are made and when they are unlinked; a request
 * that made too much is taken back as a whole, as with the tables' limits.
 */
#ifndef DUET_GUEST_H
#define DUET_GUEST_H

#include "device.h"

/* duet_account - so much more, or less, is in use; nothing in other namespaces */
void duet_account(struct duet_net *dn, long bytes);
/* duet_account_late - of all namespaces: memory that duet_account_early() took
 * off its own namespace is free now. That one may be gone.
 */
void duet_account_early(struct duet_net *dn, long bytes);
void duet_account_late(bool guest, long bytes);
/* duet_guest_check - -ENOSPC with extack filled: too much is in use */
int duet_guest_check(const struct duet_net *dn, struct netlink_ext_ack *extack);

#endif
