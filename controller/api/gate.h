/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In front of every handler: is this controller the leader? If not, the request
 * is relayed to the leader. The server has compared rights before (lib/auth.h).
 */
#ifndef DUET_CONTROLLER_GATE_H
#define DUET_CONTROLLER_GATE_H

#include "../controller.h"

struct gate_route {
	enum role part;
	struct http_route route;
};

extern const struct gate_route gate_routes[];	/* routes.c; ends with an entry of no part */

/* gate_relays - does a standby pass it on to the leader? What everybody may have needs no leader. */
bool gate_relays(const struct gate_route *r);

/* the handler of every route; ctx is the controller */
void gate(struct http_request *req, json_t *body, void *ctx);

/* browser_good - no page of others makes a browser send this; else it has been answered. browser.c */
bool browser_good(const struct controller *ctl, struct http_request *req, bool body);

/* relay.c: a standby's request to the leader, and what a token may as the leader knows it (auth_resolve_t) */
void relay(struct controller *ctl, struct http_request *req, json_t *body);
void relay_look_up(struct http_request *req, void *ctx);

/* gate_who - the identity of the peer, for the audit; borrowed until the answer */
const char *gate_who(struct http_request *req, struct controller *ctl);

/* auth.c */
/* auth_configure - who may do what, of the configuration into ctl->auth */
int auth_configure(struct controller *ctl, struct err *e);
/* auth_start - the secret that parts identify themselves by */
int auth_start(struct controller *ctl, struct err *e);
/* auth_hash - SHA-256 in hex of a token */
void auth_hash(const char *token, char hex[65]);

/* part_call - as http_local() to a part of the controller in this process, as http_call() to one elsewhere; target is
 * path and query. 0, or -ENOMEM and done isn't called
 */
int part_call(struct controller *ctl, enum role part, const char *method, const char *target, json_t *body,
	      unsigned int timeout_ms, void (*done)(const struct http_result *result, void *ctx), void *ctx);

#endif
