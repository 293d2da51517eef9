// SPDX-License-Identifier: GPL-2.0
/*
 * The HTTP client: libcurl's multi interface in the program's event loop. Its
 * sockets are in an epoll of its own, as libmicrohttpd's are: sd-event takes one
 * source a turn and asks the kernel about all that are ready each time, which is
 * the square of hundreds when so many agents answer at once.
 */
#include "http.h"
#include "clock.h"
#include "json_budget.h"
#include "log.h"
#include "worker.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READY_MAX 32
#define SENT_MIN (64u << 10)	/* bytes that libcurl writes at a time, as long as nobody says otherwise */
#define SENT_MAX (2u << 20)	/* what it takes: a state of tens of MB isn't to take hundreds of turns of the loop */
#define TURN_USEC 5000	/* then others in the loop have their turn */
#define IDLE_MAX 64	/* handles kept for the next calls */
#define KEPT_MAX 4096	/* connections kept for the next call: libcurl's own limit, four times the calls under way, would
			 * close those to 1,800 muxes after every question
			 */

#define APART	(64u << 10)	/* bytes of an answer that is parsed, and freed, in a thread */
#define NODES_MAX (16u << 20)	/* values of an answer, if its caller says no less */

struct http_client {
	sd_event *loop;
	struct worker *worker;
	sd_event_source *timer, *io;
	int epoll;
	CURLM *multi;
	struct http_call *calls;	/* pending, doubly linked */
	CURL *idle[IDLE_MAX];
	unsigned int n_idle;
	const struct tls *tls;
	bool stopping;
};

struct http_call {
	struct http_client *client;
	struct http_call *next, **prev;
	CURL *easy;
	struct http_easy how;
	struct curl_slist *headers;
	char *request;
	char *data;
	size_t len, room;
	size_t max, nodes;		/* of the answer */
	json_t *body;			/* the answer, parsed */
	unsigned int status, usec;
	bool too_large;
	bool large;			/* what it sends */
	bool parsing;			/* the thread has it */
	char broken[128];		/* how the answer breaks the contract; "": it doesn't */
	char error[CURL_ERROR_SIZE];
	void (*done)(const struct http_result *result, void *ctx);
	void *ctx;
};

/* easy_put - a handle is dear to make; what it was told is forgotten, but a large buffer it would keep */
static void easy_put(struct http_client *client, CURL *easy, bool large)
{
	curl_multi_remove_handle(client->multi, easy);
	if (client->n_idle == IDLE_MAX || client->stopping || large) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	client->idle[client->n_idle++] = easy;
}

static CURL *easy_get(struct http_client *client)
{
	return client->n_idle ? client->idle[--client->n_idle] : curl_easy_init();
}

static void call_free(struct http_call *call)
{
	easy_put(call->client, call->easy, call->large);
	http_easy_end(&call->how);
	curl_slist_free_all(call->headers);
	if (call->next)
		call->next->prev = call->prev;
	*call->prev = call->next;
	free(call->request);
	free(call->data);
	free(call);
}

/* What the thread does: one of the two. */
struct apart {
	struct http_call *call;		/* its answer is to be parsed */
	json_t *body;			/* it is to be freed */
};

static void parse(struct http_call *call);
static void complete(struct http_call *call, const char *error);

static void apart_work(void *ctx)
{
	struct apart *a = ctx;

	if (a->call)
		parse(a->call);
	json_decref(a->body);
}

static void apart_done(void *ctx)
{
	struct apart *a = ctx;

	if (a->call) {
		a->call->parsing = false;
		complete(a->call, NULL);
	}
	free(a);
}

/* apart_drop - the client stops: calls are freed with the others */
static void apart_drop(void *ctx)
{
	free(ctx);
}

static bool apart(struct http_client *client, struct http_call *call, json_t *body)
{
	struct apart *a = malloc(sizeof(*a));

	if (!a)
		return false;
	*a = (struct apart){ call, body };
	if (!worker_do(client->worker, apart_work, apart_done, a))
		return true;
	free(a);
	return false;
}

/* complete - status, body and error are there */
static void complete(struct http_call *call, const char *error)
{
	struct http_client *client = call->client;
	struct http_result result = { .status = call->status, .usec = call->usec, .error = error, .body = call->body,
				      .easy = call->easy };
	json_t *body = call->body;
	bool large = call->len > APART;
	char text[256];

	if (call->broken[0]) {
		result.status = 0;
		result.error = result.broken = call->broken;
	} else if (!error && (call->status < 200 || call->status > 299)) {
		result.error = json_string_value(json_object_get(body, "detail"));
		if (!result.error) {
			snprintf(text, sizeof(text), "HTTP status %u", call->status);
			result.error = text;
		}
	}
	if (call->done)
		call->done(&result, call->ctx);
	call_free(call);
	if (!large || !body || !apart(client, NULL, body))
		json_decref(body);
}

const char *http_result_header(const struct http_result *result, const char *name)
{
	struct curl_header *header;

	if (!result->easy || curl_easy_header(result->easy, name, 0, CURLH_HEADER, -1, &header))
		return NULL;
	return header->value;
}

static void parse(struct http_call *call)
{
	json_error_t error;
	int ret = json_budget(call->data, call->len, call->nodes);

	if (ret == -ELOOP)
		snprintf(call->broken, sizeof(call->broken), "its answer is nested deeper than %d", JSON_DEPTH_MAX);
	else if (ret)
		snprintf(call->broken, sizeof(call->broken), "its answer has more than %zu values", call->nodes);
	else
		call->body = json_loadb(call->data, call->len, 0, &error);
	/* an error page of somebody in between is no broken peer */
	if (!ret && !call->body && call->status / 100 == 2)
		snprintf(call->broken, sizeof(call->broken), "its answer is not JSON: line %d, column %d: %.60s", error.line, error.column,
			 error.text);
}

static void call_finish(struct http_call *call, CURLcode code)
{
	curl_off_t usec = 0;
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &usec);
	call->usec = usec;
	if (call->too_large) {
		snprintf(call->broken, sizeof(call->broken), "its answer is larger than %zu bytes", call->max);
		complete(call, NULL);
	} else if (code != CURLE_OK) {
		complete(call, http_easy_error(&call->how, code, call->error));
	} else {
		call->status = status;
		call->parsing = call->len > APART && apart(call->client, call, NULL);
		if (call->parsing)
			return;
		if (call->len)
			parse(call);
		complete(call, NULL);
	}
}

static void reap(struct http_client *client)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(client->multi, &left))) {
		struct http_call *call;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
		call_finish(call, msg->data.result);
	}
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct epoll_event ready[READY_MAX];
	struct http_client *client = ctx;
	uint64_t end = mono_usec() + TURN_USEC;
	int running, n, i;

	do {	/* libcurl reads 16 KiB at a time */
		n = epoll_wait(client->epoll, ready, READY_MAX, 0);
		for (i = 0; i < n; i++) {
			int mask = 0;

			if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				mask |= CURL_CSELECT_IN;
			if (ready[i].events & EPOLLOUT)
				mask |= CURL_CSELECT_OUT;
			/* of one that was closed meanwhile libcurl knows nothing */
			curl_multi_socket_action(client->multi, ready[i].data.fd, mask, &running);
		}
		reap(client);
	} while (n > 0 && mono_usec() < end);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct http_client *client = ctx;
	int running;

	curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap(client);
	return 0;
}

static int curl_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socketp)
{
	struct epoll_event event = { .data.fd = fd };
	struct http_client *client = ctx;

	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(client->epoll, socketp ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event))
		return -1;
	curl_multi_assign(client->multi, fd, client);	/* it is in the epoll */
	return 0;
}

static int curl_timer(CURLM *multi, long ms, void *ctx)
{
	struct http_client *client = ctx;

	if (client->stopping)
		return 0;
	if (ms < 0) {
		sd_event_source_set_enabled(client->timer, SD_EVENT_OFF);
		return 0;
	}
	sd_event_source_set_time_relative(client->timer, (uint64_t)ms * 1000);
	sd_event_source_set_enabled(client->timer, SD_EVENT_ONESHOT);
	return 0;
}

void http_client_tls(struct http_client *client, const struct tls *tls)
{
	client->tls = tls;
}

int http_client_start(sd_event *loop, struct http_client **out)
{
	struct http_client *client = calloc(1, sizeof(*client));

	if (!client || curl_global_init(CURL_GLOBAL_DEFAULT) || worker_start(loop, &client->worker) < 0)
		goto err_free;
	client->loop = loop;
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll < 0)
		goto err_free;
	client->multi = curl_multi_init();
	if (!client->multi)
		goto err_epoll;
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_MAX);
	if (sd_event_add_time_relative(loop, &client->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, client) < 0 ||
	    sd_event_add_io(loop, &client->io, client->epoll, EPOLLIN, on_io, client) < 0)
		goto err_multi;
	sd_event_source_set_enabled(client->timer, SD_EVENT_OFF);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, curl_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, curl_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	*out = client;
	return 0;

err_multi:
	sd_event_source_disable_unref(client->timer);
	curl_multi_cleanup(client->multi);
err_epoll:
	close(client->epoll);
err_free:
	if (client)
		worker_stop(client->worker, apart_drop);
	free(client);
	return -ENOMEM;
}

void http_client_stop(struct http_client *client)
{
	if (!client)
		return;
	client->stopping = true;
	worker_stop(client->worker, apart_drop);
	while (client->calls)
		call_free(client->calls);
	while (client->n_idle)
		curl_easy_cleanup(client->idle[--client->n_idle]);
	curl_multi_cleanup(client->multi);
	sd_event_source_disable_unref(client->timer);
	sd_event_source_disable_unref(client->io);
	close(client->epoll);
	free(client);
}

static size_t on_data(char *data, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	size_t len = size * n, room = call->room ? call->room : 4096;
	char *more;

	if (call->len + len > call->max) {
		call->too_large = true;
		return 0;
	}
	if (call->len + len > call->room) {
		while (room < call->len + len)
			room *= 2;
		more = realloc(call->data, room);
		if (!more)
			return 0;
		call->data = more;
		call->room = room;
	}
	memcpy(call->data + call->len, data, len);
	call->len += len;
	return len;
}

/* call_new - text is owned by the call from here on, and freed if there comes none */
static struct http_call *call_new(struct http_client *client, const char *method, const char *url, char *text,
				  const char *const *headers, unsigned int timeout_ms,
				  void (*done)(const struct http_result *result, void *ctx), void *ctx)
{
	struct http_call *call = calloc(1, sizeof(*call));
	size_t len;

	if (!call)
		goto err_text;
	call->client = client;
	call->max = DUET_HTTP_BODY_MAX;
	call->nodes = NODES_MAX;
	call->done = done;
	call->ctx = ctx;
	call->easy = easy_get(client);
	if (!call->easy)
		goto err_free;
	for (; headers && *headers; headers++)
		call->headers = curl_slist_append(call->headers, *headers);
	if (text) {
		len = strlen(text);
		call->large = len > SENT_MIN;
		if (call->large)
			curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)(len < SENT_MAX ? len : SENT_MAX));
		call->request = text;
		call->headers = curl_slist_append(call->headers, "Content-Type: application/json");
		/* no "Expect: 100-continue": it costs a round trip, or a second */
		call->headers = curl_slist_append(call->headers, "Expect:");
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->request);
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	}
	if (call->headers)
		curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
	http_easy_url(call->easy, url, client->tls, &call->how);	/* a bad URL is libcurl's answer */
	curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(call->easy, CURLOPT_PATH_AS_IS, 1L);
	/* names are asked for with each new connection, which are few: libcurl looks through its whole cache of them
	 * after every call
	 */
	curl_easy_setopt(call->easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	curl_easy_setopt(call->easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
	if (curl_multi_add_handle(client->multi, call->easy))
		goto err_easy;
	call->next = client->calls;
	call->prev = &client->calls;
	if (call->next)
		call->next->prev = &call->next;
	client->calls = call;
	return call;

err_easy:
	http_easy_end(&call->how);
	curl_slist_free_all(call->headers);
	curl_easy_cleanup(call->easy);
err_free:
	free(call);
err_text:
	free(text);
	return NULL;
}

struct http_call *http_call_text(struct http_client *client, const char *method, const char *url,
				 const char *body, const char *const *headers, unsigned int timeout_ms,
				 void (*done)(const struct http_result *result, void *ctx), void *ctx)
{
	char *text = body ? strdup(body) : NULL;

	return body && !text ? NULL : call_new(client, method, url, text, headers, timeout_ms, done, ctx);
}

struct http_call *http_call(struct http_client *client, const char *method, const char *url,
			    json_t *body, unsigned int timeout_ms,
			    void (*done)(const struct http_result *result, void *ctx), void *ctx)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(HTTP_DIGITS)) : NULL;
	bool lost = body && !text;

	json_decref(body);
	return lost ? NULL : call_new(client, method, url, text, NULL, timeout_ms, done, ctx);
}

void http_call_budget(struct http_call *call, size_t bytes, size_t values)
{
	if (!call)
		return;
	call->max = bytes < DUET_HTTP_BODY_MAX ? bytes : DUET_HTTP_BODY_MAX;
	call->nodes = values;
}

void http_cancel(struct http_call *call)
{
	if (!call)
		return;
	if (call->parsing)	/* the thread has it: it ends unheard */
		call->done = NULL;
	else
		call_free(call);
}
