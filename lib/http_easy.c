// SPDX-License-Identifier: GPL-2.0
/*
 * How a CURL * speaks with a daemon of ours: by TCP or a unix socket, trusting
 * the CAs of our configuration alone. libcurl compares the chain and the name of
 * a server. What it doesn't look at (purpose, revocation) is looked at before a
 * request is sent, on a kept connection before each.
 */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool http_url_is(const char *url)
{
	return (!strncmp(url, "http://", 7) && url[7]) || (!strncmp(url, "https://", 8) && url[8]) ||
	       (!strncmp(url, "unix:/", 6) && strstr(url, ".sock"));
}

bool http_url_is_tls(const char *url)
{
	return !strncmp(url, "https://", 8);
}

/* unix_url - "unix:/run/duet/mux.sock/v1/status": the socket, and the rest as a URL */
static int unix_url(CURL *easy, const char *url)
{
	const char *end = strstr(url, ".sock");
	char path[108], *rest;

	while (end && end[5] && end[5] != '/')
		end = strstr(end + 1, ".sock");
	if (!end || (size_t)(end + 5 - (url + 5)) >= sizeof(path))
		return -EINVAL;
	snprintf(path, sizeof(path), "%.*s", (int)(end + 5 - (url + 5)), url + 5);
	if (asprintf(&rest, "http://localhost%s", end + 5) < 0)
		return -ENOMEM;
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, path);
	curl_easy_setopt(easy, CURLOPT_URL, rest);
	free(rest);
	return 0;
}

/* before_request - the connection is there */
static int before_request(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct http_easy *how = ctx;
	const struct curl_tlssessioninfo *info = NULL;
	const char *why = " can't be seen: libcurl is another than the one with GnuTLS";

	if (!curl_easy_getinfo(how->easy, CURLINFO_TLS_SSL_PTR, &info) && info && info->backend == CURLSSLBACKEND_GNUTLS && info->internals)
		why = tls_peer_trouble(tls_now(how->tls), info->internals, GNUTLS_KP_TLS_WWW_SERVER);
	if (!why)
		return CURL_PREREQFUNC_OK;
	snprintf(how->why, sizeof(how->why), "the certificate of %.64s port %d%s", ip, port, why);
	return CURL_PREREQFUNC_ABORT;
}

const char *http_easy_error(const struct http_easy *how, int code, const char *text)
{
	if (how->why[0])
		return how->why;
	/* http_url_is() lets no other scheme through, so it was https:// */
	if (code == CURLE_UNSUPPORTED_PROTOCOL)
		return "https:// needs a CA in the configuration: no other is trusted";
	return text[0] ? text : curl_easy_strerror(code);
}

int http_easy_url(void *easy, const char *url, const struct tls *tls, struct http_easy *how)
{
	struct tls_set *set = tls_now(tls);
	int ret = 0;

	*how = (struct http_easy){ .easy = easy, .set = tls_set_ref(set), .tls = tls };
	if (!strncmp(url, "unix:", 5))
		ret = unix_url(easy, url);
	else
		curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, set ? "http,https" : "http");
	curl_easy_setopt(easy, CURLOPT_CAINFO, set ? tls_set_path(set, 'a') : NULL);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);	/* ours only, not what the system trusts */
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	if (!set)
		return ret;
	curl_easy_setopt(easy, CURLOPT_SSLCERT, tls_set_path(set, 'c'));
	curl_easy_setopt(easy, CURLOPT_SSLKEY, tls_set_path(set, 'k'));
	/* a resumed session would be one of the certificates before */
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (http_url_is_tls(url)) {
		curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
		curl_easy_setopt(easy, CURLOPT_PREREQDATA, how);
	}
	return ret;
}

void http_easy_end(struct http_easy *how)
{
	tls_set_unref(how->set);
	how->set = NULL;
}

size_t http_easy_text(char *data, size_t size, size_t n, void *text)
{
	struct http_text *t = text;
	char *more = realloc(t->data, t->len + size * n + 1);

	if (!more)
		return 0;
	memcpy(more + t->len, data, size * n);
	t->data = more;
	t->len += size * n;
	t->data[t->len] = 0;
	return size * n;
}
