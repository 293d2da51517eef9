// SPDX-License-Identifier: GPL-2.0
/* duetctl's changes: configuration, assignment, moves; and waiting for them. */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "out.h"

#define ASK_EVERY_MS 50

static unsigned long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* wait_move - until it is over; 0 if it was done, else 1 after a sentence */
static int wait_move(const struct ctl *c, long long id, unsigned long long deadline)
{
	const struct timespec pause = { .tv_nsec = ASK_EVERY_MS * 1000000 };
	char path[64];
	json_t *m;

	snprintf(path, sizeof(path), "/v1/moves/%lld", id);
	for (;;) {
		const char *state;
		bool over, done;

		if (ctl_call(c, "GET", path, NULL, &m))
			return 1;
		state = text_of(m, "state");
		over = json_is_true(json_object_get(m, "over"));
		done = !strcmp(state, "done");
		if (over && !done)
			fprintf(stderr, "duetctl: move %lld of VIP %s %s: %s\n", id,
				text_of(m, "vip"), state, text_of(m, "note"));
		if (!over && now_ms() > deadline) {
			fprintf(stderr, "duetctl: move %lld of VIP %s is still %s after %u s%s%s\n",
				id, text_of(m, "vip"), state, c->timeout_s,
				*text_of(m, "note") ? ": " : "", text_of(m, "note"));
			json_decref(m);
			return 1;
		}
		if (over && done && !c->json)
			printf("VIP %s: %s to %s in %lld ms\n", text_of(m, "vip"),
			       text_of(m, "from"), text_of(m, "to"),
			       number_of(m, "changed-ms") - number_of(m, "created-ms"));
		json_decref(m);
		if (over)
			return !done;
		nanosleep(&pause, NULL);
	}
}

/* follow - what an answer's moves come to; the answer's reference is taken */
static int follow(const struct ctl *c, json_t *answer)
{
	unsigned long long deadline = now_ms() + c->timeout_s * 1000ull;
	json_t *moves = json_object_get(answer, "moves"), *id;
	size_t i;
	int ret = 0;

	json_incref(moves);
	if (c->json)
		out_json(answer);
	else
		json_decref(answer);
	if (c->wait)
		json_array_foreach(moves, i, id)
			ret |= wait_move(c, json_integer_value(id), deadline);
	else if (!c->json && json_array_size(moves))
		printf("%zu moves under way: duetctl moves\n", json_array_size(moves));
	json_decref(moves);
	return ret;
}

int change_apply(const struct ctl *c)
{
	json_t *config, *answer;
	json_error_t error;

	if (!strcmp(c->file, "-"))
		config = json_loadf(stdin, JSON_REJECT_DUPLICATES, &error);
	else
		config = json_load_file(c->file, JSON_REJECT_DUPLICATES, &error);
	if (!config) {
		if (error.line > 0)
			fprintf(stderr, "duetctl: %s:%d:%d: %s\n", c->file, error.line,
				error.column, error.text);
		else
			fprintf(stderr, "duetctl: %s\n", error.text);
		return 1;
	}
	if (ctl_call(c, "PUT", "/v1/config", config, &answer))
		return 1;
	if (!c->json)
		printf("%zu VIPs added, %zu changed, %zu removed, %lld unchanged\n",
		       json_array_size(json_object_get(answer, "added")),
		       json_array_size(json_object_get(answer, "changed")),
		       json_array_size(json_object_get(answer, "removed")),
		       number_of(answer, "unchanged"));
	return follow(c, answer);
}

int change_assign(const struct ctl *c)
{
	json_t *answer;

	if (ctl_call(c, "POST", c->dry_run ? "/v1/assign?dry_run=1" : "/v1/assign", json_object(),
		     &answer))
		return 1;
	if (!c->json)
		print_plan(json_object_get(answer, "assignment"));
	return follow(c, answer);
}

int change_move(const struct ctl *c, const char *vip, const char *to)
{
	unsigned long long deadline = now_ms() + c->timeout_s * 1000ull;
	json_t *answer;
	long long id;
	int ret;

	if (ctl_call(c, "POST", "/v1/moves", json_pack("{s:s, s:s}", "vip", vip, "to", to),
		     &answer))
		return 1;
	id = number_of(answer, "id");
	ret = id && c->wait ? wait_move(c, id, deadline) : 0;
	if (c->json)
		out_json(json_incref(answer));
	else if (!id)
		printf("VIP %s: %s\n", vip, text_of(answer, "note"));
	else if (!c->wait)
		printf("move %lld is under way: duetctl moves\n", id);
	json_decref(answer);
	return ret;
}

int change_delete(const struct ctl *c, const char *vip)
{
	char path[256], *escaped = ctl_escape(vip);
	json_t *answer;

	snprintf(path, sizeof(path), "/v1/vips/%.200s", escaped);
	free(escaped);
	if (ctl_call(c, "DELETE", path, NULL, &answer))
		return 1;
	return follow(c, answer);
}

/* done - ask for it; with -j what was answered, else the sentence */
static int done(const struct ctl *c, const char *method, const char *path, json_t *body, const char *sentence)
{
	json_t *answer;

	if (ctl_call(c, method, path, body, &answer))
		return 1;
	if (c->json)
		out_json(answer);
	else
		json_decref(answer);
	if (!c->json)
		puts(sentence);
	return 0;
}

int change_drain(const struct ctl *c, bool on, const char *kind, const char *name)
{
	char path[256], *k = ctl_escape(kind), *n = ctl_escape(name);

	snprintf(path, sizeof(path), "/v1/drains/%.60s/%.120s", k, n);
	free(k);
	free(n);
	return done(c, on ? "PUT" : "DELETE", path, NULL,
		    on ? "it is being drained: duetctl assignment shows what is left" : "it is in use again");
}

int change_stop(const struct ctl *c, bool stop)
{
	return done(c, "PUT", "/v1/control", json_pack("{s:b}", "stop", stop),
		    stop ? "nothing moves until duetctl resume; health goes on" : "moves go on");
}

int change_abort(const struct ctl *c, const char *id)
{
	char path[128], *escaped = ctl_escape(id);

	snprintf(path, sizeof(path), "/v1/moves/%.80s", escaped);
	free(escaped);
	return done(c, "DELETE", path, NULL, "it goes back: duetctl moves");
}
