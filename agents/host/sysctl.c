// SPDX-License-Identifier: GPL-2.0
/*
 * Settings of the interface (manage_sysctl). Clients' packets may come in where
 * the way back doesn't lead: strict reverse path filtering would drop them (loose
 * is the higher value, so it wins over "all"). A VIP on lo must not be told by
 * ARP, it belongs to the muxes. Nothing but this interface in this network
 * namespace is touched, and what it was is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "host.h"
#include "log.h"

static const struct {
	const char *key, *value;
} settings[] = {
	{ "rp_filter", "2" }, { "arp_ignore", "1" }, { "arp_announce", "2" },
};
#define SETTINGS (sizeof(settings) / sizeof(*settings))

/* set - value, and what it was */
static bool set(const char *interface, const char *key, const char *value, char was[DECAP_VALUE])
{
	char path[128];
	bool changed = false;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", interface, key);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		log_warn("sysctl %s: %s", path, strerror(errno));
		return false;
	}
	n = read(fd, was, DECAP_VALUE - 1);
	was[n > 0 ? n : 0] = '\0';
	was[strcspn(was, "\n")] = '\0';
	if (strcmp(was, value)) {
		changed = pwrite(fd, value, strlen(value), 0) >= 0;
		if (changed)
			log_info("sysctl %s: %s -> %s", path, was, value);
		else
			log_warn("sysctl %s = %s: %s", path, value, strerror(errno));
	}
	close(fd);
	return changed;
}

void sysctls_manage(struct dataplane *dp, const char *interface)
{
	char was[DECAP_VALUE];
	unsigned int i;

	for (i = 0; i < SETTINGS; i++)
		if (set(interface, settings[i].key, settings[i].value, was))
			dp_before_set(dp, settings[i].key, was);
}

void sysctls_restore(struct dataplane *dp, const char *interface)
{
	char was[DECAP_VALUE], now[DECAP_VALUE];
	unsigned int i;

	for (i = 0; i < SETTINGS; i++)
		if (dp_before_get(dp, settings[i].key, was))
			set(interface, settings[i].key, was, now);
}
