// SPDX-License-Identifier: GPL-2.0
/*
 * Epochs, where agents obey a later one than this controller has. A store that
 * was copied, or made under a clock in the past, is known to be behind: then the
 * epoch is raised above what agents report, in the store first. Otherwise
 * another controller may be alive, and only an operator takes its muxes from
 * it: fence_remove().
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../api/api.h"
#include "../api/gate.h"
#include "fence.h"
#include "log.h"

#define EPOCH_AHEAD	 (1ull << 32)	/* no agent's epoch is so far from ours and from the clock */
#define GENERATION_AHEAD (1ull << 24)	/* and no generation from ours */
#define TIMEOUT_MS	 5000

bool fence_generation(struct updater *u, uint64_t generation)
{
	if (generation > u->generation + GENERATION_AHEAD || generation >= FENCE_MAX)
		return false;
	if (generation > u->generation)
		u->generation = generation;
	return true;
}

/* everything - agents are sent all they should have, with the new epoch */
static void everything(struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		u->muxes[i].fenced = false;
		mux_full(&u->muxes[i]);
	}
	for (i = 0; i < u->n_hosts; i++)
		host_touch(&u->hosts[i]);
	moves_run(u);
}

bool fence_epoch(struct updater *u, const char *agent, uint64_t epoch, char *why, size_t size)
{
	uint64_t now = time(NULL), near = u->epoch > now ? u->epoch : now, was = u->epoch;

	if (epoch <= u->epoch)
		return true;
	if (epoch > near + EPOCH_AHEAD || epoch >= FENCE_MAX - 1) {
		snprintf(why, size, "it obeys epoch %llu, which is no controller's: duetctl mux unfence", (unsigned long long)epoch);
		return false;
	}
	if (!u->behind) {
		snprintf(why, size, "it obeys a controller of epoch %llu, this one has %llu: another controller is alive, or was; "
			 "if it is gone: duetctl mux unfence", (unsigned long long)epoch, (unsigned long long)u->epoch);
		return false;
	}
	updater_begin(u);
	store_epoch_raise(u->store, epoch + 1 - u->epoch);
	store_event(u->store, "epoch-raised", agent, "the store is a copy, or was made under a clock in the past: epoch %llu, for %s obeys %llu",
		    (unsigned long long)epoch + 1, agent, (unsigned long long)epoch);
	if (updater_commit(u)) {
		snprintf(why, size, "it obeys epoch %llu, and a later one can't be stored", (unsigned long long)epoch);
		return false;
	}
	u->epoch = epoch + 1;
	u->raised_from = was;
	log_notice("epoch %llu: %s obeyed %llu", (unsigned long long)u->epoch, agent, (unsigned long long)epoch);
	everything(u);
	return true;
}

bool fence_obeyed(const struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		if (u->muxes[i].obeys != u->epoch)
			return false;
	return true;
}

void fence_look(struct updater *u)
{
	unsigned int i;

	if (!u->behind || !fence_obeyed(u))
		return;
	for (i = 0; i < u->n_hosts; i++)
		if (!u->hosts[i].synced && u->hosts[i].why[0])
			return;
	u->behind = false;
	store_set(u->store, STORE_BEHIND, 0);
}

/* One request to an agent to remove its fence, for an operator who waits. */
struct removal {
	struct updater *u;
	struct http_request *req;
	char name[NAME_SIZE];
	bool host;
};

static void removed(const struct http_result *r, void *ctx)
{
	struct removal *rm = ctx;
	struct updater *u = rm->u;
	struct mux *m = rm->host ? NULL : mux_find(u, rm->name);
	struct host *h = rm->host ? host_find(u, rm->name) : NULL;

	if (r->status / 100 != 2) {
		http_problem(rm->req, r->status == 403 || r->status == 401 ? 409 : 502, NULL, "%s did not remove its fence: %s", rm->name,
			     r->error ? r->error : "no answer");
		goto out;
	}
	updater_begin(u);
	api_audit(u, rm->req, rm->name);
	store_event(u->store, "unfenced", rm->name, "by %s: it obeys epoch %llu from now on", gate_who(rm->req, u->ctl),
		    (unsigned long long)u->epoch);
	if (updater_commit(u)) {
		api_not_kept(u, rm->req);
		goto out;
	}
	if (m) {
		m->fenced = false;
		m->waiting = false;
		m->why[0] = 0;
		mux_full(m);
	}
	if (h) {
		h->waiting = false;
		host_touch(h);
	}
	http_reply(rm->req, 200, json_pack("{s:s, s:I}", "unfenced", rm->name, "epoch", (json_int_t)u->epoch));
out:
	free(rm);
}

void fence_remove(struct updater *u, struct http_request *req, const char *name, const char *url, bool host)
{
	struct removal *rm = calloc(1, sizeof(*rm));
	struct http_call *call = NULL;
	char to[320];

	if (rm) {
		*rm = (struct removal){ .u = u, .req = req, .host = host };
		snprintf(rm->name, sizeof(rm->name), "%s", name);
		snprintf(to, sizeof(to), "%s/v1/fence", url);
		call = http_call(u->ctl->client, "DELETE", to, NULL, TIMEOUT_MS, removed, rm);
		http_call_budget(call, 64u << 10, 1000);
	}
	if (call)
		return;
	free(rm);
	http_problem(req, 500, NULL, "out of memory");
}
