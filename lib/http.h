/* SPDX-License-Identifier: GPL-2.0 */
/*
 * REST over HTTP inside an sd-event loop: a server (libmicrohttpd) and a
 * client (libcurl multi). One thread; every callback runs in the loop.
 *
 * Over TCP it is TLS, with certificates of one CA on both ends; plain only if
 * the configuration says "insecure = yes". Locally a unix socket: who may open
 * it is its folder's and its own permissions' (0600) matter.
 */
#ifndef DUET_LIB_HTTP_H
#define DUET_LIB_HTTP_H

#include <duet/limits.h>
#include <jansson.h>
#include <stddef.h>
#include <systemd/sd-event.h>
#include "auth.h"
#include "conf.h"
#include "tls.h"

struct metrics;

/* What a daemon's section says of REST: where it listens, and who it is, as
 * server and as client.
 */
struct http_conf {
	struct conf_listen listen;
	struct tls_conf tls;
	bool insecure;
	bool certificate_optional;	/* a client without one has the rights of its token */
	size_t bodies;			/* bytes of all bodies the server reads at a time; 0: DUET_HTTP_BODIES_MAX */
	unsigned int connections;	/* to the server, above which the longest idle one is cut; 0: DUET_HTTP_CONNECTIONS */
};

/* HTTP_CONF_KEYS - its keys, for a table of conf_key: section, struct, member */
#define HTTP_CONF_KEYS(sec, into, m)	\
	{ .section = sec, .key = "listen", .type = CONF_ADDR_PORT, .offset = offsetof(into, m.listen), .required = true }, \
	{ .section = sec, .key = "tls-cert", .type = CONF_STR, .offset = offsetof(into, m.tls.cert) }, \
	{ .section = sec, .key = "tls-key", .type = CONF_STR, .offset = offsetof(into, m.tls.key) }, \
	{ .section = sec, .key = "tls-ca", .type = CONF_STR, .offset = offsetof(into, m.tls.ca) }, \
	{ .section = sec, .key = "tls-crl", .type = CONF_STR, .offset = offsetof(into, m.tls.crl) }, \
	{ .section = sec, .key = "insecure", .type = CONF_BOOL, .offset = offsetof(into, m.insecure) }

/* http_conf_check - what no single key shows: TCP without certificates, files
 * that can't be read, a key that isn't the certificate's. For --check-config.
 */
int http_conf_check(const struct http_conf *conf, struct err *e);

struct http_server;
struct http_request;	/* one request being answered */

/* A route: method and path pattern; "*" stands for one path segment
 * ("/v1/vips/" "*"). The handler answers exactly once, now or later, with one
 * of http_reply*(). body is the parsed JSON or NULL; borrowed until the answer.
 */
struct http_route {
	const char *method, *path;
	void (*handle)(struct http_request *req, json_t *body, void *ctx);
	enum right right;	/* that the peer needs; a table with a route without one is refused at start */
	size_t body_max;	/* bytes; 0: DUET_HTTP_BODY_DEFAULT */
	const void *own;	/* of who made the table; http_route_own() */
	bool deferrable;	/* a token that is another server's to look up is looked up there (auth_resolve_t) */
};

/* Ends with an entry whose method is NULL; unmatched paths get 404, a known
 * path with another method 405, a body that is no JSON 400 with the place.
 * All of that is for peers with a role: others get 401 or 403 for every path,
 * before a byte of the body is read, and the connection is closed.
 * Every server also has GET and PUT /v1/log ({"level": "debug"}), GET /v1/routes and GET /v1/whoami.
 * *conf is only looked at during the call; *tls (NULL: none) and *auth live as long as the server.
 */
int http_server_start(sd_event *loop, const struct http_conf *conf, struct tls *tls, const struct auth *auth,
		      const struct http_route *routes, void *ctx,
		      struct http_server **server, struct err *e);
void http_server_stop(struct http_server *server);	/* NULL is fine; pending requests are cut */
/* http_server_metrics - connections, and what was cut and refused, as families duet_http_* */
void http_server_metrics(const struct http_server *server, struct metrics *m);

/* n-th segment that a "*" matched, from 0; borrowed */
const char *http_segment(struct http_request *req, unsigned int n);
/* query argument or NULL; borrowed */
const char *http_query(struct http_request *req, const char *name);
const void *http_route_own(const struct http_request *req);
/* a header of the request or NULL; method, path; all borrowed until the answer */
const char *http_header(struct http_request *req, const char *name);
const char *http_method(struct http_request *req);
const char *http_path(struct http_request *req);
/* http_target - path and query, byte for byte as they came; borrowed */
const char *http_target(struct http_request *req);
/* peer address of the request; none on a unix socket */
const struct addr *http_peer(struct http_request *req);
/* http_peer_name - the identity of the peer, typed as auth.h says: "cert:alice", "uid:0", "token:ci"; borrowed */
const char *http_peer_name(struct http_request *req);
/* http_carrier - who carries the request of another identity: its connection's own; NULL: the peer speaks for itself */
const char *http_carrier(const struct http_request *req);
/* http_resolved - what auth_resolve_t found: rights of a token, and its identity; 0: it is none */
void http_resolved(struct http_request *req, rights_t rights, const char *id);
/* http_may - does the peer have this right? */
bool http_may(const struct http_request *req, enum right right);
/* http_role - the name of the peer's role, as auth_role_of() */
const char *http_role(const struct http_request *req);
/* http_refuse - answer 401 or 403: the peer lacks right */
void http_refuse(struct http_request *req, enum right right);

/* http_is_local - the program itself asks (http_local()) */
bool http_is_local(const struct http_request *req);

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

/* Digits of a number with a fraction in what a client sends: what was written with so many or fewer comes out
 * the same, where jansson's own 17 make 0.10000000000000001 of 0.1 and a model of the fabric twice as long.
 */
#define HTTP_DIGITS	15

struct http_client;
struct http_call;

int http_client_start(sd_event *loop, struct http_client **client);
/* http_client_tls - who we are and whom we trust, for https:// URLs from now on. Until then, and if tls is NULL, they are
 * refused: what the system trusts is never trusted here.
 */
void http_client_tls(struct http_client *client, const struct tls *tls);
void http_client_stop(struct http_client *client);	/* pending calls are dropped, no callback */

/* Result of a call: status 0 and a sentence in error when no answer came. */
struct http_result {
	unsigned int status;
	json_t *body;		/* borrowed; NULL if none or not JSON */
	const char *error;	/* transport error or problem detail; NULL if 2xx */
	const char *broken;	/* the same as error where an answer came that can't be one: too large, no JSON; status 0 */
	unsigned int usec;	/* how long it took */
	void *easy;		/* the CURL *, for http_result_header(); NULL: it was no call over a network */
};

/* http_result_header - a header of the answer; NULL: it has none of that name. Valid until the next call of this. */
const char *http_result_header(const struct http_result *result, const char *name);

/* http_call - method on url with JSON body (reference taken, may be NULL);
 * done is called exactly once unless the call is cancelled. Connections are
 * kept and reused, TCP_NODELAY on. Returns the call, or NULL (no memory).
 * URLs: http://, https://, and unix:/run/duet/mux.sock/v1/status, where the
 * socket's name ends in ".sock".
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
/* http_call_budget - bytes and JSON values that the answer may have, at once after http_call(); call may be NULL. A
 * large answer is parsed and freed in a thread.
 */
void http_call_budget(struct http_call *call, size_t bytes, size_t values);
void http_cancel(struct http_call *call);

/* http_local - a request of the program to its own server: target is path and query, escaped as in a URL; body
 * (reference taken, may be NULL) and the answer are handed over as they are, and belong to nobody alone: whoever keeps
 * them changes nothing in them. done is called exactly once, never from in here, unless the server stops. A route that
 * answers with a stream can't be asked so. 0, or -ENOMEM and done isn't called
 */
int http_local(struct http_server *server, const char *method, const char *target, json_t *body,
	       void (*done)(const struct http_result *result, void *ctx), void *ctx);

/* http_url_is - is it a URL of a kind that http_call() takes */
bool http_url_is(const char *url);
bool http_url_is_tls(const char *url);

/* struct http_easy - how a CURL * speaks, and why it refused to */
struct http_easy {
	void *easy;
	struct tls_set *set;
	const struct tls *tls;
	char why[160];
};

/* http_easy_url - make a CURL * (as easy) speak with url as http_call() would, for callers that have no loop. *how lives
 * as long as the CURL *, its parts until http_easy_end(). tls may be NULL. 0 or -errno
 */
int http_easy_url(void *easy, const char *url, const struct tls *tls, struct http_easy *how);
void http_easy_end(struct http_easy *how);
/* http_easy_error - the sentence for a CURLcode other than CURLE_OK; text: what CURLOPT_ERRORBUFFER holds */
const char *http_easy_error(const struct http_easy *how, int code, const char *text);

/* An answer as it comes in. Zeroed at first; data is the caller's to free. */
struct http_text {
	char *data;	/* with a final 0; NULL: nothing came */
	size_t len;
};

/* http_easy_text - CURLOPT_WRITEFUNCTION whose CURLOPT_WRITEDATA is a struct http_text * */
size_t http_easy_text(char *data, size_t size, size_t n, void *text);

#endif
