// SPDX-License-Identifier: GPL-2.0
/*
 * The HTTP server: libmicrohttpd with an epoll of its own, whose file
 * descriptor sits in the program's event loop. A request whose answer takes
 * time is suspended; http_reply*() resumes it.
 */
#include "http.h"
#include "log.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS	4
#define HEADERS		4	/* of an answer, besides its type */
#define IDLE_SECONDS	60u

struct http_server {
	struct MHD_Daemon *mhd;
	sd_event *loop;
	sd_event_source *io, *timer;
	const struct http_route *routes;
	void *ctx;
	struct http_stream *streams;
	bool stopping;
};

struct http_request {
	struct http_server *server;
	struct MHD_Connection *connection;
	struct MHD_Response *response;	/* set: answered */
	unsigned int status;
	bool suspended, too_large;
	char *data;
	size_t len, room;
	char *path;			/* segments point into it */
	const char *segment[SEGMENTS];
	unsigned int segments;
	json_t *body;
	struct addr peer;
	const char *method, *url;	/* libmicrohttpd's, live as long as the request */
	struct {
		char *name, *value;
	} header[HEADERS];
	unsigned int headers;
	struct http_stream *stream;	/* set: the answer is one */
};

struct http_stream {
	struct http_request *req;
	struct http_stream *next, **prev;
	char *data;
	size_t from, len, room;		/* data[from..len) waits */
	bool suspended, ended;
	void (*closed)(void *ctx);
	void *ctx;
};

/* run - let libmicrohttpd work, then arm the timer it asks for: its epoll is
 * edge-triggered, so without the timer it could wait for ever
 */
static void run(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(s->mhd);
	if (MHD_get_timeout(s->mhd, &ms) == MHD_YES) {
		sd_event_source_set_time_relative(s->timer, ms * 1000);
		sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
	} else {
		sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	}
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	run(ctx);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	run(ctx);
	return 0;
}

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

static const struct http_route *find_route(struct http_request *r, const char *method, const char *path)
{
	const struct http_route *route;
	bool known = false;

	for (route = r->server->routes; route->method; route++) {
		if (!matches(route->path, path, r, false))
			continue;
		known = true;
		if (!strcmp(route->method, method))
			return matches(route->path, path, r, true) ? route : NULL;
	}
	if (known)
		http_problem(r, 405, NULL, "%s can't be asked to %s", path, method);
	else
		http_problem(r, 404, NULL, "there is no %s here", path);
	return NULL;
}

static void dispatch(struct http_request *r, const char *method, const char *path)
{
	const struct http_route *route = find_route(r, method, path);
	json_error_t error;

	if (!route)
		return;
	if (r->too_large) {
		http_problem(r, 413, NULL, "the body is larger than %u bytes", HTTP_BODY_MAX);
		return;
	}
	if (r->len) {
		r->body = json_loadb(r->data, r->len, JSON_REJECT_DUPLICATES, &error);
		if (!r->body) {
			http_problem(r, 400, NULL, "the body is no JSON: line %d, column %d: %s",
				     error.line, error.column, error.text);
			return;
		}
	}
	route->handle(r, r->body, r->server->ctx);
}

static bool append(struct http_request *r, const char *data, size_t size)
{
	if (r->too_large || r->len + size > HTTP_BODY_MAX) {
		r->too_large = true;
		return true;	/* read on, to be able to answer */
	}
	if (r->len + size > r->room) {
		size_t room = r->room ? r->room : 4096;
		char *more;

		while (room < r->len + size)
			room *= 2;
		more = realloc(r->data, room);
		if (!more)
			return false;
		r->data = more;
		r->room = room;
	}
	memcpy(r->data + r->len, data, size);
	r->len += size;
	return true;
}

static void get_peer(struct http_request *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	if (!info)
		return;
	if (info->client_addr->sa_family == AF_INET)
		addr_from_raw(&((struct sockaddr_in *)info->client_addr)->sin_addr, 4, &r->peer);
	else if (info->client_addr->sa_family == AF_INET6)
		addr_from_raw(&((struct sockaddr_in6 *)info->client_addr)->sin6_addr, 16, &r->peer);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct http_request *r = *state;

	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return MHD_NO;
		r->server = ctx;
		r->connection = connection;
		r->method = method;
		r->url = url;
		get_peer(r);
		*state = r;
		return MHD_YES;
	}
	if (*size) {
		if (!append(r, data, *size))
			return MHD_NO;
		*size = 0;
		return MHD_YES;
	}
	if (!r->response) {
		if (r->suspended)
			return MHD_YES;
		dispatch(r, method, url);
	}
	if (!r->response) {
		r->suspended = true;
		MHD_suspend_connection(connection);
		return MHD_YES;
	}
	return MHD_queue_response(connection, r->status, r->response);
}

static void stream_gone(struct http_stream *st)
{
	void (*closed)(void *ctx) = st->closed;
	void *ctx = st->ctx;

	if (st->next)
		st->next->prev = st->prev;
	*st->prev = st->next;
	st->req->stream = NULL;
	free(st->data);
	free(st);
	if (closed)
		closed(ctx);
}

static void on_done(void *ctx, struct MHD_Connection *connection, void **state,
		    enum MHD_RequestTerminationCode code)
{
	struct http_request *r = *state;

	if (!r)
		return;
	if (r->stream)
		stream_gone(r->stream);
	if (r->response)
		MHD_destroy_response(r->response);
	while (r->headers) {
		free(r->header[--r->headers].name);
		free(r->header[r->headers].value);
	}
	json_decref(r->body);
	free(r->path);
	free(r->data);
	free(r);
	*state = NULL;
}

static void resume(struct http_request *r)
{
	MHD_resume_connection(r->connection);
	if (!r->server->stopping) {
		sd_event_source_set_time_relative(r->server->timer, 0);
		sd_event_source_set_enabled(r->server->timer, SD_EVENT_ONESHOT);
	}
}

static void answered(struct http_request *r)
{
	unsigned int i;

	for (i = 0; r->response && i < r->headers; i++)
		MHD_add_response_header(r->response, r->header[i].name, r->header[i].value);
	if (r->suspended) {
		r->suspended = false;
		resume(r);
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
	r->response = MHD_create_response_from_buffer(text ? strlen(text) : 0, text ?: (char *)"", text ? mode : MHD_RESPMEM_PERSISTENT);
	if (r->response && text)
		MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	answered(r);
}

void http_reply(struct http_request *r, unsigned int status, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

	json_decref(body);
	answer(r, status, "application/json", text, MHD_RESPMEM_MUST_FREE);
}

void http_reply_text(struct http_request *r, unsigned int status, const char *type, const char *text)
{
	answer(r, status, type, (char *)text, MHD_RESPMEM_MUST_COPY);
}

static const char *status_title(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *title;
	} titles[] = {
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 409, "Conflict" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 422, "Unprocessable Content" },
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

	va_start(ap, detail);
	vsnprintf(text, sizeof(text), detail, ap);
	va_end(ap);
	json_object_set_new(body, "title", json_string(status_title(status)));
	json_object_set_new(body, "status", json_integer(status));
	json_object_set_new(body, "detail", json_string(text));
	answer(r, status, "application/problem+json", json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER),
	       MHD_RESPMEM_MUST_FREE);
	json_decref(body);
}

const char *http_segment(struct http_request *r, unsigned int n)
{
	return n < r->segments ? r->segment[n] : NULL;
}

const char *http_query(struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *http_method(struct http_request *r)
{
	return r->method;
}

const char *http_path(struct http_request *r)
{
	return r->url;
}

static enum MHD_Result add_argument(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
	char *k = curl_easy_escape(NULL, key, 0), *v = curl_easy_escape(NULL, value ?: "", 0), **text = ctx, *more = NULL;

	if (*text && k && v && asprintf(&more, "%s%c%s=%s", *text, strchr(*text, '?') ? '&' : '?', k, v) < 0)
		more = NULL;
	curl_free(k);
	curl_free(v);
	free(*text);
	*text = more;
	return more ? MHD_YES : MHD_NO;
}

char *http_target(struct http_request *r)
{
	char *text = strdup(r->url);

	if (text)
		MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, add_argument, &text);
	return text;
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

static ssize_t stream_read(void *ctx, uint64_t at, char *buf, size_t max)
{
	struct http_stream *st = ((struct http_request *)ctx)->stream;
	size_t n = st ? st->len - st->from : 0;

	if (!st)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!n && st->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!n) {
		st->suspended = true;
		MHD_suspend_connection(st->req->connection);
		return 0;
	}
	if (n > max)
		n = max;
	memcpy(buf, st->data + st->from, n);
	st->from += n;
	if (st->from == st->len)
		st->from = st->len = 0;
	return n;
}

static void stream_wake(struct http_stream *st)
{
	if (!st->suspended)
		return;
	st->suspended = false;
	resume(st->req);
}

struct http_stream *http_stream(struct http_request *r, const char *type, void (*closed)(void *ctx), void *ctx)
{
	struct http_stream *st = calloc(1, sizeof(*st));

	if (!st)
		goto err_problem;
	r->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, stream_read, r, NULL);
	if (!r->response)
		goto err_free;
	MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	/* silent for as long as nothing happens: not idle */
	MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	st->req = r;
	st->closed = closed;
	st->ctx = ctx;
	st->next = r->server->streams;
	st->prev = &r->server->streams;
	if (st->next)
		st->next->prev = &st->next;
	r->server->streams = st;
	r->stream = st;
	r->status = 200;
	answered(r);
	return st;

err_free:
	free(st);
err_problem:
	http_problem(r, 500, NULL, "no memory for a stream");
	return NULL;
}

void http_stream_send(struct http_stream *st, const char *text)
{
	size_t n = strlen(text), room = st->room ? st->room : 4096;
	char *more;

	if (st->ended)
		return;
	if (st->from) {
		memmove(st->data, st->data + st->from, st->len - st->from);
		st->len -= st->from;
		st->from = 0;
	}
	while (room < st->len + n)
		room *= 2;
	more = room > st->room && room <= HTTP_STREAM_MAX ? realloc(st->data, room) : st->data;
	if (!more || room > HTTP_STREAM_MAX) {
		log_notice("a peer reads a stream too slowly: it is cut");
		http_stream_end(st);
		return;
	}
	st->data = more;
	st->room = room;
	memcpy(st->data + st->len, text, n);
	st->len += n;
	stream_wake(st);
}

void http_stream_end(struct http_stream *st)
{
	st->ended = true;
	stream_wake(st);
}

const struct addr *http_peer(struct http_request *r)
{
	return &r->peer;
}

static void mhd_log(void *ctx, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);
}

int http_server_start(sd_event *loop, const struct conf_listen *listen,
		      const struct http_route *routes, void *ctx,
		      struct http_server **server, struct err *e)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(listen->port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(listen->port) };
	bool is_v4 = addr_is_v4(&listen->addr);
	struct http_server *s = calloc(1, sizeof(*s));
	const union MHD_DaemonInfo *info;
	char text[ADDR_STRLEN];
	int ret;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for the HTTP server");
	memcpy(&v4.sin_addr, listen->addr.b + 12, 4);
	memcpy(&v6.sin6_addr, listen->addr.b, 16);
	s->loop = loop;
	s->routes = routes;
	s->ctx = ctx;
	errno = 0;
	s->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
				  (is_v4 ? 0 : MHD_USE_IPv6), listen->port, NULL, NULL, on_request, s,
				  MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
				  MHD_OPTION_SOCK_ADDR, is_v4 ? (void *)&v4 : (void *)&v6,
				  MHD_OPTION_NOTIFY_COMPLETED, on_done, s,
				  MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
	if (!s->mhd) {
		ret = err_set(e, errno ? -errno : -EIO, "can't listen on %s port %u: %s",
			      addr_str(&listen->addr, text), listen->port,
			      errno ? strerror(errno) : "the HTTP server doesn't start");
		goto err_free;
	}
	info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	ret = sd_event_add_io(loop, &s->io, info->epoll_fd, EPOLLIN, on_io, s);
	if (!ret || ret > 0)
		ret = sd_event_add_time_relative(loop, &s->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, s);
	if (ret < 0) {
		err_set(e, ret, "HTTP server: no event source: %s", strerror(-ret));
		goto err_stop;
	}
	*server = s;
	return 0;

err_stop:
	sd_event_source_disable_unref(s->io);
	MHD_stop_daemon(s->mhd);
err_free:
	free(s);
	return ret;
}

void http_server_stop(struct http_server *s)
{
	struct http_stream *st;

	if (!s)
		return;
	s->stopping = true;
	for (st = s->streams; st; st = st->next)
		http_stream_end(st);
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->timer);
	MHD_stop_daemon(s->mhd);
	free(s);
}
