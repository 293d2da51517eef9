// SPDX-License-Identifier: GPL-2.0
/*
 * Probes by HTTPS: libcurl's multi interface in the event loop. Whether the
 * certificate is one to be trusted is the client's question, not a check's: a
 * service is probed by an address that its certificate need not name.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

struct curl_probes {
	sd_event *loop;
	sd_event_source *timer;
	CURLM *multi;
};

static void reap(struct curl_probes *p)
{
	char why[160];
	struct check *c;
	CURLMsg *msg;
	int left, ret;

	while ((msg = curl_multi_info_read(p->multi, &left))) {
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c);
		/* an answer longer than what is looked at ends in a write error: enough of it is there */
		if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && c->len)) {
			ret = probe_answer(c, true, why, sizeof(why));
			check_result(c, ret > 0 ? "" : why);
		} else {
			check_failed(c, "HTTPS: %s", curl_easy_strerror(code));
		}
	}
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct curl_probes *p = ctx;
	int running, mask = 0;

	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		mask |= CURL_CSELECT_IN;
	if (revents & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	curl_multi_socket_action(p->multi, fd, mask, &running);
	reap(p);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct curl_probes *p = ctx;
	int running;

	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap(p);
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socketp)
{
	sd_event_source *source = socketp;
	struct curl_probes *p = ctx;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
	if (sd_event_add_io(p->loop, &source, fd, events, on_io, p) < 0)
		return -1;
	curl_multi_assign(p->multi, fd, source);
	return 0;
}

static int on_timeout(CURLM *multi, long ms, void *ctx)
{
	struct curl_probes *p = ctx;

	if (ms < 0)
		return sd_event_source_set_enabled(p->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	sd_event_source_set_time_relative(p->timer, ms * 1000ull);
	return sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

static struct curl_probes *probes_start(sd_event *loop)
{
	struct curl_probes *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->multi = curl_multi_init();
	if (!p->multi || sd_event_add_time(loop, &p->timer, CLOCK_MONOTONIC, 0, 1, on_timer, p) < 0) {
		curl_multi_cleanup(p->multi);
		free(p);
		return NULL;
	}
	sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	return p;
}

void curl_probes_stop(struct curl_probes *p)
{
	if (!p)
		return;
	curl_multi_cleanup(p->multi);
	sd_event_source_disable_unref(p->timer);
	free(p);
}

static curl_socket_t make_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	int fd = probe_socket(ctx);

	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* on_data - headers and body alike, as much as is looked at */
static size_t on_data(char *data, size_t size, size_t n, void *ctx)
{
	struct check *c = ctx;
	size_t room = sizeof(c->text) - 1 - c->len;

	n *= size;
	memcpy(c->text + c->len, data, n < room ? n : room);
	c->len += n < room ? n : room;
	return n <= room ? n : 0;
}

static void start(struct check *c)
{
	char url[400], vip[ADDR_STRLEN], host[200];
	struct addr at = to_addr(&c->def.key.vip);
	struct curl_slist *headers = NULL;
	bool v4 = addr_is_v4(&at);
	CURL *easy;

	if (!c->all->curl)
		c->all->curl = probes_start(c->all->loop);
	easy = c->all->curl ? curl_easy_init() : NULL;
	if (!easy) {
		check_failed(c, "can't probe: no memory");
		return;
	}
	c->easy = easy;
	addr_str(&at, vip);
	snprintf(url, sizeof(url), v4 ? "https://%s:%u%s" : "https://[%s]:%u%s", vip, c->def.probe.port, c->def.probe.path);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	if (c->def.probe.host[0]) {
		snprintf(host, sizeof(host), "Host: %s", c->def.probe.host);
		headers = curl_slist_append(NULL, host);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	}
	curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "duet-host-agent");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, make_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, c);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
	c->headers = headers;
	if (curl_multi_add_handle(c->all->curl->multi, easy) != CURLM_OK)
		check_failed(c, "can't probe: libcurl refuses");
}

static void cancel(struct check *c)
{
	if (!c->easy)
		return;
	curl_multi_remove_handle(c->all->curl->multi, c->easy);
	curl_easy_cleanup(c->easy);
	curl_slist_free_all(c->headers);
	c->easy = NULL;
	c->headers = NULL;
}

static const char *awaits(const struct check *c)
{
	return c->len ? "end of the HTTPS answer" : "HTTPS answer";
}

const struct probe_ops probe_https = { start, cancel, awaits };
