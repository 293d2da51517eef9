// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of a program to its own server: to the same handlers, without a
 * socket and without text. Handler and answer each have a turn of the loop of
 * their own, as if they had come from outside.
 */
#include "http_priv.h"
#include "clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct http_local {
	struct http_request req;
	TAILQ_ENTRY(http_local) list;	/* of those to be looked at, or of those being answered */
	char *target, *path;		/* path and query; the path alone */
	json_t *query;			/* argument: value */
	bool asked;			/* the handler has it */
	uint64_t since;			/* mono_usec() */
	json_t *answer;
	void (*done)(const struct http_result *result, void *ctx);
	void *ctx;
};

static struct http_local *local_of(struct http_request *r)
{
	return (struct http_local *)((char *)r - offsetof(struct http_local, req));
}

static void local_free(struct http_local *l)
{
	request_free(&l->req);
	json_decref(l->answer);
	json_decref(l->query);
	free(l->target);
	free(l->path);
	free(l);
}

static void finish(struct http_local *l)
{
	unsigned int status = l->req.status;
	struct http_result result = { .status = status, .body = l->answer, .usec = mono_usec() - l->since };

	if (status < 200 || status > 299)
		result.error = json_string_value(json_object_get(l->answer, "detail")) ?: "refused";
	l->done(&result, l->ctx);
	local_free(l);
}

/* turn - one request, one step: others in the loop wait for no more */
static int turn(sd_event_source *source, void *ctx)
{
	struct http_server *s = ctx;
	struct http_local *l = TAILQ_FIRST(&s->to_do);

	TAILQ_REMOVE(&s->to_do, l, list);
	if (TAILQ_EMPTY(&s->to_do))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (l->asked) {
		finish(l);
		return 0;
	}
	l->asked = true;
	TAILQ_INSERT_TAIL(&s->asked, l, list);
	request_route(&l->req);
	request_dispatch(&l->req);	/* which may answer at once */
	return 0;
}

static void to_do(struct http_server *s, struct http_local *l)
{
	TAILQ_INSERT_TAIL(&s->to_do, l, list);
	sd_event_source_set_enabled(s->turn, SD_EVENT_ON);
}

void local_answered(struct http_request *r, unsigned int status, json_t *body)
{
	struct http_local *l = local_of(r);

	r->status = status;
	l->answer = body;
	TAILQ_REMOVE(&r->server->asked, l, list);
	to_do(r->server, l);
}

const char *local_query(struct http_request *r, const char *name)
{
	return json_string_value(json_object_get(local_of(r)->query, name));
}

/* query_of - the arguments after the path, unescaped */
static json_t *query_of(const char *target)
{
	const char *at = strchr(target, '?');
	json_t *query = json_object();
	size_t len, name;
	char *value;

	for (; at; at = strchr(at, '&')) {
		len = strcspn(++at, "&");
		name = strcspn(at, "=&");
		if (name == len)
			continue;
		/* a length of 0 would be all that follows */
		value = len > name + 1 ? curl_easy_unescape(NULL, at + name + 1, len - name - 1, NULL) : NULL;
		json_object_setn_new(query, at, name, json_string(value ?: ""));
		curl_free(value);
	}
	return query;
}

const char *local_target(struct http_request *r)
{
	return local_of(r)->target;
}

int http_local(struct http_server *s, const char *method, const char *target, json_t *body,
	       void (*done)(const struct http_result *result, void *ctx), void *ctx)
{
	struct http_local *l = calloc(1, sizeof(*l));

	if (!l) {
		json_decref(body);
		return -ENOMEM;
	}
	l->req.server = s;
	l->req.local = true;
	l->req.rights = RIGHTS_ALL;
	strcpy(l->req.id, "self:");
	l->req.body = body;
	l->req.method = method;
	l->target = strdup(target);
	l->path = strndup(target, strcspn(target, "?"));
	l->query = query_of(target);
	l->since = mono_usec();
	l->done = done;
	l->ctx = ctx;
	if (!l->target || !l->path || !l->query) {
		local_free(l);
		return -ENOMEM;
	}
	l->req.url = l->path;
	to_do(s, l);
	return 0;
}

void locals_end(struct http_server *s)
{
	struct http_local *l;

	TAILQ_CONCAT(&s->to_do, &s->asked, list);
	while ((l = TAILQ_FIRST(&s->to_do))) {
		TAILQ_REMOVE(&s->to_do, l, list);
		local_free(l);
	}
	sd_event_source_disable_unref(s->turn);
}

int locals_start(struct http_server *s)
{
	int ret;

	TAILQ_INIT(&s->to_do);
	TAILQ_INIT(&s->asked);
	ret = sd_event_add_defer(s->loop, &s->turn, turn, s);
	return ret < 0 ? ret : sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
}
