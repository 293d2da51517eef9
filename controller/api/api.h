/* SPDX-License-Identifier: GPL-2.0 */
/* The public REST interface (openapi.yaml): what duetctl and people use. */
#ifndef DUET_CONTROLLER_API_H
#define DUET_CONTROLLER_API_H

#include "../updater/priv.h"

/* vip_check - a VIP as the operator wrote it: 0 and a copy in normal form in
 * *def (new reference), or -errno and a sentence that says what is wrong with what
 */
int vip_check(const struct updater *u, json_t *vip, json_t **def, struct err *e);

/* handlers; ctx is the controller */
#define API_HANDLER(name) void name(struct http_request *req, json_t *body, void *ctx)

/* config.c */
API_HANDLER(api_config_put);		/* PUT /v1/config */
API_HANDLER(api_vip_put);		/* PUT /v1/vips/ADDR */
API_HANDLER(api_vip_delete);		/* DELETE /v1/vips/ADDR */
/* assign.c */
API_HANDLER(api_assign_post);		/* POST /v1/assign[?dry_run=1] */
API_HANDLER(api_moves_post);		/* POST /v1/moves */
/* views.c */
API_HANDLER(api_vips_get);
API_HANDLER(api_vip_get);
API_HANDLER(api_assignment_get);
API_HANDLER(api_moves_get);
API_HANDLER(api_move_get);
API_HANDLER(api_muxes_get);
API_HANDLER(api_hosts_get);
API_HANDLER(api_topology_get);		/* where the monitor is another process */
API_HANDLER(api_events_get);
/* status.c */
API_HANDLER(api_status_get);
API_HANDLER(api_healthz_get);
API_HANDLER(api_metrics_get);

#endif
