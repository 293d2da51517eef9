// SPDX-License-Identifier: GPL-2.0
/* duetctl's connection to the controller: one request after the other. */
#include "duetctl.h"
#include "out.h"

#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE	    1000
#define CONNECT_MS  5000L
#define TIMEOUT_MS  120000L
#define SILENCE_S   45 /* a stream has a comment every 15 s at least */

/* One handle for the life of the program, so that --wait reuses the connection. */
static CURL *handle;
static struct http_easy how;
static char error[CURL_ERROR_SIZE];

static int refused(const struct ctl *c, const char *method, const char *path, long status,
		   json_t *answer)
{
	const char *detail = json_string_value(json_object_get(answer, "detail"));

	if (detail)
		fprintf(stderr, "duetctl: %s\n", detail);
	else
		fprintf(stderr, "duetctl: %s%s answered %s with status %ld\n", c->url, path, method,
			status);
	return CTL_REFUSED;
}

/* hint - what such an end of a conversation usually means */
static const char *hint(const struct ctl *c, CURLcode code)
{
	bool tls = !strncmp(c->url, "https://", 8);

	switch (code) {
	case CURLE_SSL_CONNECT_ERROR:
		return ": does it speak http:// perhaps, or not know the CA of our certificate?";
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return tls ? ": does it know the CA of our certificate?" : ": does it speak https:// perhaps?";
	case CURLE_PEER_FAILED_VERIFICATION:
		return ": its certificate is of another CA than tls-ca, or of another name than the URL's";
	default:
		return "";
	}
}

static int unreachable(const struct ctl *c, CURLcode code)
{
	fprintf(stderr, "duetctl: controller %s: %s%s\n", c->url, http_easy_error(&how, code, error), hint(c, code));
	return CTL_UNREACHABLE;
}

/* prepare - a handle for path, and headers to be freed */
static int prepare(const struct ctl *c, const char *path, struct curl_slist **headers)
{
	char url[2048], text[320];

	if (!handle)
		handle = curl_easy_init();
	else
		curl_easy_reset(handle);
	if (!handle) {
		fputs("duetctl: no memory\n", stderr);
		return CTL_REFUSED;
	}
	error[0] = 0;
	snprintf(url, sizeof(url), "%.900s%.1100s", c->url, path);
	http_easy_end(&how);
	http_easy_url(handle, url, c->tls, &how);
	curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L); /* a name may be ".." */
	curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	if (c->token) {
		snprintf(text, sizeof(text), "Authorization: Bearer %s", c->token);
		*headers = curl_slist_append(*headers, text);
	}
	return CTL_OK;
}

int ctl_call(const struct ctl *c, const char *method, const char *path, json_t *body,
	     json_t **answer)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct curl_slist *headers = NULL;
	struct http_text reply = {};
	json_t *json = NULL;
	long status = 0;
	CURLcode code;
	int ret;

	ret = prepare(c, path, &headers);
	if (ret)
		goto out;
	curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, http_easy_text);
	curl_easy_setopt(handle, CURLOPT_WRITEDATA, &reply);
	curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	if (body) {
		headers = curl_slist_append(headers, "Content-Type: application/json");
		headers = curl_slist_append(headers, "Expect:");
		curl_easy_setopt(handle, CURLOPT_POSTFIELDS, text ? text : "");
	}
	curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	code = curl_easy_perform(handle);
	if (code != CURLE_OK) {
		ret = unreachable(c, code);
		goto out;
	}
	curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	json = reply.len ? json_loads(reply.data, 0, NULL) : NULL;
	if (!c->json || status / 100 != 2)	/* as JSON it is escaped by JSON's own rules */
		out_safe(json);
	if (status / 100 != 2) {
		ret = refused(c, method, path, status, json);
		goto out;
	}
	if (answer)
		*answer = json ? json_incref(json) : json_object();
out:
	json_decref(json);
	json_decref(body);
	curl_slist_free_all(headers);
	free(text);
	free(reply.data);
	return ret;
}

/* next_path - the page after this one */
static void next_path(char *buf, size_t size, const char *path, unsigned int limit, json_t *next)
{
	char number[24], *after = NULL;

	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(next));
	if (next)
		after = ctl_escape(json_is_string(next) ? json_string_value(next) : number);
	snprintf(buf, size, "%s%climit=%u%s%s", path, strchr(path, '?') ? '&' : '?', limit, after ? "&after=" : "",
		 after ? after : "");
	free(after);
}

int ctl_list(const struct ctl *c, const char *path, const char *key, unsigned int most, json_t **answer)
{
	json_t *all = NULL, *list = NULL, *page, *next = NULL;
	char at[512];
	int ret;

	do {
		size_t have = json_array_size(list);

		next_path(at, sizeof(at), path, most && most - have < PAGE ? most - have : PAGE, next);
		ret = ctl_call(c, "GET", at, NULL, &page);
		json_decref(next);
		if (ret) {
			json_decref(all);
			return ret;
		}
		next = json_incref(json_object_get(page, "next"));
		if (!all) {
			all = page;
			list = json_object_get(all, key);
		} else {
			json_array_extend(list, json_object_get(page, key));
			json_decref(page);
		}
		if (json_array_size(list) == have)
			break;
	} while (next && (!most || json_array_size(list) < most));
	json_decref(next);
	json_object_del(all, "next");
	*answer = all;
	return CTL_OK;
}

/* struct piece - a stream's hands: whom it goes to, and when it last said something */
struct piece {
	bool (*got)(const char *data, size_t len, void *ctx);
	void *ctx;
	time_t heard;
	bool enough;
	struct http_text refusal;
};

static size_t on_piece(char *data, size_t size, size_t n, void *ctx)
{
	struct piece *p = ctx;
	long status = 0;

	p->heard = time(NULL);
	curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 != 2)
		return http_easy_text(data, size, n, &p->refusal);
	p->enough = !p->got(data, size * n, p->ctx);
	return p->enough ? 0 : size * n;
}

static int on_progress(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
	struct pollfd out = { .fd = STDOUT_FILENO };
	struct piece *p = ctx;

	/* who reads may go while there is nothing to write */
	p->enough = poll(&out, 1, 0) > 0 && (out.revents & POLLERR);
	return p->enough || time(NULL) - p->heard > SILENCE_S;
}

int ctl_stream(const struct ctl *c, const char *path, const char *last, bool (*got)(const char *data, size_t len, void *ctx),
	       void *ctx, const char **why)
{
	struct piece p = { .got = got, .ctx = ctx, .heard = time(NULL) };
	struct curl_slist *headers = NULL;
	json_t *problem = NULL;
	long status = 0;
	char text[80];
	CURLcode code;
	int ret;

	ret = prepare(c, path, &headers);
	if (ret)
		goto out;
	headers = curl_slist_append(headers, "Accept: text/event-stream");
	snprintf(text, sizeof(text), "Last-Event-ID: %.40s", last ? last : "");
	if (last)
		headers = curl_slist_append(headers, text);
	curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_piece);
	curl_easy_setopt(handle, CURLOPT_WRITEDATA, &p);
	curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &p);
	code = curl_easy_perform(handle);
	curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK && status / 100 != 2)
		problem = out_safe(json_loads(p.refusal.data ? p.refusal.data : "", 0, NULL));
	if (code == CURLE_OK && status / 100 == 5) { /* a standby whose leader has gone: it may be back */
		snprintf(error, sizeof(error), "%s", text_of(problem, "detail"));
		*why = error;
	} else if (code == CURLE_OK && status / 100 != 2) {
		ret = refused(c, "GET", path, status, problem);
	} else if (!p.enough) {
		*why = code == CURLE_OK ? "the stream has ended" : code == CURLE_ABORTED_BY_CALLBACK ? "nothing is heard of it" :
		       http_easy_error(&how, code, error);
	}
out:
	json_decref(problem);
	free(p.refusal.data);
	curl_slist_free_all(headers);
	return ret;
}

void ctl_call_end(void)
{
	http_easy_end(&how);
	if (handle)
		curl_easy_cleanup(handle);
	handle = NULL;
}

char *ctl_escape(const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0);
	char *copy = escaped ? strdup(escaped) : NULL;

	curl_free(escaped);
	if (!copy) {
		fputs("duetctl: no memory\n", stderr);
		exit(1);
	}
	return copy;
}

const char *ctl_path(char *buf, size_t size, const char *format, const char *text)
{
	char *escaped = ctl_escape(text);
	const char *at = strstr(format, "%s");

	snprintf(buf, size, "%.*s%.200s%s", (int)(at - format), format, escaped, at + 2);
	free(escaped);
	return buf;
}
