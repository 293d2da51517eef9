/* SPDX-License-Identifier: GPL-2.0 */
/* Small things all parts of the controller use. */
#ifndef DUET_CONTROLLER_COMMON_H
#define DUET_CONTROLLER_COMMON_H

#include <jansson.h>
#include <stdint.h>
#include "clock.h"
#include "conf.h"
#include "http.h"

#define NAME_SIZE	64	/* of a switch, mux, host; with the final 0 */
#define SMUX		"smux"	/* "on the SMuxes" where a mux's name stands */
#define SILENT_MS	6000	/* an agent unheard of for so long counts as silent */

/* Members of a JSON object; the fallback if absent or of another type */
const char *get_str(json_t *object, const char *key, const char *fallback);
uint64_t get_u64(json_t *object, const char *key, uint64_t fallback);
double get_num(json_t *object, const char *key, double fallback);

/* json_cut - a string of max bytes at most, whole characters; new reference */
json_t *json_cut(const char *text, size_t max);

/* struct config - controller.conf, [controller] */
struct config {
	char *name, *role, *store, *topology, *monitor, *engine, *updater;
	char *etcd_prefix;
	struct tls_conf etcd;
	unsigned int lease_s;
	char *auth, *admins, *operators, *readers, *agents, *metrics, *part_secret;
	struct http_conf http;
	struct prefix aggregate, aggregate6;	/* aggregate6: no IPv6 VIPs if its text is NULL */
	char *aggregate_text, *aggregate6_text;
	char *key_file;
	char *seed;	/* of an older version: refused */
	char *silent;		/* [monitor]: what becomes of the DIPs of a host that is silent and dead for its witnesses */
	bool silent_down;	/* of silent: they are taken out */
	unsigned int silent_after_ms, silent_vip_percent, silent_rack_percent, silent_hosts_percent;
	char *hosts;		/* names that the controller is called by, besides its addresses */
};

#endif
