// SPDX-License-Identifier: GPL-2.0
/*
 * The keys of the deployment's hash, and the rotation that puts a new one in
 * place of the old one. A deployment has two slots for keys, each VIP chooses by
 * one of them:
 *
 *   spreading   a new key in the free slot goes to all muxes and hosts; over when
 *               each confirmed it, for a VIP's muxes and hosts must choose alike
 *   changing    VIPs change to it, key-moves at a time, each by a dedicated move
 *               through the SMuxes, which keep connections on their DIPs (step.c)
 *   removing    no VIP chooses by the old key: it is erased here, then on all muxes
 *               and hosts; over when none has it
 *
 * Each phase is in the store before it begins, so that the next incarnation
 * continues it. Who doesn't confirm holds a phase up, and is named. An abort is the
 * same way back: the slot that VIPs change to is the old one again.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

#define STEP_MS	  100	/* between two looks at who confirmed */
#define SCAN_MAX  256	/* VIPs that are looked at in one step */

/* in the store's meta */
#define META_SLOT  "key"
#define META_PHASE "key-phase"
#define META_BACK  "key-back"
#define META_BEGUN "key-begun-ms"
#define META_WAVE  "key-wave"

static const char *const names[] = {
	[ROTATION_NONE] = "settled",
	[ROTATION_SPREADING] = "spreading",
	[ROTATION_CHANGING] = "changing",
	[ROTATION_REMOVING] = "removing",
};

const char *rotation_phase_name(enum rotation_phase phase)
{
	return names[phase];
}

int keys_load(struct updater *u, struct err *e)
{
	const char *file = u->ctl->conf.key_file;
	char was[KEY_FINGERPRINT], now[KEY_FINGERPRINT];
	struct secret wanted = {};
	int64_t number = 0;
	int ret = file ? key_read(file, true, &wanted, e) : 0;

	if (ret)
		return ret;
	if (store_keys(u->store, u->keys))
		return err_set(e, -EIO, "store %s: the key can't be read", u->ctl->conf.store);
	if (!store_get(u->store, META_SLOT, &number))
		u->key = number % DUET_KEYS;
	if (!key_is_none(&u->keys[u->key])) {
		if (file && !key_equal(&wanted, &u->keys[u->key]))
			log_warn("key file %s: its key (fingerprint %s) is not used, the deployment has %s: another would move every connection",
				 file, key_fingerprint(&wanted, now), key_fingerprint(&u->keys[u->key], was));
		return 0;
	}
	if (!file && !store_get(u->store, STORE_COPY, &number) && number)
		return err_set(e, -EINVAL, "store %s was imported without the deployment's key: set key-file to a file that holds it (on a mux: duet dev show DEV %s)",
			       u->ctl->conf.store, key_names[u->key]);
	if (!store_get(u->store, "seed", &number))
		log_warn("store %s: an older version's 32-bit seed gives way to a key: every connection's DIP is chosen anew", u->ctl->conf.store);
	ret = file ? 0 : key_make(&wanted);
	if (!ret)
		ret = store_key_set(u->store, u->key, &wanted);
	if (ret)
		return err_set(e, ret, "store %s: the key can't be stored%s%s", u->ctl->conf.store,
			       *store_trouble(u->store) ? ": " : "", store_trouble(u->store));
	u->keys[u->key] = wanted;
	log_notice("the deployment's key %s: fingerprint %s", file ? "is the key file's" : "is new", key_fingerprint(&wanted, now));
	return 0;
}

/* number_load - 0 if the store hasn't got it */
static int number_load(struct updater *u, const char *name, int64_t *value)
{
	int ret = store_get(u->store, name, value);

	if (ret)
		*value = 0;
	return ret == -ENOENT ? 0 : ret;
}

int rotation_load(struct updater *u, struct err *e)
{
	int64_t slot, phase, back, begun, wave;
	unsigned int i;

	if (store_keys(u->store, u->keys) || number_load(u, META_SLOT, &slot) || number_load(u, META_PHASE, &phase) ||
	    number_load(u, META_BACK, &back) || number_load(u, META_BEGUN, &begun) || number_load(u, META_WAVE, &wave))
		return err_set(e, -EIO, "store %s: the key's rotation can't be read", store_name(u->store));
	if (phase < ROTATION_NONE || phase > ROTATION_REMOVING)
		return err_set(e, -EINVAL, "store %s: phase %lld of the key's rotation is none that this version knows", store_name(u->store),
			       (long long)phase);
	u->key = slot % DUET_KEYS;
	u->rotation.phase = phase;
	u->rotation.back = back;
	u->rotation.begun_ms = begun;
	u->rotation.wave = wave;
	u->rotation.entered_ms = mono_ms();
	for (i = 0; i < u->n_vips; i++)
		if (key_is_none(&u->keys[u->vips[i]->key]))
			return err_set(e, -EINVAL, "store %s: VIP %s chooses by key %u, which isn't in the store: it was exported without keys amid a rotation; "
				       "import an export that duet-controller --export wrote", store_name(u->store), u->vips[i]->text, u->vips[i]->key);
	if (phase)
		log_notice("the key's rotation continues: %s", names[phase]);
	return 0;
}

static bool mux_has_keys(const struct mux *m)
{
	static const char *const prints[DUET_KEYS] = { "key-fingerprint", "key1-fingerprint" };
	json_t *device = json_object_get(m->status, "device");
	char print[KEY_FINGERPRINT];
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++)
		if (strcmp(get_str(device, prints[i], "none"), key_fingerprint(&m->u->keys[i], print)))
			return false;
	return true;
}

const char *rotation_mux_waits(const struct mux *m)
{
	switch (mux_state(m)) {
	case MUX_UNKNOWN:
		return "it has not answered yet";
	case MUX_UNREACHABLE:
	case MUX_FENCED:
	case MUX_QUARANTINED:
		return m->why[0] ? m->why : mux_state_name(mux_state(m));
	default:
		return mux_has_keys(m) ? NULL : "it has not confirmed the keys yet";
	}
}

const char *rotation_host_waits(const struct host *h)
{
	/* one without DIPs chooses nothing, and gets the keys with its first VIP */
	if (h->synced || !json_object_size(h->vips))
		return NULL;
	return h->why[0] ? h->why : "it has not taken its state yet";
}

static bool mux_waits(const struct mux *m, char *why, size_t size)
{
	const char *waits = rotation_mux_waits(m);

	if (waits)
		snprintf(why, size, "mux %s must confirm the keys first: %s", m->name, waits);
	return waits;
}

static bool smuxes_wait(const struct updater *u, char *why, size_t size)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		if (u->muxes[i].smux && mux_waits(&u->muxes[i], why, size))
			return true;
	return false;
}

/* own_waits - its HMux and its hosts */
static bool own_waits(const struct updater *u, const struct uvip *v, char *why, size_t size)
{
	struct mux *m = strcmp(v->mux, SMUX) ? mux_find((struct updater *)u, v->mux) : NULL;
	json_t *rule, *dip;
	size_t r, i;

	if (m && mux_waits(m, why, size))
		return true;
	json_array_foreach(json_object_get(v->def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), i, dip) {
			struct host *h = host_at((struct updater *)u, get_str(dip, "address", ""));
			const char *waits = h ? rotation_host_waits(h) : NULL;

			if (!waits)
				continue;
			snprintf(why, size, "host %s must confirm the keys first: %s", h->name, waits);
			return true;
		}
	return false;
}

bool rotation_vip_waits(const struct updater *u, const struct uvip *v, char *why, size_t size)
{
	return smuxes_wait(u, why, size) || own_waits(u, v, why, size);
}

static bool all_confirmed(const struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		if (rotation_mux_waits(&u->muxes[i]))
			return false;
	for (i = 0; i < u->n_hosts; i++)
		if (rotation_host_waits(&u->hosts[i]))
			return false;
	return true;
}

/* keys_push - the keys have changed: all muxes and hosts get them */
static void keys_push(struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		mux_full(&u->muxes[i]);
	for (i = 0; i < u->n_hosts; i++)
		host_touch(&u->hosts[i]);
}

static void key_put(struct updater *u, unsigned int slot, const struct secret *key)
{
	u->keys[slot] = *key;
	store_key_set(u->store, slot, key);
	keys_push(u);
}

static void enter(struct updater *u, enum rotation_phase phase)
{
	u->rotation.phase = phase;
	u->rotation.entered_ms = mono_ms();
	store_set(u->store, META_PHASE, phase);
}

/* changing - VIPs under way to the other key; *held: those of them whose switch is away, which keep no other VIP waiting */
static unsigned int changing(struct updater *u, unsigned int *held)
{
	unsigned int i, n = 0;

	*held = 0;
	for (i = 0; i < u->n_vips; i++) {
		const struct move *mv = u->vips[i]->move;
		const struct mux *m;

		if (!mv || mv->kind != MOVE_REKEY)
			continue;
		m = strcmp(mv->from, SMUX) ? mux_find(u, mv->from) : NULL;
		*held += m && mux_lost(m);
		n++;
	}
	return n;
}

static unsigned int left(const struct updater *u)
{
	unsigned int i, n = 0;

	for (i = 0; i < u->n_vips; i++)
		n += u->vips[i]->key != u->key;
	return n;
}

/* change_some - begin moves of VIPs that can change now: others don't wait for one whose switch is away */
static void change_some(struct updater *u, unsigned int n)
{
	unsigned int i, scanned;
	char why[512];

	if (u->control.stop || n >= u->control.key_moves || smuxes_wait(u, why, sizeof(why)))
		return;
	for (i = scanned = 0; i < u->n_vips && scanned < SCAN_MAX && n < u->control.key_moves; i++) {
		struct uvip *v = u->vips[(u->rotation.next + i) % u->n_vips];

		if (v->key == u->key || v->move)
			continue;
		scanned++;
		if (own_waits(u, v, why, sizeof(why)))
			continue;
		if (move_new(u, v, MOVE_REKEY, v->mux, NULL, u->rotation.wave))
			n++;
	}
	u->rotation.next = u->n_vips ? (u->rotation.next + i) % u->n_vips : 0;
	moves_run(u);
}

static void remove_other(struct updater *u)
{
	unsigned int other = !u->key;
	char print[KEY_FINGERPRINT];

	enter(u, ROTATION_REMOVING);
	store_event(u->store, "key-removing", "key", "no VIP chooses by key %u (fingerprint %s): it is removed from all muxes and hosts", other,
		    key_fingerprint(&u->keys[other], print));
	key_put(u, other, &(struct secret){});
}

static void step(struct updater *u)
{
	char print[KEY_FINGERPRINT];
	unsigned int n, held;

	switch (u->rotation.phase) {
	case ROTATION_SPREADING:
		if (!all_confirmed(u))
			return;
		u->key = !u->key;
		store_set(u->store, META_SLOT, u->key);
		enter(u, ROTATION_CHANGING);
		store_event(u->store, "key-spread", "key", "all muxes and hosts have both keys: %u VIPs change to key %u", left(u), u->key);
		return;
	case ROTATION_CHANGING:
		n = changing(u, &held);
		if (n || left(u))
			change_some(u, n - held);
		else
			remove_other(u);
		return;
	case ROTATION_REMOVING:
		if (!all_confirmed(u))
			return;
		enter(u, ROTATION_NONE);
		store_event(u->store, u->rotation.back ? "key-rotation-aborted" : "key-rotated", "key", "the deployment's key is key %u, fingerprint %s, %s; "
			    "no mux or host has another", u->key, key_fingerprint(&u->keys[u->key], print), u->rotation.back ? "as before" : "since now");
		return;
	default:
		return;
	}
}

static int step_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;

	if (mono_ms() >= u->stalled_ms) {
		updater_begin(u);
		step(u);
		updater_commit(u);
	}
	rotation_start(u);
	return 0;
}

void rotation_start(struct updater *u)
{
	if (u->rotation.phase)
		once(u->ctl->loop, &u->rotation.timer, STEP_MS, step_again, u);
}

void rotation_stop(struct updater *u)
{
	sd_event_source_disable_unref(u->rotation.timer);
}

int rotation_begin(struct updater *u, const char *by, struct err *e)
{
	char was[KEY_FINGERPRINT], now[KEY_FINGERPRINT];
	unsigned int slot = !u->key;
	struct secret key;
	int ret;

	if (u->rotation.phase)
		return err_set(e, -EBUSY, "a rotation is under way, %s: duetctl key show says what it waits for, duetctl key rotate --abort turns it back",
			       names[u->rotation.phase]);
	if (!u->model)
		return err_set(e, -EAGAIN, "the topology is not known yet, nor who must have the key");
	if (!u->configured)
		return err_set(e, -EBUSY, "there has been no configuration yet, so agents aren't pushed anything: apply one first");
	if (u->behind && !fence_obeyed(u))
		return err_set(e, -EBUSY, "the store may be behind what agents obey, and they may have other keys: wait until duetctl status shows it isn't");
	ret = key_make(&key);
	if (ret)
		return err_set(e, ret, "no random numbers for a key: %s", strerror(-ret));
	u->rotation.back = false;
	u->rotation.begun_ms = wall_ms();
	u->rotation.wave = store_wave(u->store);
	store_set(u->store, META_BACK, 0);
	store_set(u->store, META_BEGUN, u->rotation.begun_ms);
	store_set(u->store, META_WAVE, u->rotation.wave);
	enter(u, ROTATION_SPREADING);
	store_event(u->store, "key-rotation", "key", "by %s: key %u (fingerprint %s) will take the place of key %u (%s)", by, slot,
		    key_fingerprint(&key, now), u->key, key_fingerprint(&u->keys[u->key], was));
	key_put(u, slot, &key);
	rotation_start(u);
	return 0;
}

int rotation_abort(struct updater *u, const char *by, struct err *e)
{
	char print[KEY_FINGERPRINT];

	if (!u->rotation.phase)
		return err_set(e, -ENOENT, "no rotation of the key is under way");
	if (u->rotation.back)
		return err_set(e, -EALREADY, "the rotation is on its way back already: duetctl key show");
	if (u->rotation.phase == ROTATION_REMOVING)
		return err_set(e, -EBUSY, "all VIPs choose by the new key, and the old one is erased: there is no way back; rotate again for another key");
	u->rotation.back = true;
	store_set(u->store, META_BACK, 1);
	store_event(u->store, "key-back", "key", "by %s: the rotation is turned back while %s", by, names[u->rotation.phase]);
	if (u->rotation.phase == ROTATION_SPREADING) {
		remove_other(u);
		return 0;
	}
	u->key = !u->key;
	store_set(u->store, META_SLOT, u->key);
	u->rotation.entered_ms = mono_ms();
	log_notice("VIPs go back to key %u, fingerprint %s", u->key, key_fingerprint(&u->keys[u->key], print));
	return 0;
}
