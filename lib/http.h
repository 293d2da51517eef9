/* SPDX-License-Identifier: GPL-2.0 */
/*
 * REST over HTTP inside an sd-event loop: a server (libmicrohttpd) and a
 * client (libcurl multi). One thread; every callback runs in the loop.
 */
#ifndef DUET_LIB_HTTP_H
#define DUET_LIB_HTTP_H

#include <jansson.h>
#include <systemd/sd-event.h>
#include "conf.h"

#define HTTP_BODY_MAX (64u << 20)

struct http_server;
struct http_request;	/* one request being answered */

/* A route: method and path pattern; "*" stands for one path segment
 * ("/v1/vips/" "*"). The handler answers exactly once, now or later, with one
 * of http_reply*(). body is the parsed JSON or NULL; borrowed until the answer.
 */
struct http_route {
	const char *method, *path;
	void (*handle)(struct http_request *req, json_t *body, void *ctx);
};

/* Ends with an entry whose method is NULL; unmatched paths get 404, a known
 * path with another method 405, a body that is no JSON 400 with the place.
 */
int http_server_start(sd_event *loop, const struct conf_listen *listen,
		      const struct http_route *routes, void *ctx,
		      struct http_server **server, struct err *e);
void http_server_stop(struct http_server *server);	/* NULL is fine; pending requests are cut */

/* n-th segment that a "*" matched, from 0; borrowed */
const char *http_segment(struct http_request *req, unsigned int n);
/* query argument or NULL; borrowed */
const char *http_query(struct http_request *req, const char *name);
/* a header of the request or NULL; method, path; all borrowed until the answer */
const char *http_header(struct http_request *req, const char *name);
const char *http_method(struct http_request *req);
const char *http_path(struct http_request *req);
/* http_target - path and query as they came, escaped; to be freed; NULL: no memory */
char *http_target(struct http_request *req);
/* peer address of the request */
const struct addr *http_peer(struct http_request *req);

/* http_reply_header - a header of the answer to come, before any http_reply*(); copied */
void http_reply_header(struct http_request *req, const char *name, const char *value);
/* http_reply - answer with JSON; takes the reference to body (NULL: empty) */
void http_reply(struct http_request *req, unsigned int status, json_t *body);
/* http_reply_text - answer with text of the given content type */
void http_reply_text(struct http_request *req, unsigned int status, const char *type, const char *text);
/* http_problem - answer with problem+json {"title", "status", "detail"}; extra
 * (may be NULL, reference taken) adds members.
 */
void http_problem(struct http_request *req, unsigned int status, json_t *extra, const char *detail, ...)
	__attribute__((format(printf, 4, 5)));

/* A stream is an answer without an end: 200, text sent as it comes (server-sent
 * events). closed(ctx) is called once, when the peer has gone, was too slow
 * (HTTP_STREAM_MAX bytes waiting for it) or the server stops; the stream is
 * then no more.
 */
#define HTTP_STREAM_MAX (1u << 20)
struct http_stream;
struct http_stream *http_stream(struct http_request *req, const char *type, void (*closed)(void *ctx), void *ctx);
void http_stream_send(struct http_stream *stream, const char *text);
void http_stream_end(struct http_stream *stream);	/* what was sent still arrives */

struct http_client;
struct http_call;

int http_client_start(sd_event *loop, struct http_client **client);
void http_client_stop(struct http_client *client);	/* pending calls are dropped, no callback */

/* Result of a call: status 0 and a sentence in error when no answer came. */
struct http_result {
	unsigned int status;
	json_t *body;		/* borrowed; NULL if none or not JSON */
	const char *error;	/* transport error or problem detail; NULL if 2xx */
	unsigned int usec;	/* how long it took */
};

/* http_call - method on url with JSON body (reference taken, may be NULL);
 * done is called exactly once unless the call is cancelled. Connections are
 * kept and reused, TCP_NODELAY on. Returns the call, or NULL (no memory).
 */
struct http_call *http_call(struct http_client *client, const char *method, const char *url,
			    json_t *body, unsigned int timeout_ms,
			    void (*done)(const struct http_result *result, void *ctx), void *ctx);
/* http_call_text - as http_call(), the body (may be NULL; copied) as text of
 * its own making, with headers "Name: value" of its own (NULL-ended, or NULL)
 */
struct http_call *http_call_text(struct http_client *client, const char *method, const char *url,
				 const char *body, const char *const *headers, unsigned int timeout_ms,
				 void (*done)(const struct http_result *result, void *ctx), void *ctx);
void http_cancel(struct http_call *call);

#endif
