/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The updater: keeps VIPs and where they live, and makes every agent hold
 * what follows from that. Moves of VIPs go through the SMuxes, step by step,
 * each step kept before it is taken.
 */
#ifndef DUET_CONTROLLER_UPDATER_H
#define DUET_CONTROLLER_UPDATER_H

#include "../controller.h"

int updater_start(struct controller *ctl, struct err *e);
void updater_stop(struct controller *ctl);

/* handlers; ctx is the controller */
void updater_health_put(struct http_request *req, json_t *body, void *ctx);	/* PUT /v1/updater/health */
void updater_assignment_put(struct http_request *req, json_t *body, void *ctx);	/* PUT /v1/updater/assignment */

#endif
