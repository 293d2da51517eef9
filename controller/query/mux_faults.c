// SPDX-License-Identifier: GPL-2.0
/* Faults of muxes: those the controller sees, and those they report themselves. */
#include "faults.h"

#include <string.h>

bool fault_settled(const struct uvip *v, const struct mux *m)
{
	return !v->move && mux_clean(m, v) && !m->lost_ms && m->poll_pushes == m->pushes &&
	       (m->changes ? m->told_ms != 0 : !m->poll);
}

static enum fault_code code_of(enum mux_state state)
{
	switch (state) {
	case MUX_UNREACHABLE:
		return FAULT_MUX_UNREACHABLE;
	case MUX_FENCED:
		return FAULT_MUX_FENCED;
	case MUX_QUARANTINED:
		return FAULT_MUX_QUARANTINED;
	default:
		return FAULT_MUX_NOT_SYNCED;
	}
}

/* key_faults - a mux in sync has the keys that it was pushed */
static void key_faults(const struct mux *m, struct fault_list *list)
{
	static const char *const names[DUET_KEYS] = { "key-fingerprint", "key1-fingerprint" };
	char print[KEY_FINGERPRINT];
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++) {
		const char *has = get_str(json_object_get(m->status, "device"), names[i], NULL);

		if (has && mux_state(m) == MUX_IN_SYNC && !key_is_none(&m->u->keys[i]) &&
		    strcmp(has, key_fingerprint(&m->u->keys[i], print)))
			fault_add(list, FAULT_MUX_KEY_WRONG, OBJECT_MUX, m->name,
				  "mux %s: key %u has fingerprint %s, the deployment's has %s: it chooses other DIPs than the other muxes",
				  m->name, i, has, print);
	}
}

static void bird_faults(const struct mux *m, struct fault_list *list)
{
	json_t *bird = json_object_get(m->status, "bird");
	const char *state = get_str(bird, "state", "up"), *detail = get_str(bird, "detail", "");

	if (strcmp(state, "up"))
		fault_add(list, FAULT_MUX_BIRD_DOWN, OBJECT_MUX, m->name, "mux %s: BIRD is %s%s%s", m->name, state,
			  *detail ? ": " : "", detail);
	if (m->smux && !m->drained && m->u->n_vips && mux_state(m) == MUX_IN_SYNC &&
	    json_is_false(json_object_get(json_object_get(m->status, "aggregate"), "exported")))
		fault_add(list, FAULT_AGGREGATE_NOT_EXPORTED, OBJECT_MUX, m->name, "SMux %s does not export the aggregate", m->name);
}

/* identity_faults - the agent at this URL must be the mux that the topology has there */
static void identity_faults(const struct mux *m, struct fault_list *list)
{
	const char *name = get_str(m->status, "name", m->name);
	const char *local = get_str(json_object_get(m->status, "device"), "local", m->local);

	if (strcmp(name, m->name))
		fault_add(list, FAULT_MUX_IDENTITY, OBJECT_MUX, m->name, "mux %s: the agent at %s says that it is %s%s", m->name, m->url, name,
			  mux_find(m->u, name) ? ": are two URLs of the topology exchanged?" : "");
	else if (*m->local && strcmp(local, m->local))
		fault_add(list, FAULT_MUX_IDENTITY, OBJECT_MUX, m->name,
			  "mux %s sends its tunnels from %s, and the topology says %s: hosts drop its packets", m->name, local, m->local);
}

/* route_faults - hosts that answer others, and to which this mux alone has no route */
static void route_faults(const struct mux *m, struct fault_list *list)
{
	json_t *dip;
	size_t i;

	json_array_foreach(m->unrouted, i, dip) {
		struct host *h = host_at(m->u, json_string_value(dip));

		if (h && h->silence.doubted && h->silence.verdict == VERDICT_ALIVE)
			fault_add(list, FAULT_MUX_ROUTE_MISSING, OBJECT_MUX, m->name, "mux %s has no route to host %s (%s), yet %s%s", m->name,
				  h->name, h->address, h->silence.says, m->smux ? "" : ": it announces no VIP of that host");
	}
}

/* reported_faults - what the mux's own status says */
static void reported_faults(const struct mux *m, struct fault_list *list)
{
	const char *trouble = get_str(m->status, "trouble", NULL), *text;
	json_t *vip;

	if (trouble)
		fault_add(list, FAULT_MUX_TROUBLE, OBJECT_MUX, m->name, "mux %s: %s", m->name, trouble);
	key_faults(m, list);
	bird_faults(m, list);
	route_faults(m, list);
	identity_faults(m, list);
	json_object_foreach(m->smux ? NULL : m->exported, text, vip) {
		struct uvip *v = vip_find(m->u, text);

		if (v && fault_settled(v, m) && desired_hold(m, v) != HOLD_ANNOUNCED)
			fault_add(list, FAULT_VIP_EXPORTED_WRONGLY, OBJECT_VIP, v->text, "VIP %s: %s exports it and should not",
				  v->text, m->name);
	}
}

void fault_muxes(const struct updater *u, struct fault_list *list)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];
		enum mux_state state = mux_state(m);
		const char *vip;
		json_t *why;

		if (state == MUX_UNREACHABLE || state >= MUX_FENCED || m->why[0])
			fault_add(list, code_of(state), OBJECT_MUX, m->name, "mux %s is %s: %s", m->name, mux_state_name(state), m->why);
		json_object_foreach(m->refused, vip, why)
			fault_add(list, FAULT_MUX_REFUSES_VIP, OBJECT_MUX, m->name, "mux %s refuses VIP %s: %s", m->name, vip,
				  json_string_value(why));
		if (!m->lost_ms && m->status)
			reported_faults(m, list);
	}
}
