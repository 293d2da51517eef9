/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One controller process: whichever of monitor, engine and updater its role
 * has, one event loop, one listener. The parts reach each other by REST only:
 * by URL, or handed over as JSON to the same handlers where both are in one
 * process, so that a part of its own process is the same program.
 */
#ifndef DUET_CONTROLLER_H
#define DUET_CONTROLLER_H

#include <systemd/sd-event.h>
#include "common.h"
#include "http.h"

enum role { ROLE_MONITOR = 1, ROLE_ENGINE = 2, ROLE_UPDATER = 4, ROLE_ALL = 7 };

struct worker;
struct lead;
struct monitor;
struct store_conf;
struct updater;

struct controller {
	struct config conf;
	struct auth auth;		/* of the configuration's lists, and the tokens */
	enum role roles;		/* set of bits */
	sd_event *loop;
	struct http_client *client;
	struct http_client *etcd_client;
	struct tls *tls, *etcd_tls;	/* the certificates of ours, and those for etcd; NULL: none */
	struct lead *lead;			/* NULL: the store isn't etcd */
	char leader_key[160];
	uint64_t revision;			/* of our leader's key; 0: we don't lead */
	struct http_server *server;
	struct http_route *served;	/* those of its roles */
	enum role own_parts;		/* those in this process that are asked here and not by URL */
	char monitor_url[256], engine_url[256], updater_url[256];
	char secret[128];		/* parts know each other by it */
	struct monitor *monitor;	/* NULL: not this process's part */
	struct worker *engine;		/* likewise */
	struct updater *updater;
};

/* ctl_elected - this one leads: the updater starts */
void ctl_elected(struct controller *ctl, uint64_t revision);
/* ctl_step_down - it may not act any more: it starts anew, knowing nothing */
void ctl_step_down(struct controller *ctl, const char *why);
void ctl_store_conf(const struct controller *ctl, uint64_t revision, struct store_conf *conf);

/* once - call back after ms (again if armed already: then it is put off or
 * brought forward); *timer is made on first use
 */
int once(sd_event *loop, sd_event_source **timer, uint64_t ms, sd_event_time_handler_t call, void *ctx);

#endif
