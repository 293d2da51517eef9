// SPDX-License-Identifier: GPL-2.0
/*
 * A host that misses its reports may be dead, or only its agent, or the network between that and this controller.
 * Witnesses decide: dead for two of them, and its DIPs leave all muxes at once; alive for one, and they stay. What would
 * take out too much at a time is more likely this controller's own trouble: then all is kept, and said. The host's next
 * report ends all this.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define TICK_MS		50
#define GRACE_MS	5000	/* after the start, for hosts to send their first report */
#define AGAIN_MS	300	/* until witnesses are asked again after none could be asked */
#define REJUDGE_MS	1000	/* and after a verdict */
#define CONFIRM		2	/* rounds in a row must find a host dead: routes may be changing in the first one */
#define ROUNDS_MAX	8
#define ROUND_HOSTS	30	/* of more hosts at once each gets one target */
#define ROUND_HOSTS_MAX	200
#define REASON		"silent: "	/* begins the reason of a DIP that silence took out; also in the store */

bool silence_of(const char *reason)
{
	return reason && !strncmp(reason, REASON, strlen(REASON));
}

unsigned int silence_probe_ms(const struct updater *u)
{
	unsigned int ms = u->ctl->conf.silent_after_ms / 3;

	return ms < 200 ? 200 : ms > 500 ? 500 : ms;
}

/* judged_now - do witnesses decide on its DIPs */
static bool judged_now(const struct silence *s)
{
	return s->late || s->doubted;
}

bool silence_fault(const struct host *h, enum fault_code *code)
{
	const struct silence *s = &h->silence;

	*code = s->out ? FAULT_HOST_DEAD : s->capped ? FAULT_SILENCE_CAPPED :
		s->verdict == VERDICT_ALIVE ? FAULT_HOST_AGENT_DEAD : FAULT_HOST_SILENT;
	return judged_now(s) && s->fault[0] && (s->out || s->capped || (s->late && (!s->last_ms || h->silent)));
}

bool silence_suspect(const struct silence *s)
{
	return judged_now(s) && s->verdict != VERDICT_ALIVE;
}

json_t *silence_said(json_t *dips, bool late)
{
	json_t *list, *d;
	size_t i;

	if (!late || !dips)
		return json_incref(dips);
	list = json_array();
	json_array_foreach(dips, i, d)
		if (!strcmp(get_str(d, "state", ""), "down"))
			json_array_append(list, d);
	return list;
}

/* since - "2.1 s", or that it was never heard */
static const char *since(const struct host *h, char text[48])
{
	if (!h->silence.late)
		snprintf(text, 48, "reports, and muxes have no route to it");
	else if (h->silence.last_ms)
		snprintf(text, 48, "is silent for %.1f s", (mono_ms() - h->silence.last_ms) / 1000.0);
	else
		snprintf(text, 48, "has sent no report to this controller yet");
	return text;
}

/* down_by_silence - is this DIP of the host out for that */
static bool down_by_silence(const struct uvip *v, const struct host *h, unsigned int rule)
{
	const struct dip *d = dips_find(&v->dips, h->address, rule);

	return d && d->reported == REPORT_DOWN && silence_of(d->reason);
}

static json_t *row(const struct uvip *v, const struct host *h, unsigned int rule, const char *state, const char *reason)
{
	return json_pack("{s:s, s:s, s:i, s:s, s:s}", "vip", v->text, "dip", h->address, "rule", rule, "state", state, "reason", reason);
}

/* vip_affords - would the rule keep enough DIPs if one more went */
static bool vip_affords(const struct updater *u, const struct uvip *v, unsigned int rule)
{
	unsigned int i, total = v->dips.first[rule + 1] - v->dips.first[rule], out = 1;

	for (i = v->dips.first[rule]; i < v->dips.first[rule + 1]; i++)
		out += v->dips.list[i].reported == REPORT_DOWN && silence_of(v->dips.list[i].reason);
	return judge_may(out, total, u->ctl->conf.silent_vip_percent, 0);
}

/* hosts_afford - may this host be taken out: of all hosts and of its rack, counting those that may be dead, too */
static bool hosts_afford(const struct host *h, char *why, size_t size)
{
	const struct updater *u = h->u;
	const struct config *conf = &u->ctl->conf;
	unsigned int i, all = 0, rack = 0, total = 0, in_rack = 0;

	for (i = 0; i < u->n_hosts; i++) {
		const struct host *o = &u->hosts[i];
		bool mine = !strcmp(o->rack, h->rack), suspect = silence_suspect(&o->silence);

		if (!json_object_size(o->vips))
			continue;
		total++;
		in_rack += mine;
		all += suspect;
		rack += suspect && mine;
	}
	if (!judge_may(all, total, conf->silent_hosts_percent, 1))
		snprintf(why, size, "%u of %u hosts are silent, more than silent-max-hosts-percent = %u of them may be taken out: is this controller cut off?",
			 all, total, conf->silent_hosts_percent);
	else if (!judge_may(rack, in_rack, conf->silent_rack_percent, 1))
		snprintf(why, size, "%u of %u hosts of rack %s are silent, more than silent-max-rack-percent = %u of them may be taken out",
			 rack, in_rack, h->rack, conf->silent_rack_percent);
	else
		return true;
	return false;
}

/* take_out - the host's DIPs, where their VIPs can afford it; how many are kept */
static unsigned int take_out(struct host *h, const char *reason)
{
	unsigned int kept = 0, r;
	json_t *yes, *list;
	const char *text;

	json_object_foreach(h->vips, text, yes) {
		struct uvip *v = vip_find(h->u, text);

		for (r = 0; v && r < v->dips.n_rules; r++) {
			const struct dip *d = dips_find(&v->dips, h->address, r);

			if (!d || d->reported == REPORT_DOWN)
				continue;
			if (!vip_affords(h->u, v, r)) {
				kept++;
				continue;
			}
			list = json_pack("[o]", row(v, h, r, "down", reason));
			vips_health(h->u, h, list);	/* one at a time: vip_affords() counts it next time */
			json_decref(list);
		}
	}
	return kept;
}

/* let_in - DIPs that silence took out: all, or (heard: it reports again) those that no check speaks for */
static void let_in(struct host *h, bool heard, const char *reason)
{
	json_t *list = json_array(), *rule, *yes;
	const char *text;
	size_t r;

	json_object_foreach(h->vips, text, yes) {
		struct uvip *v = vip_find(h->u, text);

		json_array_foreach(v ? json_object_get(v->def, "rules") : NULL, r, rule)
			if (down_by_silence(v, h, r) && !(heard && json_object_get(rule, "check")))
				json_array_append_new(list, row(v, h, r, "up", reason));
	}
	vips_health(h->u, h, list);
	json_decref(list);
}

static void judged_dead(struct host *h, bool was_dead)
{
	struct silence *s = &h->silence;
	char reason[400], why[256], how_long[48];
	unsigned int kept;

	since(h, how_long);
	if (!h->u->ctl->conf.silent_down) {
		snprintf(s->fault, sizeof(s->fault), "host %s %s; %s: its DIPs stay as it last said, for [monitor] silent = keep", h->name, how_long,
			 s->says);
		return;
	}
	s->capped = !hosts_afford(h, why, sizeof(why));
	if (s->capped && !was_dead) {
		snprintf(s->fault, sizeof(s->fault), "host %s %s; %s: its DIPs stay as it last said, for %s", h->name, how_long, s->says, why);
		s->verdict = VERDICT_NONE;
		return;
	}
	snprintf(reason, sizeof(reason), REASON "host %s %s; %s", h->name, how_long, s->says);
	if (!was_dead)
		store_event(h->u->store, "host-dead", h->name, "it %s; %s: its DIPs are taken out of all muxes", how_long, s->says);
	kept = take_out(h, reason);
	snprintf(s->fault, sizeof(s->fault), "host %s %s; %s: its DIPs are out of all muxes%s", h->name, how_long, s->says,
		 kept ? ", but those of VIPs that would have too few left (silent-max-vip-percent)" : "");
}

/* refused_targets - the server lives, and at some of its DIPs nothing listens: these are down as if it had said so */
static void refused_targets(struct host *h, const struct inquiry *q)
{
	json_t *list = json_array();
	char reason[256];
	unsigned int t;

	for (t = 0; t < q->evidence.n_targets; t++) {
		const struct target *g = &q->targets[t];
		struct uvip *v = *g->vip ? vip_find(h->u, g->vip) : NULL;
		const struct dip *d = v ? dips_find(&v->dips, h->address, g->rule) : NULL;
		enum testimony is = judge_target(&q->evidence, t);

		if (!d || !g->exact)
			continue;
		snprintf(reason, sizeof(reason), REASON "host %s sends no report, and %u muxes find port %u closed", h->name,
			 q->evidence.n_witnesses, g->port);
		if (is == TESTIMONY_REFUSED && d->reported != REPORT_DOWN && h->u->ctl->conf.silent_down && vip_affords(h->u, v, g->rule))
			json_array_append_new(list, row(v, h, g->rule, "down", reason));
		else if (is == TESTIMONY_ANSWER && down_by_silence(v, h, g->rule))
			json_array_append_new(list, row(v, h, g->rule, "up", "it answers again"));
	}
	vips_health(h->u, h, list);
	json_decref(list);
}

static void judged_alive(struct host *h, const struct inquiry *q, bool was_dead)
{
	struct silence *s = &h->silence;
	char how_long[48];

	s->capped = false;
	if (was_dead) {
		store_event(h->u->store, "host-answers", h->name, "%s: its DIPs are let in again", s->says);
		let_in(h, false, "it answers again");
	}
	refused_targets(h, q);
	snprintf(s->fault, sizeof(s->fault), "host %s %s, yet %s: its agent is dead or can't reach this controller; its DIPs stay",
		 h->name, since(h, how_long), s->says);
}

/* note_verdict - of this round; a host is dead when the next round, by other witnesses where there are, says so too */
static void note_verdict(struct silence *s, const struct evidence *e)
{
	enum verdict now = judge_host(e);
	bool again;

	s->against = now == VERDICT_DEAD ? s->against + 1 : now == VERDICT_ALIVE ? 0 : s->against;
	again = now == VERDICT_DEAD && s->against < CONFIRM;
	s->next_target += e->n_targets;
	s->next_ms = mono_ms() + (again ? 0 : now == VERDICT_NONE ? AGAIN_MS : REJUDGE_MS);
	if (again || (now == VERDICT_NONE && s->out))
		return;
	judge_says(e, s->says, sizeof(s->says));
	s->verdict = now;
}

static void judged(struct updater *u, struct inquiry *list, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		list[i].host->silence.asking = false;
		if (judged_now(&list[i].host->silence))	/* else it has reported meanwhile */
			note_verdict(&list[i].host->silence, &list[i].evidence);
	}
	for (i = 0; i < n; i++) {	/* the caps count all verdicts of the round */
		struct silence *s = &list[i].host->silence;

		if (!judged_now(s))
			continue;
		if (s->verdict == VERDICT_DEAD) {
			judged_dead(list[i].host, s->out);
			s->out = s->verdict == VERDICT_DEAD && u->ctl->conf.silent_down;
		} else if (s->verdict == VERDICT_ALIVE) {
			judged_alive(list[i].host, &list[i], s->out);
			s->out = false;
		}
	}
	routes_astray(u);
}

/* unheard - nobody can testify: the host is kept */
static void unheard(struct host *h)
{
	char how_long[48];

	h->silence.next_ms = mono_ms() + AGAIN_MS;
	if (h->silence.verdict == VERDICT_NONE)
		snprintf(h->silence.fault, sizeof(h->silence.fault), "host %s %s, and no two muxes could be asked whether it answers: its DIPs stay as it last said",
			 h->name, since(h, how_long));
}

/* never_heard - once, when hosts have had their time after the start */
static void never_heard(struct updater *u)
{
	unsigned int i;

	if (u->hosts_judged || mono_ms() - u->hosts_ms < GRACE_MS + 3 * u->ctl->conf.silent_after_ms)
		return;
	u->hosts_judged = true;
	for (i = 0; i < u->n_hosts; i++)
		u->hosts[i].silence.late |= !u->hosts[i].heard;
}

static bool due(const struct host *h, uint64_t now)
{
	const struct silence *s = &h->silence;

	return judged_now(s) && !s->asking && s->next_ms <= now && json_object_size(h->vips);
}

static int tick(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;
	struct inquiry *list = NULL;
	unsigned int i, n = 0, n_due = 0, targets;
	uint64_t now = mono_ms();

	never_heard(u);
	for (i = 0; i < u->n_hosts; i++)
		n_due += due(&u->hosts[i], now);
	if (n_due && u->n_rounds < ROUNDS_MAX)
		list = calloc(n_due < ROUND_HOSTS_MAX ? n_due : ROUND_HOSTS_MAX, sizeof(*list));
	targets = n_due > ROUND_HOSTS ? 1 : JUDGE_TARGETS;
	for (i = 0; list && i < u->n_hosts && n < ROUND_HOSTS_MAX; i++) {
		struct host *h = &u->hosts[(u->next_silent + i) % u->n_hosts];

		if (!due(h, now))
			continue;
		list[n].host = h;
		list[n].evidence.n_targets = witness_targets(h, h->silence.next_target, list[n].targets, targets);
		if (list[n].evidence.n_targets < targets)
			h->silence.next_target = 0;
		n++;
	}
	u->next_silent += i;
	if (n && u->configured && witness_ask(u, list, n, judged))
		for (i = 0; i < n; i++)
			list[i].host->silence.asking = true;
	else
		for (i = 0; i < n; i++)
			unheard(list[i].host);
	free(list);
	return once(u->ctl->loop, &u->silence_timer, TICK_MS, tick, u);
}

/* forget - all that witnesses found */
static void forget(struct silence *s)
{
	s->against = s->next_target = 0;
	s->next_ms = 0;
	s->verdict = VERDICT_NONE;
	s->out = s->capped = false;
	s->says[0] = s->fault[0] = '\0';
}

void silence_note(struct host *h, bool late, uint64_t age_ms)
{
	struct silence *s = &h->silence;
	bool ended = s->late && !late;

	s->last_ms = mono_ms() - age_ms;
	s->late = late;
	if (ended && !s->doubted) {
		if (s->out)
			store_event(h->u->store, "host-back", h->name, "it reports again");
		forget(s);
		let_in(h, true, "its host reports again");
	}
}

void silence_doubt(struct host *h, bool doubted)
{
	struct silence *s = &h->silence;
	bool was_out = s->out;

	if (s->doubted == doubted)
		return;
	s->doubted = doubted;
	if (doubted || s->late)
		return;
	forget(s);
	if (was_out) {
		store_event(h->u->store, "host-back", h->name, "muxes have a route to it again");
		let_in(h, false, "muxes have a route to it again");
		vips_health(h->u, h, s->said);
	}
}

int silence_start(struct updater *u)
{
	u->hosts_ms = mono_ms();
	return once(u->ctl->loop, &u->silence_timer, TICK_MS, tick, u);
}

void silence_stop(struct updater *u)
{
	unsigned int i;

	witness_stop(u);
	for (i = 0; i < u->n_hosts; i++)
		json_decref(u->hosts[i].silence.said);
	sd_event_source_disable_unref(u->silence_timer);
}
