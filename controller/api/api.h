/* SPDX-License-Identifier: GPL-2.0 */
/* The public REST interface (openapi.yaml): what duetctl and people use. */
#ifndef DUET_CONTROLLER_API_H
#define DUET_CONTROLLER_API_H

#include "../updater/priv.h"

/* vip_check - a VIP as the operator wrote it: 0 and a copy in normal form in
 * *def (new reference), or -errno and a sentence that says what is wrong with what
 */
int vip_check(const struct updater *u, json_t *vip, json_t **def, struct err *e);

/* checks.c: numbers out of bounds; absent is good */
int api_number(json_t *object, const char *key, json_int_t low, json_int_t high, const char *where, struct err *e);
/* snat.c: "snat" of a definition, or NULL */
int snat_check(json_t *snat, json_t *def, const struct vip *vip, const char *where, struct err *e);
/* deliver.c: "delivery" of a definition, put in normal form; absent is good */
int delivery_check(const struct updater *u, json_t *def, const struct vip *vip, const char *where, struct err *e);
struct metrics;
void snat_metrics(const struct updater *u, struct metrics *m);

/* page.c: ?limit= and ?after= of lists; what a list has no room for begins after "next" */
struct page {
	unsigned int limit;
	const char *after;	/* as given, or NULL */
	uint64_t after_id;	/* the same as a number; 0 */
};
#define PAGE_MAX 1000
/* api_page - 0, or it has been answered */
int api_page(struct http_request *req, struct page *page, unsigned int fallback);
/* If-Match against a generation: 0, or it has been answered */
int api_match(struct http_request *req, uint64_t generation);
void api_etag(struct http_request *req, uint64_t generation);
/* api_audit - inside the transaction of a change */
void api_audit(struct updater *u, struct http_request *req, const char *subject);
/* api_not_kept - the answer when the store could not keep a change */
void api_not_kept(struct updater *u, struct http_request *req);
struct move *api_move_running(struct updater *u, uint64_t id);
const char *api_rack_of(const struct updater *u, const char *smux);

void key_metrics(const struct updater *u, struct metrics *m);

/* whatif.c: a plan for what might come to pass */
struct what_if {
	json_t *before;		/* the engine's, of things as they are */
	json_t *vips, *current;	/* what the plan was made from */
};
/* is_without - is the mux among those that are supposed to be gone: names, or NULL */
bool is_without(const char *name, void *without);
/* what_if_check - the request in normal form (new reference), or -EINVAL, -ENOENT and a sentence */
int what_if_check(struct updater *u, json_t *body, json_t **normal, struct err *e);
/* what_if_tell - adds to a plan what it changes */
void what_if_tell(struct updater *u, const struct what_if *w, json_t *without, json_t *plan);

/* way.c: the switches a flow may pass from each place where it may enter (names) to the
 * nearest of `to`: [{"from": [switch], "hops": [[switch], ...]}], grouped by what follows
 */
json_t *way_of(struct updater *u, json_t *from, json_t *to);

/* trace.c: muxes_of - who takes packets of the VIP now: [{"name", "mode", ...}] */
json_t *muxes_of(struct updater *u, const struct uvip *v);
/* racks_of - where the muxes of such a list stand, as names: a switch is its own place */
json_t *racks_of(struct updater *u, json_t *muxes);
/* enters - where packets from an address (NULL: from outside) come into the fabric; *server: whose it is, or NULL */
json_t *enters(struct updater *u, const struct addr *src, json_t **server);
/* tell_server - of the topology and, if it has an agent, what is known of that; either may be NULL */
void tell_server(json_t *o, json_t *server, const struct host *h);

/* assign_as_is - a plan that leaves everything where it is: how full things are. done() is called once,
 * later, with the plan (borrowed) or NULL; or -ENOMEM
 */
int assign_as_is(struct controller *ctl, void (*done)(json_t *plan, void *ctx), void *ctx);

/* config.c */
/* config_check - a whole configuration: 0 and its VIPs in normal form (new reference;
 * their addresses as members of seen), or -errno and a sentence
 */
int config_check(struct updater *u, json_t *body, json_t **list, json_t *seen, struct err *e);
json_t *config_settings(const struct updater *u);	/* those that are configuration; new reference */

/* handlers; ctx is the controller */
#define API_HANDLER(name) void name(struct http_request *req, json_t *body, void *ctx)

/* config.c */
API_HANDLER(api_config_get);
API_HANDLER(api_config_put);
API_HANDLER(api_config_diff);
API_HANDLER(api_vip_put);
API_HANDLER(api_vip_delete);
/* assign.c, move.c */
API_HANDLER(api_assign_post);		/* [?dry_run=1] */
API_HANDLER(api_what_if_post);
API_HANDLER(api_moves_post);
API_HANDLER(api_moves_get);
API_HANDLER(api_move_get);
/* views.c */
API_HANDLER(api_vips_get);
API_HANDLER(api_vip_get);
API_HANDLER(api_assignment_get);
API_HANDLER(api_vip_way_get);		/* place.c */
API_HANDLER(api_fabric_get);		/* fabric.c */
API_HANDLER(api_web_get);		/* web.c */
API_HANDLER(api_muxes_get);
API_HANDLER(api_hosts_get);
API_HANDLER(api_links_get);
API_HANDLER(api_topology_get);		/* these two where the monitor is another process */
API_HANDLER(api_traffic_get);
/* events.c */
API_HANDLER(api_events_get);
API_HANDLER(api_audit_get);
/* dips.c */
API_HANDLER(api_dips_get);
API_HANDLER(api_dip_release);
API_HANDLER(api_dip_put);
/* api_host_drain - PUT and DELETE of /v1/drains/host/NAME */
void api_host_drain(struct http_request *req, struct controller *ctl, json_t *body, bool on);
/* config.c: the VIP's definition with another weight of a DIP, as a PUT of it */
void api_dip_weight(struct http_request *req, struct updater *u, const struct uvip *v, const char *dip, json_int_t weight);
/* operate.c */
API_HANDLER(api_control_get);
API_HANDLER(api_control_put);
API_HANDLER(api_drains_get);
API_HANDLER(api_drain_put);
API_HANDLER(api_drain_delete);
API_HANDLER(api_move_abort);
API_HANDLER(api_wave_abort);
API_HANDLER(api_tokens_get);
API_HANDLER(api_token_put);
API_HANDLER(api_token_delete);
API_HANDLER(api_mux_unfence);
API_HANDLER(api_host_unfence);
API_HANDLER(api_export_get);
API_HANDLER(api_backup_post);
/* key.c */
API_HANDLER(api_key_get);
API_HANDLER(api_key_rotate);
API_HANDLER(api_key_abort);
/* trace.c, snat.c */
API_HANDLER(api_trace_get);
API_HANDLER(api_vip_probe);
API_HANDLER(api_snat_get);
/* status.c */
API_HANDLER(api_status_get);
API_HANDLER(api_healthz_get);
API_HANDLER(api_metrics_get);

#endif
