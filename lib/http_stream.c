// SPDX-License-Identifier: GPL-2.0
/*
 * An answer without an end: text sent as it comes. The connection sleeps while
 * there is none.
 */
#include "http_priv.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

struct http_stream {
	struct http_request *req;
	struct http_stream *next, **prev;
	char *data;
	size_t from, len, room;		/* data[from..len) waits */
	bool suspended, ended;
	void (*closed)(void *ctx);
	void *ctx;
};

void stream_gone(struct http_stream *st)
{
	void (*closed)(void *ctx) = st->closed;
	void *ctx = st->ctx;

	if (st->next)
		st->next->prev = st->prev;
	*st->prev = st->next;
	st->req->stream = NULL;
	st->req->conn->of->streams--;
	st->req->server->n_streams--;
	free(st->data);
	free(st);
	if (closed)
		closed(ctx);
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
	request_resume(st->req);
}

struct http_stream *http_stream(struct http_request *r, const char *type, void (*closed)(void *ctx), void *ctx)
{
	struct http_stream *st;

	/* without TLS a peer is an address, which may be a proxy's */
	if (r->conn->listener->tls && r->conn->of->streams >= DUET_HTTP_PEER_STREAMS) {
		http_problem(r, 503, NULL, "%s has %d streams already", r->id, DUET_HTTP_PEER_STREAMS);
		return NULL;
	}
	/* streams wait for ever: a part of all connections stays for requests */
	if (r->server->n_streams >= r->server->max_conns / 4 && peer_class(r) != PEER_VITAL) {
		http_problem(r, 503, NULL, "too many streams at once");
		return NULL;
	}
	st = calloc(1, sizeof(*st));
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
	r->conn->of->streams++;
	r->server->n_streams++;
	r->stream = st;
	r->status = 200;
	request_answered(r);
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
	conn_phase(st->req->conn, CONN_TAKES);
	stream_wake(st);
}

void streams_check(struct http_server *s)
{
	struct http_stream *st;

	for (st = s->streams; st; st = st->next) {
		if (st->ended || !request_no_more(st->req))
			continue;
		log_notice("a stream of %s is ended: its right is gone", st->req->id);
		http_stream_end(st);
	}
}

void streams_end(struct http_server *s)
{
	struct http_stream *st;

	for (st = s->streams; st; st = st->next)
		http_stream_end(st);
}
