// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of ordinary users' muxes: see guest.h.
 */
#include "guest.h"
#include "compat.h"

#include <duet/limits.h>
#include <linux/sizes.h>

static atomic_long_t duet_guests_bytes;	/* of all guests */

void duet_account(struct duet_net *dn, long bytes)
{
	if (!dn->guest)
		return;
	atomic_long_add(bytes, &dn->bytes);
	atomic_long_add(bytes, &duet_guests_bytes);
}

void duet_account_early(struct duet_net *dn, long bytes)
{
	if (dn->guest)
		atomic_long_sub(bytes, &dn->bytes);
}

void duet_account_late(bool guest, long bytes)
{
	if (guest)
		atomic_long_sub(bytes, &duet_guests_bytes);
}

int duet_guest_check(const struct duet_net *dn, struct netlink_ext_ack *extack)
{
	if (!dn->guest)
		return 0;
	if (atomic_long_read(&dn->bytes) > DUET_GUEST_MIB * (long)SZ_1M) {
		DUET_EXTACK_FMT(extack, "muxes of an unprivileged namespace may take %u MiB, and this needs more",
				DUET_GUEST_MIB);
		return -ENOSPC;
	}
	if (atomic_long_read(&duet_guests_bytes) > DUET_GUESTS_MIB * (long)SZ_1M) {
		DUET_EXTACK_FMT(extack, "muxes of all unprivileged namespaces may take %u MiB, this needs more",
				DUET_GUESTS_MIB);
		return -ENOSPC;
	}
	return 0;
}
