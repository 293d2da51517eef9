// SPDX-License-Identifier: GPL-2.0
/*
 * One HTTP request: its route, its body, its answer. A request whose answer
 * takes time is suspended; http_reply*() resumes it.
 */
#include "http_priv.h"
#include "json_budget.h"
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* matches - does path fit the pattern; "*" segments are cut out of path into r */
static bool matches(const char *pattern, const char *path, struct http_request *r, bool cut)
{
	unsigned int n = 0;
	char *at;

	if (cut) {
		free(r->path);
		r->path = strdup(path);
		if (!r->path)
			return false;
		at = r->path;
	} else {
		at = (char *)path;
	}
	for (;;) {
		if (*pattern == '*') {
			size_t len = strcspn(at, "/");

			if (!len || n == SEGMENTS)
				return false;
			if (cut)
				r->segment[n] = at;
			n++;
			pattern++;
			at += len;
			if (!*at)
				break;
			if (*pattern != '/')
				return false;
			if (cut)
				*at = '\0';
			at++;
			pattern++;
			continue;
		}
		if (*pattern != *at)
			return false;
		if (!*at)
			break;
		pattern++;
		at++;
	}
	r->segments = n;
	return !*pattern;
}

static void log_get(struct http_request *req, json_t *body, void *ctx)
{
	http_reply(req, 200, json_pack("{s:s}", "level", log_level_get()));
}

static void log_put(struct http_request *req, json_t *body, void *ctx)
{
	const char *level = json_string_value(json_object_get(body, "level"));

	if (!level || log_level_set(level)) {
		http_problem(req, 422, NULL, "\"level\" is err, warn, notice, info or debug");
		return;
	}
	log_notice("log level %s, as %s asked", level, http_peer_name(req));
	log_get(req, NULL, ctx);
}

/* whoami_get - as what this server takes the peer, and the highest right it has */
static void whoami_get(struct http_request *req, json_t *body, void *ctx)
{
	http_reply(req, 200, json_pack("{s:s, s:s}", "identity", req->id, "role", http_role(req)));
}

static void routes_get(struct http_request *req, json_t *body, void *ctx);

/* what every server has */
static const struct http_route own_routes[] = {
	{ "GET", "/v1/routes", routes_get, RIGHT_READ },
	{ "GET", "/v1/whoami", whoami_get, RIGHT_ANY, .deferrable = true },
	{ "GET", "/v1/log", log_get, RIGHT_READ },
	{ "PUT", "/v1/log", log_put, RIGHT_ADMIN, 4096 },
	{}
};

/* routes_get - what there is to ask: for tests of the API's description, and for the curious */
static void routes_get(struct http_request *req, json_t *body, void *ctx)
{
	const struct http_route *const tables[] = { req->server->routes, own_routes }, *route;
	json_t *list = json_array();

	for (unsigned int i = 0; i < 2; i++)
		for (route = tables[i]; route->method; route++)
			json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "method", route->method, "path", route->path,
							      "right", right_name(route->right)));
	http_reply(req, 200, list);
}

static const struct http_route *find_route(struct http_request *r, const char *method, const char *path, bool *known)
{
	const struct http_route *const tables[] = { r->server->routes, own_routes };
	const struct http_route *route;

	*known = false;
	for (unsigned int i = 0; i < 2; i++) {
		for (route = tables[i]; route->method; route++) {
			if (!matches(route->path, path, r, false))
				continue;
			*known = true;
			if (!strcmp(route->method, method))
				return matches(route->path, path, r, true) ? route : NULL;
		}
	}
	return NULL;
}

/* identify - who asks, and their rights. Where a request has an Authorization header only that counts: whoever carries
 * somebody else's request never lends it the rights of their own certificate.
 */
static void identify(struct http_request *r)
{
	const char *given = http_header(r, MHD_HTTP_HEADER_AUTHORIZATION);
	const struct auth *auth = r->server->auth;
	char id[AUTH_ID_SIZE] = "";
	rights_t rights = 0;

	snprintf(r->id, sizeof(r->id), "%s", r->conn->name);
	r->rights = auth_rights(auth, r->id);
	if (!given)
		return;
	if (auth->bearer && !strncasecmp(given, "Bearer ", 7))
		rights = auth->bearer(r, given + 7, id, auth->bearer_ctx);
	if (rights && id[0])
		memcpy(r->id, id, sizeof(r->id));
	if (!auth->open)
		r->rights = rights | RIGHT_BIT(RIGHT_ANY);
}

/* allowed - by the headers alone. Whoever has no role doesn't learn either which paths there are. */
static bool allowed(const struct http_request *r)
{
	if (!r->route)
		return r->rights & ~(RIGHT_BIT(RIGHT_ANY) | RIGHTS_DEFERRED);
	if (r->route->deferrable && (r->rights & RIGHTS_DEFERRED))
		return true;
	return http_may(r, r->route->right);
}

bool http_may(const struct http_request *r, enum right right)
{
	return right != RIGHT_UNSET && (r->rights & RIGHT_BIT(right));
}

const char *http_role(const struct http_request *r)
{
	/* whoever has every right acts as the highest role that people have */
	return auth_role_of(r->rights & RIGHT_BIT(RIGHT_PART) ? auth_role_rights(RIGHT_ADMIN) : r->rights);
}

void http_refuse(struct http_request *r, enum right right)
{
	bool token = r->server->auth->bearer && !(r->rights & ~RIGHT_BIT(RIGHT_ANY));
	const char *role = auth_role_of(r->rights), *needs = r->route ? right_name(right) : "";

	r->server->count.unauthorized++;
	/* the route's own words: what the peer sent may hold anything */
	refusal_log(r->id, "%s%s%s needs the right %s, and %s has %s", r->route ? r->route->method : "", r->route ? " " : "",
		    r->route ? r->route->path : "a path that no route has", r->route ? needs : "read", r->id, role);
	if (token)
		http_reply_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (r->route)
		http_problem(r, token ? 401 : 403, NULL, "%s %.200s needs the role %s; %s has %s", r->method, r->url, needs, r->id, role);
	else
		http_problem(r, token ? 401 : 403, NULL, "%s has %s here", r->id, role);
}

/* data_drop - the body's text isn't needed once it is parsed */
static void data_drop(struct http_request *r)
{
	r->server->buffered -= r->room;
	if (r->conn)
		r->conn->of->buffered -= r->room;
	free(r->data);
	r->data = NULL;
	r->len = r->room = 0;
}

static size_t body_max(const struct http_request *r)
{
	return r->route && r->route->body_max ? r->route->body_max : DUET_HTTP_BODY_DEFAULT;
}

void request_route(struct http_request *r)
{
	bool known;

	r->server->count.requests++;
	r->route = find_route(r, r->method, r->url, &known);
}

void request_parsed(struct http_request *r, json_t *body, const json_error_t *error)
{
	r->body = body;
	data_drop(r);
	if (body)
		r->route->handle(r, body, r->server->ctx);
	else
		http_problem(r, 400, NULL, "the body is no JSON: line %d, column %d: %s", error->line, error->column, error->text);
}

void request_dispatch(struct http_request *r)
{
	const char *method = r->method, *path = r->url;
	json_error_t error;
	bool known;
	int over;

	if (!r->route) {
		find_route(r, method, path, &known);
		if (known)
			http_problem(r, 405, NULL, "%.200s can't be asked to %.32s", path, method);
		else
			http_problem(r, 404, NULL, "there is no %.200s here", path);
		return;
	}
	if (r->too_large) {
		http_problem(r, 413, NULL, "the body is larger than %zu bytes", body_max(r));
		return;
	}
	if (r->too_many) {
		http_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
		http_problem(r, 503, NULL, "too many large requests at once");
		return;
	}
	over = r->len ? json_budget(r->data, r->len, body_max(r) / DUET_HTTP_BYTES_A_VALUE) : 0;
	if (over) {
		data_drop(r);
		if (over == -ELOOP)
			http_problem(r, 400, NULL, "the body is nested deeper than %d", JSON_DEPTH_MAX);
		else
			http_problem(r, 413, NULL, "the body has more than %zu values", body_max(r) / DUET_HTTP_BYTES_A_VALUE);
		return;
	}
	r->large = r->len > PARSE_APART;
	if (!r->len)
		r->route->handle(r, r->body, r->server->ctx);
	else if (!r->large || parse_apart(r))
		request_parsed(r, json_loadb(r->data, r->len, JSON_REJECT_DUPLICATES, &error), &error);
}

static bool append(struct http_request *r, const char *data, size_t size)
{
	r->conn->received += size;
	/* read on, to be able to answer */
	if (!r->route || r->too_large || r->too_many)
		return true;
	if (r->len + size > body_max(r)) {
		r->too_large = true;
		return true;
	}
	if (r->len + size > r->room) {
		size_t room = r->room ? r->room : 4096;
		char *more;

		while (room < r->len + size)
			room *= 2;
		if (!peer_may_buffer(r, room - r->room)) {
			r->too_many = true;
			return true;
		}
		more = realloc(r->data, room);
		if (!more)
			return false;
		r->data = more;
		r->server->buffered += room - r->room;
		r->conn->of->buffered += room - r->room;
		r->room = room;
	}
	memcpy(r->data + r->len, data, size);
	r->len += size;
	return true;
}

static struct http_conn *conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void *request_line(void *ctx, const char *uri, struct MHD_Connection *connection)
{
	struct http_conn *conn = conn_of(connection);

	if (conn) {
		free(conn->target);
		conn->target = strdup(uri);
	}
	return NULL;
}

static struct http_request *request_new(struct http_server *s, struct MHD_Connection *connection, const char *method,
					const char *url)
{
	struct http_conn *conn = conn_of(connection);
	struct http_request *r;

	if (!conn || !conn->target)
		return NULL;
	if (!conn->known && conn->listener->tls && tls_name(conn)) {
		log_warn("a request without a certificate of ours got through the handshake: refused");
		return NULL;
	}
	if (!conn->known && conn->listener->tls && peer_named(conn))
		return NULL;
	conn->known = true;
	conn->received = 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->server = s;
	r->conn = conn;
	r->connection = connection;
	r->method = method;
	r->url = url;
	return r;
}

/* unwanted - does the length that the headers announce already forbid the body? Then it is answered. */
static bool unwanted(struct http_request *r)
{
	const char *given = http_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
	unsigned long long length = given ? strtoull(given, NULL, 10) : 0;
	bool any = length || http_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);

	r->announced = length < SIZE_MAX ? length : SIZE_MAX;
	/* no route of GET reads one, so that nothing is kept for it either */
	if (any && !strcmp(r->method, MHD_HTTP_METHOD_GET))
		http_problem(r, 413, NULL, "GET takes no body");
	else if (r->route && length > body_max(r))
		http_problem(r, 413, NULL, "the body is larger than %zu bytes", body_max(r));
	else
		return false;
	r->server->count.refused++;
	return true;
}

/* refuse_certificate - it was good when the connection began */
static void refuse_certificate(struct http_request *r, const char *why)
{
	r->server->count.unauthorized++;
	refusal_log(r->conn->name, "a request of %s, whose certificate%s", r->conn->name, why);
	http_problem(r, 403, NULL, "the certificate of %s%s", r->conn->name, why);
}

bool request_no_more(struct http_request *r)
{
	if (tls_no_more(r->conn))
		return true;
	identify(r);
	return !allowed(r);
}

/* answer_unread - the answer is there before the body: nothing of that is read, and the connection ends */
static enum MHD_Result answer_unread(struct http_request *r)
{
	if (!r->response)
		return MHD_NO;
	MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONNECTION, "close");
	r->conn->refused = true;
	conn_phase(r->conn, CONN_TAKES);
	return MHD_queue_response(r->connection, r->status, r->response);
}

/* look_up - the request waits, its body unread, until the token in it is known */
static void look_up(struct http_request *r)
{
	const struct auth *auth = r->server->auth;

	r->looked_up = r->suspended = true;
	conn_phase(r->conn, CONN_ASKED);
	MHD_suspend_connection(r->connection);
	auth->resolve(r, auth->bearer_ctx);
}

void http_resolved(struct http_request *r, rights_t rights, const char *id)
{
	r->rights = rights | RIGHT_BIT(RIGHT_ANY);
	if (rights)
		snprintf(r->id, sizeof(r->id), "%s", id);
	r->suspended = false;
	request_resume(r);
}

/* found - libmicrohttpd calls again, still before the body */
static enum MHD_Result found(struct http_request *r)
{
	r->looked_up = false;
	conn_phase(r->conn, CONN_SENDS);
	if (!r->response && allowed(r))
		return MHD_YES;
	if (!r->response)
		http_refuse(r, r->route->right);
	return answer_unread(r);
}

enum MHD_Result request_on(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
			   const char *version, const char *data, size_t *size, void **state)
{
	struct http_request *r = *state;
	const char *why;

	if (!r) {
		r = request_new(ctx, connection, method, url);
		if (!r)
			return MHD_NO;
		*state = r;
		request_route(r);
		identify(r);
		conn_phase(r->conn, CONN_SENDS);
		why = tls_no_more(r->conn);
		if (r->conn->of->connections > DUET_HTTP_PEER_CONNECTIONS && r->conn->listener->tls) {
			refusal_log(r->conn->name, "%s has more than %d connections", r->conn->name, DUET_HTTP_PEER_CONNECTIONS);
			http_problem(r, 503, NULL, "%s has more than %d connections", r->conn->name, DUET_HTTP_PEER_CONNECTIONS);
		} else if (why)
			refuse_certificate(r, why);
		else if (!allowed(r))
			http_refuse(r, r->route ? r->route->right : RIGHT_READ);
		else if (!unwanted(r)) {
			if (r->route && r->route->deferrable && (r->rights & RIGHTS_DEFERRED))
				look_up(r);
			return MHD_YES;
		}
		return answer_unread(r);
	}
	if (r->looked_up)
		return r->suspended ? MHD_YES : found(r);
	if (*size) {
		if (!append(r, data, *size))
			return MHD_NO;
		*size = 0;
		return MHD_YES;
	}
	if (!r->response) {
		if (r->suspended)
			return MHD_YES;
		conn_phase(r->conn, CONN_ASKED);
		request_dispatch(r);
	}
	if (!r->response) {
		r->suspended = true;
		MHD_suspend_connection(connection);
		return MHD_YES;
	}
	conn_phase(r->conn, r->stream ? CONN_ASKED : CONN_TAKES);
	return MHD_queue_response(connection, r->status, r->response);
}

void request_free(struct http_request *r)
{
	while (r->headers) {
		free(r->header[--r->headers].name);
		free(r->header[r->headers].value);
	}
	if (r->large)
		parse_free(r->server, r->body);
	else
		json_decref(r->body);
	free(r->path);
	data_drop(r);
}

void request_done(void *ctx, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	struct http_request *r = *state;

	if (!r)
		return;
	if (r->stream)
		stream_gone(r->stream);
	if (r->response)
		MHD_destroy_response(r->response);
	if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK) {
		r->conn->served = true;
		conn_phase(r->conn, CONN_WAITS);
	}
	request_free(r);
	free(r);
	*state = NULL;
}

void request_resume(struct http_request *r)
{
	MHD_resume_connection(r->connection);
	listener_kick(r->conn->listener);
}

void request_answered(struct http_request *r)
{
	unsigned int i;

	for (i = 0; r->response && i < r->headers; i++)
		MHD_add_response_header(r->response, r->header[i].name, r->header[i].value);
	if (r->suspended) {
		r->suspended = false;
		request_resume(r);
	}
}

static void answer(struct http_request *r, unsigned int status, const char *type, char *text,
		   enum MHD_ResponseMemoryMode mode)
{
	if (r->response) {
		log_err("a request was answered twice");
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return;
	}
	r->status = status;
	r->response = MHD_create_response_from_buffer(text ? strlen(text) : 0, text ?: (char *)"",
						      text ? mode : MHD_RESPMEM_PERSISTENT);
	if (r->response && text)
		MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	request_answered(r);
}

/* answer_json - takes the reference to body (NULL: empty) */
static void answer_json(struct http_request *r, unsigned int status, const char *type, json_t *body)
{
	char *text;

	if (r->local) {
		local_answered(r, status, body);
		return;
	}
	text = body ? json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(body);
	answer(r, status, type, text, MHD_RESPMEM_MUST_FREE);
}

void http_reply(struct http_request *r, unsigned int status, json_t *body)
{
	answer_json(r, status, "application/json", body);
}

void http_reply_text(struct http_request *r, unsigned int status, const char *type, const char *text)
{
	if (r->local)
		local_answered(r, status, json_string(text));
	else
		answer(r, status, type, (char *)text, MHD_RESPMEM_MUST_COPY);
}

static const char *status_title(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *title;
	} titles[] = {
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 409, "Conflict" }, { 412, "Precondition Failed" },
		{ 413, "Content Too Large" }, { 422, "Unprocessable Content" }, { 428, "Precondition Required" },
		{ 500, "Internal Server Error" }, { 502, "Bad Gateway" },
		{ 503, "Service Unavailable" }, { 507, "Insufficient Storage" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Error";
}

void http_problem(struct http_request *r, unsigned int status, json_t *extra, const char *detail, ...)
{
	json_t *body = extra ? extra : json_object();
	char text[1024];
	va_list ap;
	char *at;

	va_start(ap, detail);
	vsnprintf(text, sizeof(text), detail, ap);
	va_end(ap);
	json_object_set_new(body, "title", json_string(status_title(status)));
	json_object_set_new(body, "status", json_integer(status));
	if (json_object_set_new(body, "detail", json_string(text))) {
		/* it quotes what the peer sent, and that was no UTF-8 */
		for (at = text; *at; at++)
			if (*at & 0x80)
				*at = '?';
		json_object_set_new(body, "detail", json_string(text));
	}
	answer_json(r, status, "application/problem+json", body);
}

const char *http_segment(struct http_request *r, unsigned int n)
{
	return n < r->segments ? r->segment[n] : NULL;
}

const char *http_query(struct http_request *r, const char *name)
{
	return r->local ? local_query(r, name) : MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(struct http_request *r, const char *name)
{
	return r->local ? NULL : MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const void *http_route_own(const struct http_request *r)
{
	return r->route->own;
}

const char *http_method(struct http_request *r)
{
	return r->method;
}

const char *http_path(struct http_request *r)
{
	return r->url;
}

const char *http_target(struct http_request *r)
{
	return r->local ? local_target(r) : r->conn->target;
}

const char *http_carrier(const struct http_request *r)
{
	return r->local || !strcmp(r->id, r->conn->name) ? NULL : r->conn->name;
}

bool http_is_local(const struct http_request *r)
{
	return r->local;
}

void http_reply_header(struct http_request *r, const char *name, const char *value)
{
	if (r->headers == HEADERS)
		return;
	r->header[r->headers].name = strdup(name);
	r->header[r->headers].value = strdup(value);
	if (r->header[r->headers].name && r->header[r->headers].value) {
		r->headers++;
		return;
	}
	free(r->header[r->headers].name);
	free(r->header[r->headers].value);
}

const struct addr *http_peer(struct http_request *r)
{
	static const struct addr none;

	return r->local ? &none : &r->conn->peer;
}

const char *http_peer_name(struct http_request *r)
{
	return r->id;
}
