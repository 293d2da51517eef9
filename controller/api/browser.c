// SPDX-License-Identifier: GPL-2.0
/*
 * What a browser may be made to send by a page of somebody else: it adds the
 * user's certificate by itself. A change comes from our own page or from no page
 * at all, and as JSON, which no page of others can send unasked. Without TLS a
 * name of somebody else may lead to this address; then the Host has to be ours.
 */
#include "gate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common.h"

static bool changes(struct http_request *req)
{
	return strcmp(http_method(req), "GET") && strcmp(http_method(req), "HEAD");
}

/* host_of - "NAME:PORT" or "[ADDRESS]:PORT" without port and brackets */
static void host_of(const char *text, char host[256])
{
	size_t len = *text == '[' ? strcspn(++text, "]") : strcspn(text, ":");

	snprintf(host, 256, "%.*s", (int)(len < 255 ? len : 255), text);
}

/* listed - is the name in a list "a.example, b.example" */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name), n;

	for (; list && *list; list += n) {
		list += strspn(list, ", ");
		n = strcspn(list, ", ");
		if (n == len && !strncasecmp(list, name, n))
			return true;
	}
	return false;
}

/* ours - may the controller be called so: by an address, as this machine, or as configured */
static bool ours(const struct controller *ctl, const char *host)
{
	char machine[256] = "";
	struct addr a;

	gethostname(machine, sizeof(machine) - 1);
	return !addr_parse(host, &a) || !strcasecmp(host, "localhost") || !strcasecmp(host, machine) ||
	       !strcasecmp(host, ctl->conf.name) || listed(ctl->conf.hosts, host);
}

/* same_origin - is the page that sends it one of this server, as it is called in the request */
static bool same_origin(const char *origin, const char *host)
{
	const char *at = strstr(origin, "://");

	return at && host && !strcasecmp(at + 3, host);
}

bool browser_good(const struct controller *ctl, struct http_request *req, bool body)
{
	const char *host = http_header(req, "Host"), *origin = http_header(req, "Origin"), *site = http_header(req, "Sec-Fetch-Site");
	const char *type = http_header(req, "Content-Type");
	char name[256];

	if (http_is_local(req))
		return true;
	host_of(host ? host : "", name);
	/* over TLS the certificate is the name's, and over a unix socket there is no browser */
	if (!ctl->conf.http.tls.cert && !addr_is_none(http_peer(req)) && !ours(ctl, name)) {
		http_problem(req, 421, NULL, "this controller is not called \"%s\": [controller] hosts has the names that it has besides its "
			     "addresses", name);
		return false;
	}
	if (!changes(req))
		return true;
	if (site && strcmp(site, "same-origin") && strcmp(site, "none")) {
		http_problem(req, 403, NULL, "a page of another site sends this (Sec-Fetch-Site: %.32s): refused", site);
		return false;
	}
	if (origin && !same_origin(origin, host)) {
		http_problem(req, 403, NULL, "a page of another site sends this (Origin: %.200s): refused", origin);
		return false;
	}
	if (type ? strncasecmp(type, "application/json", 16) || !strchr(" ;", type[16]) : body) {
		http_problem(req, 415, NULL, "a change is JSON: Content-Type must be application/json%s%.64s", type ? ", not " : "",
			     type ? type : "");
		return false;
	}
	return true;
}
