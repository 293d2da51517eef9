// SPDX-License-Identifier: GPL-2.0
/*
 * What is wanted, what is there, and the steps between. One function takes
 * every step that can be taken now: state_run(). It is run after each request,
 * when a hold time ends, and when a look at the data plane found it changed.
 *
 * What is there is read from the kernel (VIPs from the data plane, triggers
 * from its routes), never from a file: after a crash the next start knows as
 * much as this one did. Until the first whole state has come, what was found
 * is left alone.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define LOOK_USEC	(5 * 1000 * 1000)	/* between looks, when nothing tells of changes */
#define EVENT_USEC	(50 * 1000)		/* from an event to the look: one for a burst */
#define LET_GO_USEC	(60 * 1000 * 1000)	/* so long after the hold time it waits for BIRD to let go */
#define TURN		1024			/* changes of one turn of the loop; then others are heard */

const char *state_name(enum vip_state state)
{
	static const char *const names[] = {
		[VIP_ABSENT] = "absent", [VIP_PROGRAMMING] = "programming", [VIP_PROGRAMMED] = "programmed",
		[VIP_ANNOUNCED] = "announced", [VIP_DRAINING] = "draining",
		[VIP_WITHDRAWING] = "withdrawing", [VIP_REFUSED] = "refused",
	};

	return names[state];
}

static const char *const announce_names[] = {
	[ANNOUNCE_NO] = "no", [ANNOUNCE_YES] = "yes", [ANNOUNCE_DRAIN] = "drain",
};

const char *announce_name(enum announce announce)
{
	return announce_names[announce];
}

int announce_parse(const char *s, enum announce *announce)
{
	for (int i = 0; i < 3; i++) {
		if (!strcmp(s, announce_names[i])) {
			*announce = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* served - is the VIP in the data plane exactly as wanted */
static bool served(const struct mux_vip *v)
{
	return v->same;
}

/* set_have - takes vip */
static void set_have(struct agent *a, struct mux_vip *v, struct vip *vip)
{
	a->changes++;
	vip_free(v->have);
	v->have = vip;
	v->routes = ROUTES_UNKNOWN;
	a->vips_stale = true;
	v->same = v->want && v->have && vip_compare(v->want, v->have) == VIP_SAME;
}

enum vip_state state_of(const struct agent *a, const struct mux_vip *v)
{
	if (v->want && v->reason[0] && !served(v))
		return VIP_REFUSED;
	if (v->want && !served(v))
		return VIP_PROGRAMMING;
	if (!v->have)
		return VIP_ABSENT;
	if (v->trigger == ANNOUNCE_YES)
		return VIP_ANNOUNCED;
	if (v->trigger == ANNOUNCE_DRAIN)
		return VIP_DRAINING;
	return !v->want && !v->keep ? VIP_WITHDRAWING : VIP_PROGRAMMED;
}

bool state_whole(const struct agent *a)
{
	unsigned int i;

	if (a->trouble[0])
		return false;
	for (i = 0; i < a->n_vips; i++) {
		const struct mux_vip *v = a->vips[i];

		/* what no mux can serve must not take the others' backstop away */
		if (v->want && !v->have && !v->invalid)
			return false;
	}
	return true;
}

const char *state_trouble(const struct agent *a)
{
	return a->trouble[0] ? a->trouble : NULL;
}

/* place - index of addr, or where it would be */
static unsigned int place(const struct agent *a, const struct addr *addr, bool *there)
{
	unsigned int low = 0, high = a->n_vips;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (addr_cmp(&a->vips[mid]->addr, addr) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*there = low < a->n_vips && !addr_cmp(&a->vips[low]->addr, addr);
	return low;
}

struct mux_vip *state_find(struct agent *a, const struct addr *addr)
{
	bool there;
	unsigned int i = place(a, addr, &there);

	return there ? a->vips[i] : NULL;
}

struct mux_vip *state_get(struct agent *a, const struct addr *addr)
{
	struct mux_vip **more, *v;
	bool there;
	unsigned int i = place(a, addr, &there);

	if (there)
		return a->vips[i];
	v = calloc(1, sizeof(*v));
	more = realloc(a->vips, (a->n_vips + 1) * sizeof(struct mux_vip *));
	if (more)
		a->vips = more;
	if (!v || !more) {
		free(v);
		return NULL;
	}
	v->addr = *addr;
	memmove(&more[i + 1], &more[i], (a->n_vips - i) * sizeof(struct mux_vip *));
	more[i] = v;
	a->n_vips++;
	return v;
}

static void vip_drop(struct mux_vip *v)
{
	vip_free(v->want);
	vip_free(v->have);
	free(v);
}

/* forget - entries that are neither wanted nor there */
static void forget(struct agent *a)
{
	unsigned int i, n = 0;

	for (i = 0; i < a->n_vips; i++) {
		struct mux_vip *v = a->vips[i];

		if (v->want || v->have || v->trigger != ANNOUNCE_NO)
			a->vips[n++] = v;
		else
			vip_drop(v);
	}
	a->n_vips = n;
}

void state_want(struct mux_vip *v, struct vip *vip, enum announce announce)
{
	if (!vip && !v->want && v->drift) {
		v->keep = true;		/* somebody else's, and not ours to repair */
		return;
	}
	if (!vip || !v->want || vip_compare(vip, v->want) != VIP_SAME) {
		v->reason[0] = '\0';
		v->invalid = false;
		v->drift = false;
	}
	vip_free(v->want);
	v->want = vip;
	v->same = v->want && v->have && vip_compare(v->want, v->have) == VIP_SAME;
	v->announce = vip ? announce : ANNOUNCE_NO;
	v->keep = false;
}

static bool wants_no_trigger(const struct agent *a, const struct mux_vip *v)
{
	if (!v->have)
		return true;	/* never announce what isn't served */
	return !v->keep && !v->drift && (!v->want || v->announce == ANNOUNCE_NO);
}

static int withdraw(struct agent *a, struct changes *c, struct err *e)
{
	unsigned int i;
	int ret;

	for (i = 0; i < a->n_vips; i++) {
		if (a->vips[i]->trigger == ANNOUNCE_NO || !wants_no_trigger(a, a->vips[i]))
			continue;
		ret = announce_set(a, a->vips[i], ANNOUNCE_NO, c, e);
		if (ret)
			return ret;
	}
	return 0;
}

static int announce(struct agent *a, struct changes *c, struct err *e)
{
	unsigned int i;
	int ret;

	for (i = 0; i < a->n_vips; i++) {
		struct mux_vip *v = a->vips[i];
		enum announce to = a->drained && v->announce == ANNOUNCE_YES ? ANNOUNCE_DRAIN : v->announce;

		/* an older table than the wanted one serves too, if it was announced */
		if (v->announce == ANNOUNCE_NO || !v->have || (!served(v) && v->trigger == ANNOUNCE_NO) || v->drift)
			continue;
		ret = announce_set(a, v, reach_vip(a, v) ? to : ANNOUNCE_NO, c, e);
		if (ret)
			return ret;
	}
	return 0;
}

static void program_done(struct agent *a, struct duet_op *op, struct changes *c)
{
	bool set = op->op == DUET_OP_VIP_SET;
	struct mux_vip *v = state_find(a, set ? &op->vip->addr : &op->addr);
	char text[ADDR_STRLEN];
	struct vip *copy;

	addr_str(&v->addr, text);
	if (!set) {
		if (op->result && op->result != -ENOENT) {
			log_err("VIP %s is not removed: %s", text, op->why);
			return;
		}
		set_have(a, v, NULL);
		a->retry = true;	/* there is room */
		a->seen += !op->result;
		c->removed++;
		a->count.removed++;
		log_info("remove %s", text);
		return;
	}
	if (op->result) {
		if (strcmp(v->reason, op->why))
			log_warn("VIP %s is refused: %s", text, op->why);
		snprintf(v->reason, sizeof(v->reason), "%s", op->why);
		v->invalid = op->result == -EINVAL || op->result == -E2BIG || op->result == -EAFNOSUPPORT ||
			     op->result == -EADDRINUSE;
		a->count.refused++;
		return;
	}
	copy = vip_dup(op->vip);
	if (!copy)
		return;		/* seen as not served: set again */
	if (!v->have)
		c->added++;
	else if (vip_compare(v->have, copy) == VIP_STATES)
		c->dips++;
	else
		c->replaced++;
	set_have(a, v, copy);
	a->seen++;
	v->reason[0] = '\0';
	v->invalid = false;
	a->count.programmed++;
	log_debug("programmed %s", text);
}

static int on_hold(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;
	struct changes c = {};
	struct err e;

	state_run(a, &c, &e);
	return 0;
}

static int arm(struct agent *a, sd_event_source **timer, uint64_t delay, sd_event_time_handler_t handler)
{
	if (!*timer)
		return sd_event_add_time_relative(a->loop, timer, CLOCK_MONOTONIC, delay, 1000, handler, a);
	sd_event_source_set_time_relative(*timer, delay);
	return sd_event_source_set_enabled(*timer, SD_EVENT_ONESHOT);
}

static bool wants_set(const struct mux_vip *v)
{
	return v->want && !served(v) && !v->drift;
}

/* refused - an address that is taken: said here, whatever the data plane */
static bool refused(struct agent *a, struct mux_vip *v)
{
	char why[sizeof(v->reason)];

	if (!guard_refuses(a, v->want, why, sizeof(why)))
		return false;
	if (strcmp(v->reason, why)) {
		log_warn("%s: refused", why);
		a->count.refused++;
	}
	snprintf(v->reason, sizeof(v->reason), "%s", why);
	v->invalid = true;
	return true;
}

/* retry - what was refused is asked for again, a turn's worth at a time, when
 * there may be room now: never in the way of what nothing is known against
 */
static unsigned int retry(struct agent *a, struct duet_op *ops, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < a->n_vips && n < TURN; i++) {
		struct mux_vip *v = a->vips[(a->retry_at + i) % a->n_vips];

		if (v == a->urgent || !wants_set(v) || !v->reason[0] || refused(a, v))
			continue;
		ops[n].op = DUET_OP_VIP_SET;
		ops[n++].vip = v->want;
	}
	a->retry_at = a->n_vips ? (a->retry_at + i) % a->n_vips : 0;
	a->retry = false;
	return n;
}

/* program - removals first, they make room; then what is new or changed, as much
 * as fits into one turn of the loop
 */
static int program(struct agent *a, struct changes *c, struct err *e)
{
	struct duet_op *ops = calloc(TURN, sizeof(*ops));
	uint64_t now, wait = 0, end;
	unsigned int i, n = 0;
	int ret = 0;

	if (!ops)
		return err_set(e, -ENOMEM, "no memory");
	a->left = 0;
	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	for (i = 0; i < a->n_vips; i++) {
		struct mux_vip *v = a->vips[i];

		if (v->want || v->keep || !v->have || v->trigger != ANNOUNCE_NO)
			continue;
		end = v->withdrawn_usec ? v->withdrawn_usec + a->config.hold_ms * 1000ull : 0;
		/* BIRD lost the netlink message and tells of it still: that is found and repaired first */
		if (v->learned && a->bird_state == BIRD_UP && !a->bird_wrong[0] && now >= end && now < end + LET_GO_USEC)
			end = now + EVENT_USEC;
		if (end > now) {
			if (!wait || end - now < wait)
				wait = end - now;
			continue;
		}
		if (n == TURN) {
			a->left++;
			continue;
		}
		ops[n].op = DUET_OP_VIP_DEL;
		ops[n++].addr = v->addr;
	}
	if (wait)
		arm(a, &a->hold_timer, wait, on_hold);
	if (a->urgent && wants_set(a->urgent) && n < TURN && !refused(a, state_find(a, &a->urgent->addr))) {
		ops[n].op = DUET_OP_VIP_SET;
		ops[n++].vip = a->urgent->want;
	}
	for (i = 0; i < a->n_vips; i++) {
		struct mux_vip *v = a->vips[i];

		if (v == a->urgent || !wants_set(v) || v->reason[0] || refused(a, v))
			continue;
		if (n == TURN) {
			a->left++;
			continue;
		}
		ops[n].op = DUET_OP_VIP_SET;
		ops[n++].vip = v->want;
	}
	if (a->retry)
		n = retry(a, ops, n);
	if (n)
		ret = a->backend->ops->apply(a->backend, ops, n, e);
	for (i = 0; !ret && i < n; i++)
		program_done(a, &ops[i], c);
	free(ops);
	return ret;
}

bool state_finish(struct agent *a, struct http_request *req, const struct changes *changes,
		  void (*answer)(struct agent *a, struct http_request *req, const struct changes *c))
{
	struct changes *c;

	if (!a->left) {
		answer(a, req, changes);
		return true;
	}
	c = a->n_waiting < sizeof(a->waiting) / sizeof(a->waiting[0]) ? malloc(sizeof(*c)) : NULL;
	if (!c)
		return false;
	*c = *changes;
	a->waiting[a->n_waiting].req = req;
	a->waiting[a->n_waiting].changes = c;
	a->waiting[a->n_waiting++].answer = answer;
	return true;
}

/* told - who waits hears of the end, or of what keeps it from coming */
static void told(struct agent *a, const struct changes *c, int error, const struct err *e)
{
	unsigned int i, n = a->n_waiting;

	for (i = 0; i < n; i++) {
		struct changes *sum = a->waiting[i].changes;

		sum->added += c->added;
		sum->replaced += c->replaced;
		sum->removed += c->removed;
		sum->announced += c->announced;
		sum->withdrawn += c->withdrawn;
		sum->dips += c->dips;
	}
	if (!error && a->left)
		return;
	a->n_waiting = 0;
	for (i = 0; i < n; i++) {
		if (error)
			http_problem(a->waiting[i].req, 503, NULL, "%s", e->text);
		else
			a->waiting[i].answer(a, a->waiting[i].req, a->waiting[i].changes);
		free(a->waiting[i].changes);
	}
}

/* key_used - does a VIP of the data plane choose by this key? */
static bool key_used(const struct agent *a, unsigned int key)
{
	unsigned int i;

	for (i = 0; i < a->n_vips; i++)
		if (a->vips[i]->have && a->vips[i]->have->policy.key == key)
			return true;
	return false;
}

/* vips_rebuild - withdraw and remove all, to be programmed anew */
static int vips_rebuild(struct agent *a, struct changes *c, struct err *e)
{
	unsigned int i;
	int ret;

	for (i = 0; i < a->n_vips; i++) {
		ret = announce_set(a, a->vips[i], ANNOUNCE_NO, c, e);
		if (ret)
			return ret;
		set_have(a, a->vips[i], NULL);
	}
	return a->backend->ops->flush(a->backend, e);
}

/* keys_update - a new key goes where no VIP uses the old one. A key that is wanted no
 * more stays until no VIP uses it. Another key in place of one in use is another
 * deployment: nothing of the old one stays.
 */
static int keys_update(struct agent *a, struct changes *c, struct err *e)
{
	char was[KEY_FINGERPRINT], now[KEY_FINGERPRINT];
	struct secret keys[DUET_KEYS];
	struct duet_dev dev;
	unsigned int i;
	int ret;

	if (!a->synced)
		return 0;
	ret = a->backend->ops->device(a->backend, &dev, e);
	if (ret)
		return ret;
	duet_dev_release(&dev);
	memcpy(keys, a->keys, sizeof(keys));
	a->keys_stale = false;
	for (i = 0; i < DUET_KEYS; i++) {
		if (key_equal(&keys[i], &dev.keys[i]) || !key_used(a, i))
			continue;
		if (key_is_none(&keys[i])) {
			keys[i] = dev.keys[i];
			a->keys_stale = true;
			continue;
		}
		log_warn("key %u of the hash changes from %s to %s (fingerprints) under VIPs: every VIP is withdrawn and rebuilt", i,
			 key_fingerprint(&dev.keys[i], was), key_fingerprint(&keys[i], now));
		ret = vips_rebuild(a, c, e);
		if (ret)
			return ret;
	}
	if (!memcmp(keys, dev.keys, sizeof(keys)))
		return 0;
	return a->backend->ops->keys(a->backend, keys, e);
}

/* in_trouble - a mux that can't be kept as it should be is no backstop for others */
static void in_trouble(struct agent *a, const struct err *e)
{
	struct err why;

	snprintf(a->trouble, sizeof(a->trouble), "%s", e->text);
	if (announce_aggregates(a, &why))
		log_err("%s", why.text);
}

int state_run(struct agent *a, struct changes *c, struct err *e)
{
	int ret = a->begun ? 0 : err_set(e, -ENODEV, "%s", a->trouble[0] ? a->trouble : "the data plane isn't there yet");

	a->trouble[0] = '\0';
	if (!ret)
		ret = keys_update(a, c, e);
	if (!ret)
		ret = withdraw(a, c, e);
	if (!ret)
		ret = program(a, c, e);
	if (!ret && a->keys_stale)
		ret = keys_update(a, c, e);
	if (!ret)
		ret = reach_update(a, e);
	if (!ret)
		ret = announce(a, c, e);
	if (!ret)
		ret = announce_aggregates(a, e);
	a->urgent = NULL;
	told(a, c, ret, e);
	if (!ret && a->left) {
		a->total = a->total > a->left ? a->total : a->left;
		arm(a, &a->hold_timer, 0, on_hold);
	} else {
		a->total = 0;
	}
	if (ret) {
		log_err("%s", e->text);
		in_trouble(a, e);
	}
	forget(a);
	return ret;
}

/* adopt - what the data plane holds becomes `have`; drift is what nobody here did */
static int adopt(struct agent *a, bool starting, struct err *e)
{
	struct vip **list;
	unsigned int n, i, k = 0, kept = 0;
	char text[ADDR_STRLEN];
	int ret = a->backend->ops->dump(a->backend, &list, &n, e);

	if (ret)
		return ret;
	/* both are sorted; state_get() keeps the order */
	for (i = 0; i < n; i++) {
		struct mux_vip *v = state_get(a, &list[i]->addr);

		if (!v) {
			vip_free(list[i]);
			continue;
		}
		if (!starting && (!v->have || vip_compare(v->have, list[i]) != VIP_SAME)) {
			log_warn("VIP %s was %s by somebody else", addr_str(&v->addr, text), v->have ? "changed" : "added");
			a->count.drifts++;
			v->drift = a->config.drift_report;
		}
		if (!v->want && !a->synced && (starting || !v->have))
			v->keep = true;
		list[kept++] = list[i];
		set_have(a, v, list[i]);
		if (v->same)
			v->drift = false;
	}
	n = kept;
	for (i = 0; i < a->n_vips; i++) {
		struct mux_vip *v = a->vips[i];

		while (k < n && addr_cmp(&list[k]->addr, &v->addr) < 0)
			k++;
		if (!v->have || (k < n && v->have == list[k]))
			continue;
		log_warn("VIP %s was removed by somebody else", addr_str(&v->addr, text));
		a->count.drifts++;
		v->drift = a->config.drift_report;
		set_have(a, v, NULL);
	}
	free(list);
	return 0;
}

/* lost - the mux is gone and can't be made again, its module's perhaps: nothing is served or announced */
static void lost(struct agent *a)
{
	unsigned int i;

	for (i = 0; i < a->n_vips; i++) {
		if (a->vips[i]->have)
			set_have(a, a->vips[i], NULL);
		a->vips[i]->trigger = ANNOUNCE_NO;
		a->vips[i]->drift = false;	/* a mux that is gone is no matter of policy */
	}
	for (i = 0; i < a->n_aggregates; i++)
		a->aggregates[i].trigger = false;
}

static int on_event(sd_event_source *s, int fd, uint32_t revents, void *ctx);

/* begin - the first time that the data plane is there: what it holds is taken over */
static int begin(struct agent *a, struct err *e)
{
	struct duet_dev dev;
	unsigned int i;
	int ret, fd;

	if (a->backend->ops->keepalive) {
		ret = a->backend->ops->keepalive(a->backend, a->config.keepalive_ms, e);
		if (ret)
			return ret;
	}
	/* before the VIPs: what changes in between is seen at the first look */
	ret = a->backend->ops->device(a->backend, &dev, e);
	if (ret)
		return ret;
	duet_dev_release(&dev);
	a->seen = dev.generation;
	if (!a->synced)	/* single VIPs may come before the first whole state */
		memcpy(a->keys, dev.keys, sizeof(a->keys));
	ret = adopt(a, true, e);
	if (ret)
		return ret;
	ret = announce_read(a, true, e);
	if (ret)
		return ret;
	/* what was withdrawn just before the end may still be on the way to us */
	for (i = 0; i < a->n_vips; i++)
		if (a->vips[i]->have && a->vips[i]->trigger == ANNOUNCE_NO)
			sd_event_now(a->loop, CLOCK_MONOTONIC, &a->vips[i]->withdrawn_usec);
	fd = a->events ? -1 : a->backend->ops->events_fd(a->backend, e);
	if (fd >= 0) {
		ret = sd_event_add_io(a->loop, &a->events, fd, EPOLLIN, on_event, a);
		if (ret < 0)
			return err_set(e, ret, "no event source: %s", strerror(-ret));
	}
	a->begun = true;
	return 0;
}

/* look - is all still as it was left; repairs what isn't */
static int look(struct agent *a, struct err *e)
{
	struct changes c = {};
	struct duet_dev dev;
	bool remade, first = !a->begun;
	int ret = a->backend->ops->ensure(a->backend, a->rt, &remade, e);

	if (!ret && first)
		ret = begin(a, e);
	if (ret == -EOPNOTSUPP)
		lost(a);
	if (ret)
		return ret;
	if (remade && !first) {
		log_warn("%s was gone and is rebuilt", a->config.device);
		lost(a);
	}
	ret = a->backend->ops->device(a->backend, &dev, e);
	if (ret)
		return ret;
	duet_dev_release(&dev);
	if (dev.generation != a->seen || (remade && !first)) {
		ret = adopt(a, false, e);
		if (ret)
			return ret;
		a->seen = dev.generation;
	}
	reach_look(a);
	a->retry = true;
	ret = announce_read(a, false, e);
	/* a trigger whose VIP isn't served goes at once */
	return ret ? ret : state_run(a, &c, e);
}

static int on_look(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;
	struct err e;

	if (look(a, &e)) {
		if (strcmp(a->trouble, e.text))
			log_err("%s", e.text);
		in_trouble(a, &e);
	}
	return arm(a, &a->look_timer, LOOK_USEC, on_look);
}

void state_look_event(struct agent *a)
{
	uint64_t at, now;

	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	if (a->look_timer && sd_event_source_get_time(a->look_timer, &at) >= 0 && at > now + EVENT_USEC)
		arm(a, &a->look_timer, EVENT_USEC, on_look);
}

static int on_event(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct agent *a = ctx;
	bool changed = false;

	a->backend->ops->events(a->backend, &changed);
	if (changed)
		state_look_event(a);
	return 0;
}

void state_look(struct agent *a)
{
	arm(a, &a->look_timer, 0, on_look);
}

/* on_keepalive - the module knows us alive, or takes the mux down; three tries a term */
static int on_keepalive(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct agent *a = ctx;
	uint64_t now;
	struct err e;

	if (a->begun && a->backend->ops->keepalive(a->backend, a->config.keepalive_ms, &e)) {
		if (!a->trouble[0])
			log_err("keepalive: %s", e.text);
		state_look_event(a);
	}
	sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
	/* so late that the mux may be down */
	if (now > usec + a->config.keepalive_ms * 500ull)
		state_look(a);
	return arm(a, &a->keepalive_timer, a->config.keepalive_ms * 1000ull / 3, on_keepalive);
}

int state_start(struct agent *a, struct err *e)
{
	int ret;

	if (look(a, e)) {
		log_err("%s", e->text);
		in_trouble(a, e);
	}
	ret = arm(a, &a->look_timer, LOOK_USEC, on_look);
	if (ret >= 0 && a->backend->ops->keepalive && a->config.keepalive_ms)
		ret = arm(a, &a->keepalive_timer, a->config.keepalive_ms * 1000ull / 3, on_keepalive);
	return ret < 0 ? err_set(e, ret, "no timer: %s", strerror(-ret)) : 0;
}

void state_free(struct agent *a)
{
	sd_event_source_disable_unref(a->hold_timer);
	sd_event_source_disable_unref(a->look_timer);
	sd_event_source_disable_unref(a->events);
	sd_event_source_disable_unref(a->keepalive_timer);
	while (a->n_waiting)
		free(a->waiting[--a->n_waiting].changes);
	while (a->n_vips)
		vip_drop(a->vips[--a->n_vips]);
	free(a->vips);
	a->vips = NULL;
}
