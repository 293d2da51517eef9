// SPDX-License-Identifier: GPL-2.0
/* duetctl's connection to the controller: one request after the other. */
#include "duetctl.h"
#include "http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One handle for the life of the program, so that --wait reuses the connection. */
static CURL *handle;

static int refused(const struct ctl *c, const char *method, const char *path, long status,
		   json_t *answer)
{
	const char *detail = json_string_value(json_object_get(answer, "detail"));

	if (detail)
		fprintf(stderr, "duetctl: %s\n", detail);
	else
		fprintf(stderr, "duetctl: %s%s answered %s with status %ld\n", c->url, path, method,
			status);
	return 1;
}

int ctl_call(const struct ctl *c, const char *method, const char *path, json_t *body,
	     json_t **answer)
{
	char url[1024], error[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	struct http_text reply = {};
	char *text = NULL;
	json_t *json = NULL;
	long status = 0;
	CURLcode code;
	int ret = 1;

	if (!handle)
		handle = curl_easy_init();
	else
		curl_easy_reset(handle);
	if (!handle) {
		fputs("duetctl: no memory\n", stderr);
		return 1;
	}
	snprintf(url, sizeof(url), "%.500s%.500s", c->url, path);
	curl_easy_setopt(handle, CURLOPT_URL, url);
	curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, http_easy_text);
	curl_easy_setopt(handle, CURLOPT_WRITEDATA, &reply);
	curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
	curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, 120000L);
	curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		headers = curl_slist_append(headers, "Content-Type: application/json");
		headers = curl_slist_append(headers, "Expect:");
		curl_easy_setopt(handle, CURLOPT_POSTFIELDS, text ? text : "");
		curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	}
	code = curl_easy_perform(handle);
	if (code != CURLE_OK) {
		fprintf(stderr, "duetctl: controller %s: %s\n", c->url,
			error[0] ? error : curl_easy_strerror(code));
		goto out;
	}
	curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	json = reply.len ? json_loads(reply.data, 0, NULL) : NULL;
	if (status / 100 != 2) {
		ret = refused(c, method, path, status, json);
		goto out;
	}
	if (answer)
		*answer = json ? json_incref(json) : json_object();
	ret = 0;
out:
	json_decref(json);
	json_decref(body);
	curl_slist_free_all(headers);
	free(text);
	free(reply.data);
	return ret;
}

void ctl_call_end(void)
{
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
