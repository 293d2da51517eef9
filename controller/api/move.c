// SPDX-License-Identifier: GPL-2.0
/* A move by hand. */
#include <stdio.h>
#include <string.h>

#include "api.h"

void api_moves_post(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const char *vip = get_str(body, "vip", NULL), *to = get_str(body, "to", NULL);
	struct mux *m = to ? mux_find(u, to) : NULL;
	struct uvip *v = vip_find(u, vip);
	struct move *mv;
	uint64_t id = 0;

	if (!vip || !to) {
		http_problem(req, 400, NULL,
			     "a move has a \"vip\" and a place \"to\" go: \"%s\" or a switch",
			     SMUX);
		return;
	}
	if (!u->model) {
		http_problem(req, 503, NULL, "the topology is not known yet");
		return;
	}
	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", vip);
		return;
	}
	if (strcmp(to, SMUX) && (!m || m->smux)) {
		http_problem(req, 422, NULL,
			     "there is no switch \"%s\" with a mux agent; \"%s\" is the SMuxes", to,
			     SMUX);
		return;
	}
	if (v->move && v->move->kind == MOVE_DELETE) {
		http_problem(req, 409, NULL, "VIP %s is being deleted", vip);
		return;
	}
	if (m && m->drained) {
		http_problem(req, 409, NULL, "%s is drained: undrain it first", to);
		return;
	}
	if (!v->move && !strcmp(v->mux, to)) {
		http_reply(req, 200,
			   json_pack("{s:n, s:s, s:s}", "id", "state", "done", "note",
				     "it is there already"));
		return;
	}
	if (v->move && !strcmp(v->move->to, to)) {
		http_reply(req, 202,
			   json_pack("{s:I, s:s}", "id", (json_int_t)v->move->id, "state",
				     move_state_name(v->move->state)));
		return;
	}
	updater_begin(u);
	vip_place(u, v, v->mux, -1, "moved by hand");
	mv = move_new(u, v, MOVE_MOVE, to, NULL, store_wave(u->store));
	if (mv) {
		id = mv->id;
		store_event(u->store, "move", v->text, "%llu: %s to %s, by hand",
			    (unsigned long long)id, v->mux, to);
	}
	api_audit(u, req, vip);
	if (updater_commit(u) || !mv) {
		api_not_kept(u, req);
		return;
	}
	moves_run(u);
	http_reply(req, 202, json_pack("{s:I}", "id", (json_int_t)id));
}
