// SPDX-License-Identifier: GPL-2.0
/* Every route: whose it is, and what right it takes. openapi.yaml says what each does. */
#include "../engine/plan.h"
#include "../monitor/monitor.h"
#include "api.h"
#include "gate.h"

#define MON ROLE_MONITOR
#define UPD ROLE_UPDATER

const struct gate_route gate_routes[] = {
	{ MON, RIGHT_PART, { "GET", "/v1/monitor/model", monitor_model_get } },
	{ MON, RIGHT_READ, { "GET", "/v1/topology", monitor_topology_get } },
	{ MON, RIGHT_READ, { "GET", "/v1/traffic", monitor_traffic_get } },
	{ MON, RIGHT_AGENT, { "POST", "/v1/reports", monitor_report_post, 8u << 20 } },
	/* where the monitor is another process */
	{ UPD, RIGHT_READ, { "GET", "/v1/topology", api_topology_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/traffic", api_traffic_get } },
	{ ROLE_ENGINE, RIGHT_PART, { "POST", "/v1/engine/plan", plan_post, 256u << 20 } },
	{ UPD, RIGHT_PART, { "PUT", "/v1/updater/health", updater_health_put } },
	{ UPD, RIGHT_PART, { "PUT", "/v1/updater/assignment", updater_assignment_put } },
	{ UPD, RIGHT_READ, { "GET", "/v1/vips", api_vips_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/vips/*", api_vip_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/vips/*/way", api_vip_way_get } },
	{ UPD, RIGHT_OPERATE, { "PUT", "/v1/vips/*", api_vip_put } },
	{ UPD, RIGHT_OPERATE, { "DELETE", "/v1/vips/*", api_vip_delete } },
	{ UPD, RIGHT_READ, { "GET", "/v1/config", api_config_get } },
	{ UPD, RIGHT_OPERATE, { "PUT", "/v1/config", api_config_put } },
	{ UPD, RIGHT_READ, { "POST", "/v1/config/diff", api_config_diff } },
	{ UPD, RIGHT_READ, { "GET", "/v1/assignment", api_assignment_get } },
	{ UPD, RIGHT_OPERATE, { "POST", "/v1/assign", api_assign_post } },
	{ UPD, RIGHT_READ, { "POST", "/v1/what-if", api_what_if_post } },
	{ UPD, RIGHT_OPERATE, { "POST", "/v1/moves", api_moves_post } },
	{ UPD, RIGHT_READ, { "GET", "/v1/moves", api_moves_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/moves/*", api_move_get } },
	{ UPD, RIGHT_OPERATE, { "DELETE", "/v1/moves/*", api_move_abort } },
	{ UPD, RIGHT_OPERATE, { "DELETE", "/v1/waves/*", api_wave_abort } },
	{ UPD, RIGHT_READ, { "GET", "/v1/muxes", api_muxes_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/hosts", api_hosts_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/links", api_links_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/fabric", api_fabric_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/events", api_events_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/audit", api_audit_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/status", api_status_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/trace", api_trace_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/snat", api_snat_get } },
	{ UPD, RIGHT_READ, { "GET", "/v1/control", api_control_get } },
	{ UPD, RIGHT_OPERATE, { "PUT", "/v1/control", api_control_put } },
	{ UPD, RIGHT_READ, { "GET", "/v1/drains", api_drains_get } },
	{ UPD, RIGHT_OPERATE, { "PUT", "/v1/drains/*/*", api_drain_put } },
	{ UPD, RIGHT_OPERATE, { "DELETE", "/v1/drains/*/*", api_drain_delete } },
	{ UPD, RIGHT_ADMIN, { "GET", "/v1/tokens", api_tokens_get } },
	{ UPD, RIGHT_ADMIN, { "PUT", "/v1/tokens/*", api_token_put } },
	{ UPD, RIGHT_ADMIN, { "DELETE", "/v1/tokens/*", api_token_delete } },
	{ UPD, RIGHT_ADMIN, { "GET", "/v1/export", api_export_get } },
	{ UPD, RIGHT_ADMIN, { "POST", "/v1/backup", api_backup_post } },
	{ UPD, RIGHT_NONE, { "GET", "/", api_web_get } },
	{ UPD, RIGHT_NONE, { "GET", "/web/*", api_web_get } },
	{ ROLE_ALL, RIGHT_NONE, { "GET", "/healthz", api_healthz_get } },
	{ ROLE_ALL, RIGHT_NONE, { "GET", "/metrics", api_metrics_get } },
	{}
};
