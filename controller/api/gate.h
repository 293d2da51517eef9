/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In front of every handler: who asks, may they, and is this controller the
 * one that leads; if not the request is carried to the one that does.
 */
#ifndef DUET_CONTROLLER_GATE_H
#define DUET_CONTROLLER_GATE_H

#include "../controller.h"

enum right { RIGHT_NONE, RIGHT_AGENT, RIGHT_READ, RIGHT_OPERATE, RIGHT_ADMIN, RIGHT_PART };

struct gate_route {
	enum role part;
	enum right right;	/* RIGHT_NONE: everybody's */
	struct http_route route;
};

extern const struct gate_route gate_routes[];	/* routes.c; ends with an entry of no part */

/* the handler of every route; ctx is the controller */
void gate(struct http_request *req, json_t *body, void *ctx);

/* gate_who - the name of the one who asks, for the audit; borrowed, until the next call */
const char *gate_who(struct http_request *req, struct controller *ctl);

const char *right_name(enum right right);
int right_parse(const char *name, enum right *right);

/* auth.c */
int auth_start(struct controller *ctl, struct err *e);
/* auth_right - of a request; who[size] its name */
enum right auth_right(struct controller *ctl, struct http_request *req, char *who, size_t size);
/* auth_hash - SHA-256 in hex of a token */
void auth_hash(const char *token, char hex[65]);

/* part_call - as http_local() to a part of the controller in this process, as http_call() to one elsewhere; target is
 * path and query. 0, or -ENOMEM and done isn't called
 */
int part_call(struct controller *ctl, enum role part, const char *method, const char *target, json_t *body,
	      unsigned int timeout_ms, void (*done)(const struct http_result *result, void *ctx), void *ctx);

#endif
