// SPDX-License-Identifier: GPL-2.0
/* --uninstall: leaves the host as it was before there was an agent. */
#include <stdio.h>
#include <stdlib.h>
#include <net/if.h>

#include "host.h"
#include "log.h"
#include "release.h"
#include "snat.h"

/* vips_remove - those that the map says are ours, off lo */
static void vips_remove(struct dataplane *dp)
{
	struct decap_key *keys;
	struct nl_sock *lo;
	unsigned int n, i, changed = 0;
	struct err e;

	if (lo_open(&lo, &e) || dp_served_get(dp, &keys, &n)) {
		log_warn("VIPs stay on lo");
		return;
	}
	for (i = 0; i < n; i++) {
		struct addr vip = to_addr(&keys[i].vip);

		if (lo_del(lo, &vip, &changed, &e))
			log_warn("%s", e.text);
	}
	free(keys);
	lo_close(lo);
}

bool state_remove(const struct conf *conf)
{
	struct if_nameindex *links = if_nameindex(), *l;
	struct dataplane *dp;
	struct nft *nft;
	bool any = false;
	struct err e;

	fencing_forget(conf);
	snat_unlink(conf->pin);
	held_forget(conf->pin);
	release_unlink(conf->pin);
	for (l = links; l && l->if_index; l++) {
		if (!hook_detach(l->if_index, HOOK_SNAT))
			continue;
		hook_leave(l->if_index);
		any = true;
	}
	if_freenameindex(links);
	if (!dp_look(conf->interface, &dp, &e)) {
		/* packets first: none is decapsulated to a VIP that isn't there any more */
		sysctls_restore(dp, conf->interface);
		dp_remove(dp, conf->pin);
		vips_remove(dp);
		dp_close(dp);
		any = true;
	}
	if (!nft_open(&nft, &e)) {
		nft_remove(nft);
		nft_close(nft);
	}
	return any;
}
