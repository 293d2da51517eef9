/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The monitor: fabric from topology.dot, health and traffic from the host
 * agents' reports. What changes is told to the updater at once.
 */
#ifndef DUET_CONTROLLER_MONITOR_H
#define DUET_CONTROLLER_MONITOR_H

#include "../controller.h"
#include "topology.h"

/* topology_load - topology_read() of the configuration's file; also refuses a node
 * whose address is inside an aggregate
 */
int topology_load(const struct controller *ctl, struct topology *topo, struct err *e);
int monitor_start(struct controller *ctl, struct err *e);
void monitor_stop(struct controller *ctl);

struct metrics;
void monitor_metrics(const struct controller *ctl, struct metrics *m);

/* handlers; ctx is the controller */
void monitor_model_get(struct http_request *req, json_t *body,
		       void *ctx); /* GET /v1/monitor/model */
void monitor_topology_get(struct http_request *req, json_t *body, void *ctx); /* GET /v1/topology */
void monitor_traffic_get(struct http_request *req, json_t *body, void *ctx);  /* GET /v1/traffic */
void monitor_report_post(struct http_request *req, json_t *body, void *ctx);  /* POST /v1/reports */

#endif
