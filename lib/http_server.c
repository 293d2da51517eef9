// SPDX-License-Identifier: GPL-2.0
/*
 * The HTTP server: libmicrohttpd with an epoll of its own, whose file
 * descriptor sits in the program's event loop. A request whose answer takes
 * time is suspended; http_reply*() resumes it.
 */
#include "http.h"
#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS	4
#define IDLE_SECONDS	60u

struct http_server {
	struct MHD_Daemon *mhd;
	sd_event *loop;
	sd_event_source *io, *timer;
	const struct http_route *routes;
	void *ctx;
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

static void on_done(void *ctx, struct MHD_Connection *connection, void **state,
		    enum MHD_RequestTerminationCode code)
{
	struct http_request *r = *state;

	if (!r)
		return;
	if (r->response)
		MHD_destroy_response(r->response);
	json_decref(r->body);
	free(r->path);
	free(r->data);
	free(r);
	*state = NULL;
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
	if (r->suspended) {
		r->suspended = false;
		MHD_resume_connection(r->connection);
		if (!r->server->stopping) {
			sd_event_source_set_time_relative(r->server->timer, 0);
			sd_event_source_set_enabled(r->server->timer, SD_EVENT_ONESHOT);
		}
	}
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
		{ 400, "Bad Request" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 409, "Conflict" }, { 413, "Content Too Large" }, { 422, "Unprocessable Content" },
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
	if (!s)
		return;
	s->stopping = true;
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->timer);
	MHD_stop_daemon(s->mhd);
	free(s);
}
