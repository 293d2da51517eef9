// SPDX-License-Identifier: GPL-2.0
/* duetctl's changes: assignment, moves, drains, settings, tokens; and waiting for moves. */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "out.h"

#define ASK_EVERY_MS 50

/* wait_move - until it is over; CTL_OK if it was done, else another after a sentence */
static int wait_move(const struct ctl *c, long long id, unsigned long long deadline)
{
	const struct timespec pause = { .tv_nsec = ASK_EVERY_MS * 1000000 };
	char path[64];
	json_t *m;
	int ret;

	snprintf(path, sizeof(path), "/v1/moves/%lld", id);
	for (;;) {
		const char *state;
		bool over, done;

		ret = ctl_call(c, "GET", path, NULL, &m);
		if (ret)
			return ret;
		state = text_of(m, "state");
		over = json_is_true(json_object_get(m, "over"));
		done = !strcmp(state, "done");
		if (over && !done)
			fprintf(stderr, "duetctl: move %lld of VIP %s %s: %s\n", id,
				text_of(m, "vip"), state, text_of(m, "note"));
		if (!over && mono_ms() > deadline) {
			fprintf(stderr, "duetctl: move %lld of VIP %s is still %s after %u s%s%s\n",
				id, text_of(m, "vip"), state, c->timeout_s,
				*text_of(m, "note") ? ": " : "", text_of(m, "note"));
			json_decref(m);
			return CTL_REFUSED;
		}
		if (over && done && !c->json)
			printf("VIP %s: %s to %s in %lld ms\n", text_of(m, "vip"),
			       text_of(m, "from"), text_of(m, "to"),
			       number_of(m, "changed-ms") - number_of(m, "created-ms"));
		json_decref(m);
		if (over)
			return done ? CTL_OK : CTL_REFUSED;
		nanosleep(&pause, NULL);
	}
}

static void worst(int *ret, int one)
{
	if (one > *ret)
		*ret = one;
}

int ctl_follow(const struct ctl *c, json_t *answer)
{
	unsigned long long deadline = mono_ms() + c->timeout_s * 1000ull;
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
			worst(&ret, wait_move(c, json_integer_value(id), deadline));
	else if (!c->json && json_array_size(moves))
		printf("%zu moves under way: duetctl moves\n", json_array_size(moves));
	json_decref(moves);
	return ret;
}

static int assign(const struct ctl *c, bool dry_run)
{
	json_t *answer;
	int ret = ctl_call(c, "POST", dry_run ? "/v1/assign?dry_run=1" : "/v1/assign", json_object(), &answer);

	if (ret)
		return ret;
	if (!c->json) {
		print_list(json_object_get(answer, "assignment"), plan_columns);
		printf("\nMRU %.3f\n", json_number_value(json_object_get(answer, "mru")));
	}
	return ctl_follow(c, answer);
}

CTL_COMMAND(change_assign)
{
	return assign(c, c->dry_run);
}

CTL_COMMAND(change_plan)
{
	return assign(c, true);
}

CTL_COMMAND(change_move)
{
	unsigned long long deadline = mono_ms() + c->timeout_s * 1000ull;
	json_t *answer;
	long long id;
	int ret = ctl_call(c, "POST", "/v1/moves", json_pack("{s:s, s:s}", "vip", args[0], "to", args[1]), &answer);

	if (ret)
		return ret;
	id = number_of(answer, "id");
	ret = id && c->wait ? wait_move(c, id, deadline) : CTL_OK;
	if (c->json)
		out_json(json_incref(answer));
	else if (!id)
		printf("VIP %s: %s\n", args[0], text_of(answer, "note"));
	else if (!c->wait)
		printf("move %lld is under way: duetctl moves\n", id);
	json_decref(answer);
	return ret;
}

CTL_COMMAND(change_delete)
{
	char path[256];
	json_t *answer;
	int ret = ctl_call(c, "DELETE", ctl_path(path, sizeof(path), "/v1/vips/%s", args[0]), NULL, &answer);

	return ret ? ret : ctl_follow(c, answer);
}

/* done - ask for it; with -j what was answered, else the sentence */
static int done(const struct ctl *c, const char *method, const char *path, json_t *body, const char *sentence)
{
	json_t *answer;
	int ret = ctl_call(c, method, path, body, &answer);

	if (ret)
		return ret;
	if (c->json)
		out_json(answer);
	else
		json_decref(answer);
	if (!c->json)
		puts(sentence);
	return CTL_OK;
}

static int drain(const struct ctl *c, const char *method, char **args, const char *sentence)
{
	char path[256], kind[128];

	ctl_path(kind, sizeof(kind) - 3, "/v1/drains/%s", args[0]);
	strcat(kind, "/%s");
	return done(c, method, ctl_path(path, sizeof(path), kind, args[1]), NULL, sentence);
}

CTL_COMMAND(change_drain)
{
	return drain(c, "PUT", args, "it is being drained: duetctl drains shows what is left");
}

CTL_COMMAND(change_undrain)
{
	return drain(c, "DELETE", args, "it is in use again");
}

CTL_COMMAND(change_unfence_mux)
{
	char path[256];

	return done(c, "DELETE", ctl_path(path, sizeof(path), "/v1/muxes/%s/fence", args[0]), NULL, "it obeys this controller from now on");
}

CTL_COMMAND(change_unfence_host)
{
	char path[256];

	return done(c, "DELETE", ctl_path(path, sizeof(path), "/v1/hosts/%s/fence", args[0]), NULL, "it obeys this controller from now on");
}

CTL_COMMAND(change_stop)
{
	return done(c, "PUT", "/v1/control", json_pack("{s:b}", "stop", 1),
		    "nothing moves until duetctl resume; health goes on");
}

CTL_COMMAND(change_resume)
{
	return done(c, "PUT", "/v1/control", json_pack("{s:b}", "stop", 0), "moves go on");
}

CTL_COMMAND(change_abort)
{
	bool wave = !strcmp(args[-1], "wave");
	char path[256];

	return done(c, "DELETE", ctl_path(path, sizeof(path), wave ? "/v1/waves/%s" : "/v1/moves/%s", args[0]), NULL,
		    "it goes back: duetctl moves");
}

CTL_COMMAND(change_settings)
{
	json_t *body = json_object(), *s, *v;
	const char *name;
	int ret, i;

	for (i = 0; i < n; i++) {
		char *value = strchr(args[i], '=');

		if (!value || value == args[i]) {
			fprintf(stderr, "duetctl: a setting is NAME=VALUE, not %s\n", args[i]);
			json_decref(body);
			return CTL_USAGE;
		}
		*value++ = 0;
		v = json_loads(value, JSON_DECODE_ANY, NULL);
		json_object_set_new(body, args[i], v ? v : json_string(value));
	}
	ret = ctl_call(c, n ? "PUT" : "GET", "/v1/control", n ? body : NULL, &s);
	if (!n)
		json_decref(body);
	if (ret)
		return ret;
	if (c->json) {
		out_json(s);
		return CTL_OK;
	}
	json_object_foreach(s, name, v) {
		char *text = json_dumps(v, JSON_ENCODE_ANY);

		printf("%s=%s\n", name, text ? text : "");
		free(text);
	}
	json_decref(s);
	return CTL_OK;
}

/* say - ask for it, and print this member of the answer alone, so that it can go into a file */
static int say(const struct ctl *c, const char *method, const char *path, json_t *body, const char *key)
{
	json_t *answer;
	int ret = ctl_call(c, method, path, body, &answer);

	if (ret)
		return ret;
	if (!c->json)
		puts(text_of(answer, key));
	else
		out_json(json_incref(answer));
	json_decref(answer);
	return CTL_OK;
}

CTL_COMMAND(change_backup)
{
	return say(c, "POST", "/v1/backup", json_pack("{s:s}", "name", args[0]), "file");
}

CTL_COMMAND(token_list)
{
	static const struct ctl_column columns[] = {
		{ "TOKEN", "name" }, { "ROLE", "role" }, { "SINCE", "created-ms", COLUMN_CLOCK }, {}
	};

	return show_list(c, "/v1/tokens", "tokens", 0, columns);
}

CTL_COMMAND(token_add)
{
	json_t *body = json_pack("{s:s}", "role", args[1]);
	char path[256], *end = NULL;
	long days = n > 2 ? strtol(args[2], &end, 10) : 0;

	if (n > 2) {
		if (*end || end == args[2]) {
			fprintf(stderr, "duetctl: %s is no number of days\n", args[2]);
			json_decref(body);
			return CTL_USAGE;
		}
		json_object_set_new(body, "days", json_integer(days));
	}
	return say(c, "PUT", ctl_path(path, sizeof(path), "/v1/tokens/%s", args[0]), body, "token");
}

CTL_COMMAND(token_delete)
{
	char path[256];

	return done(c, "DELETE", ctl_path(path, sizeof(path), "/v1/tokens/%s", args[0]), NULL, "it is good for nothing any more");
}
