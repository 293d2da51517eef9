/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the HTTP server share; nobody else includes it. */
#ifndef DUET_LIB_HTTP_PRIV_H
#define DUET_LIB_HTTP_PRIV_H

#include <microhttpd.h>
#include <sys/queue.h>
#include "http.h"
#include "worker.h"

#define SEGMENTS	4
#define PARSE_APART	(1u << 20)	/* bytes of a body that is parsed and freed in a thread */
#define HEADERS		8	/* of an answer, besides its type */

/* One listening socket: libmicrohttpd with an epoll of its own in the loop. */
struct listener {
	struct http_server *server;
	struct MHD_Daemon *mhd;
	sd_event_source *io, *timer;
	bool tls, local;
	bool kicked;			/* something was resumed, perhaps while it ran */
};

/* struct http_peer - lives as long as it has a connection */
struct http_peer {
	char id[AUTH_ID_SIZE];
	unsigned int connections, streams;
	size_t buffered;		/* bytes of bodies being read */
};

/* Who gets the last part of what is shared: REPORT before OTHER, VITAL before both. */
enum peer_class { PEER_OTHER, PEER_REPORT, PEER_VITAL };

enum conn_phase { CONN_WAITS, CONN_SENDS, CONN_ASKED, CONN_TAKES };

struct http_conn {
	struct http_conn *next, **prev;
	struct listener *listener;
	int fd;
	enum conn_phase phase;
	struct http_peer *of;
	size_t received;		/* bytes of the body of the request that is being read */
	uint64_t since;			/* monotonic µs: in this phase */
	bool served, known, cut;
	bool anonymous;			/* it has shown no certificate, where none is required */
	bool refused;			/* before its body came, which may be on its way */
	struct MHD_Connection *connection;
	struct tls_set *set;		/* that the peer was last verified by; NULL: no TLS */
	int64_t until;			/* seconds since 1970: then its certificate expires */
	struct addr peer;
	char *target;			/* of the request being read: path and query as they came */
	char name[AUTH_ID_SIZE];	/* its identity, as long as a request shows no token */
};

struct http_server {
	sd_event *loop;
	struct listener tcp, local;
	char path[108];			/* of the unix socket, to be removed */
	sd_event_source *sweep;
	const struct http_route *routes;
	const struct auth *auth;
	struct tls *tls;		/* NULL: none */
	bool certificate_optional;
	void *ctx;
	bool stopping;
	TAILQ_HEAD(, http_local) to_do, asked;	/* requests of our own: with a step to do, with their handler */
	sd_event_source *turn;
	struct worker *worker;		/* for large bodies, http_parse.c; NULL: stopping */
	struct http_conn *conns;
	struct http_stream *streams;
	unsigned int n_conns, max_conns;
	void *peers;			/* tree of tsearch() */
	unsigned int n_streams;
	size_t max_bodies;
	size_t buffered;		/* bytes of all bodies being read */
	struct {
		unsigned long accepted, requests, cut, slow, refused, unauthorized;
	} count;
	TAILQ_HEAD(, http_linger) lingering;	/* http_linger.c: the oldest first */
	unsigned int n_lingering;
};

struct http_request {
	struct http_server *server;
	bool local;			/* our own (http_local.c): no connection, and the answer isn't made text */
	struct MHD_Connection *connection;
	struct http_conn *conn;
	struct MHD_Response *response;	/* set: answered */
	const struct http_route *route;
	char id[AUTH_ID_SIZE];		/* who asks */
	rights_t rights;
	unsigned int status;
	bool suspended, too_large, too_many, large;
	bool looked_up;			/* suspended before its body, until its token is known */
	size_t announced;		/* Content-Length; 0: none */
	char *data;
	size_t len, room;
	char *path;			/* segments point into it */
	const char *segment[SEGMENTS];
	unsigned int segments;
	json_t *body;
	const char *method, *url;	/* libmicrohttpd's, live as long as the request */
	struct {
		char *name, *value;
	} header[HEADERS];
	unsigned int headers;
	struct http_stream *stream;	/* set: the answer is one */
};

/* http_server.c */
void conn_phase(struct http_conn *conn, enum conn_phase phase);
void listener_kick(struct listener *l);		/* let it work soon */

/* http_peer.c */
/* peer_get - one connection more of the peer with this identity; NULL: no memory */
struct http_peer *peer_get(struct http_server *s, const char *id);
void peer_put(struct http_server *s, struct http_peer *peer);	/* one less; NULL is fine */
int peer_named(struct http_conn *conn);	/* the connection's name is known now; 0 or -ENOMEM */
enum peer_class peer_class(const struct http_request *r);
/* peer_may_buffer - may so many bytes more of its body be held? */
bool peer_may_buffer(const struct http_request *r, size_t more);

/* http_request.c */
void *request_line(void *ctx, const char *uri, struct MHD_Connection *connection);	/* MHD_OPTION_URI_LOG_CALLBACK */
enum MHD_Result request_on(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
			   const char *version, const char *data, size_t *size, void **state);
void request_done(void *ctx, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code);

/* request_no_more - may who asked no more have what they asked for? */
bool request_no_more(struct http_request *r);
void request_route(struct http_request *r);	/* finds it, or it is answered when dispatched */
void request_dispatch(struct http_request *r);
void request_free(struct http_request *r);	/* what it holds */
/* request_parsed - body: the request's now, NULL: it is no JSON, and the error says where */
void request_parsed(struct http_request *r, json_t *body, const json_error_t *error);

/* request_answered - response is set: to be sent; request_resume - the connection goes on */
void request_answered(struct http_request *r);
void request_resume(struct http_request *r);

/* http_local.c */
int locals_start(struct http_server *s);
void locals_end(struct http_server *s);
void local_answered(struct http_request *r, unsigned int status, json_t *body);	/* takes the reference */
const char *local_query(struct http_request *r, const char *name);
const char *local_target(struct http_request *r);

/* http_parse.c */
int parse_apart(struct http_request *r);	/* ends in request_parsed() */
void parse_free(struct http_server *s, json_t *body);	/* takes the reference */
void parse_drop(void *ctx);	/* of a piece that the server's end has overtaken */

/* http_linger.c */
void linger_start(struct http_server *s, int fd);	/* of a connection that is being closed */
void linger_sweep(struct http_server *s, uint64_t now);	/* ends those that have had their time */

/* http_refusals.c */
/* refusal_log - once a minute for each peer */
void refusal_log(const char *who, const char *why, ...) __attribute__((format(printf, 2, 3)));

/* http_stream.c */
void stream_gone(struct http_stream *st);
void streams_end(struct http_server *s);
void streams_check(struct http_server *s);	/* ends those whose peer has lost the right to it */

/* http_tls.c */
/* tls_demand - the handshake fails without a certificate of our CA */
void tls_demand(struct http_conn *conn);
/* tls_name - the peer's identity by its verified certificate; -EACCES without one */
int tls_name(struct http_conn *conn);
/* tls_no_more - why the peer that was accepted isn't any more, as tls_peer_trouble(); NULL: it is */
const char *tls_no_more(struct http_conn *conn);

#endif
