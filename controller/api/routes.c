// SPDX-License-Identifier: GPL-2.0
/* Every route: whose it is, and what right it takes. openapi.yaml says what each does. */
#include "../engine/plan.h"
#include "../monitor/monitor.h"
#include "api.h"
#include "gate.h"

#define MON ROLE_MONITOR
#define UPD ROLE_UPDATER

const struct gate_route gate_routes[] = {
	{ MON, { "GET", "/v1/monitor/model", monitor_model_get, RIGHT_PART } },
	{ MON, { "GET", "/v1/topology", monitor_topology_get, RIGHT_READ } },
	{ MON, { "GET", "/v1/traffic", monitor_traffic_get, RIGHT_READ } },
	{ MON, { "POST", "/v1/reports", monitor_report_post, RIGHT_AGENT, 8u << 20 } },
	/* where the monitor is another process */
	{ UPD, { "GET", "/v1/topology", api_topology_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/traffic", api_traffic_get, RIGHT_READ } },
	{ ROLE_ENGINE, { "POST", "/v1/engine/plan", plan_post, RIGHT_PART, 256u << 20 } },
	{ UPD, { "PUT", "/v1/updater/health", updater_health_put, RIGHT_PART, 8u << 20 } },
	{ UPD, { "PUT", "/v1/updater/assignment", updater_assignment_put, RIGHT_PART, DUET_HTTP_BODY_MAX } },
	{ UPD, { "GET", "/v1/vips", api_vips_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/vips/*", api_vip_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/vips/*/way", api_vip_way_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/dips", api_dips_get, RIGHT_READ } },
	{ UPD, { "PUT", "/v1/vips/*/dips/*", api_dip_put, RIGHT_OPERATE } },
	{ UPD, { "DELETE", "/v1/vips/*/dips/*/damping", api_dip_release, RIGHT_OPERATE } },
	{ UPD, { "PUT", "/v1/vips/*", api_vip_put, RIGHT_OPERATE, 1u << 20 } },
	{ UPD, { "DELETE", "/v1/vips/*", api_vip_delete, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/config", api_config_get, RIGHT_READ } },
	{ UPD, { "PUT", "/v1/config", api_config_put, RIGHT_OPERATE, DUET_HTTP_BODY_MAX } },
	{ UPD, { "POST", "/v1/config/diff", api_config_diff, RIGHT_READ, DUET_HTTP_BODY_MAX } },
	{ UPD, { "GET", "/v1/assignment", api_assignment_get, RIGHT_READ } },
	{ UPD, { "POST", "/v1/assign", api_assign_post, RIGHT_OPERATE, 1u << 20 } },
	{ UPD, { "POST", "/v1/what-if", api_what_if_post, RIGHT_READ, 8u << 20 } },
	{ UPD, { "POST", "/v1/vips/*/probe", api_vip_probe, RIGHT_OPERATE } },
	{ UPD, { "POST", "/v1/moves", api_moves_post, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/moves", api_moves_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/moves/*", api_move_get, RIGHT_READ } },
	{ UPD, { "DELETE", "/v1/moves/*", api_move_abort, RIGHT_OPERATE } },
	{ UPD, { "DELETE", "/v1/waves/*", api_wave_abort, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/muxes", api_muxes_get, RIGHT_READ } },
	{ UPD, { "DELETE", "/v1/muxes/*/fence", api_mux_unfence, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/hosts", api_hosts_get, RIGHT_READ } },
	{ UPD, { "DELETE", "/v1/hosts/*/fence", api_host_unfence, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/links", api_links_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/fabric", api_fabric_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/events", api_events_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/audit", api_audit_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/status", api_status_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/trace", api_trace_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/snat", api_snat_get, RIGHT_READ } },
	{ UPD, { "GET", "/v1/control", api_control_get, RIGHT_READ } },
	{ UPD, { "PUT", "/v1/control", api_control_put, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/drains", api_drains_get, RIGHT_READ } },
	{ UPD, { "PUT", "/v1/drains/*/*", api_drain_put, RIGHT_OPERATE } },
	{ UPD, { "DELETE", "/v1/drains/*/*", api_drain_delete, RIGHT_OPERATE } },
	{ UPD, { "GET", "/v1/tokens", api_tokens_get, RIGHT_ADMIN } },
	{ UPD, { "PUT", "/v1/tokens/*", api_token_put, RIGHT_ADMIN } },
	{ UPD, { "DELETE", "/v1/tokens/*", api_token_delete, RIGHT_ADMIN } },
	{ UPD, { "GET", "/v1/key", api_key_get, RIGHT_READ } },
	{ UPD, { "POST", "/v1/key/rotate", api_key_rotate, RIGHT_ADMIN } },
	{ UPD, { "DELETE", "/v1/key/rotate", api_key_abort, RIGHT_ADMIN } },
	{ UPD, { "GET", "/v1/export", api_export_get, RIGHT_ADMIN } },
	{ UPD, { "POST", "/v1/backup", api_backup_post, RIGHT_ADMIN } },
	{ UPD, { "GET", "/", api_web_get, RIGHT_ANY } },
	{ UPD, { "GET", "/web/*", api_web_get, RIGHT_ANY } },
	{ ROLE_ALL, { "GET", "/healthz", api_healthz_get, RIGHT_ANY } },
	{ ROLE_ALL, { "GET", "/metrics", api_metrics_get, RIGHT_METRICS } },
	{}
};
