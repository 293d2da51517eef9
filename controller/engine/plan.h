/* SPDX-License-Identifier: GPL-2.0 */
/* The engine as a service: POST /v1/engine/plan, JSON in, JSON out. */
#ifndef DUET_CONTROLLER_PLAN_H
#define DUET_CONTROLLER_PLAN_H

#include <jansson.h>
#include "conf.h"
#include "http.h"

struct controller;

/* plan_make - {"model": GET /v1/monitor/model, "vips": [VIP file entries],
 * "current": {VIP: mux}, "options": {"delta", "sticky", "link-share",
 * "exclude": [switch], "only": [VIP] (all others stay), "tips", "go-on", "local-search": rounds}} to {"mru", "assignment": [{"vip", "mux", "mru",
 * "reason"}], "links", "switches"}. Returns 0, -EINVAL with a sentence, -ENOMEM. In any thread, as long as nobody changes the request.
 */
int plan_make(json_t *request, json_t **plan, struct err *e);

/* serve.c: handler of POST /v1/engine/plan, and the thread it hands requests to */
int plan_start(struct controller *ctl, struct err *e);
void plan_stop(struct controller *ctl);	/* waits for a plan being made; nobody is answered */
void plan_post(struct http_request *req, json_t *body, void *ctx);

#endif
