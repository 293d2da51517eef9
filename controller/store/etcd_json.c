// SPDX-License-Identifier: GPL-2.0
/* The bodies of etcd's v3 JSON gateway. */
#include "etcd.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *etcd_b64(const char *text)
{
	gnutls_datum_t in = { (void *)text, strlen(text) }, out;
	json_t *json;

	if (gnutls_base64_encode2(&in, &out))
		return NULL;
	json = json_stringn((char *)out.data, out.size);
	gnutls_free(out.data);
	return json;
}

char *etcd_unb64(json_t *value)
{
	gnutls_datum_t in = { (void *)json_string_value(value), json_string_length(value) }, out;
	char *text;

	if (!in.data || gnutls_base64_decode2(&in, &out))
		return NULL;
	text = strndup((char *)out.data, out.size);
	gnutls_free(out.data);
	return text;
}

uint64_t etcd_number(json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_string(v) ? strtoull(json_string_value(v), NULL, 10) : (uint64_t)json_integer_value(v);
}

json_t *etcd_compare(const char *key, uint64_t create_revision)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)create_revision);
	return json_pack("[{s:o, s:s, s:s, s:s}]", "key", etcd_b64(key), "target", "CREATE", "result", "EQUAL",
			 "create_revision", text);
}

json_t *etcd_put(const char *key, const char *value, uint64_t lease)
{
	json_t *put = json_pack("{s:o, s:o}", "key", etcd_b64(key), "value", etcd_b64(value));
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)lease);
	if (lease)
		json_object_set_new(put, "lease", json_string(text));
	return json_pack("{s:o}", "requestPut", put);
}

json_t *etcd_txn(json_t *compare, json_t *success, json_t *failure)
{
	return json_pack("{s:o, s:o, s:o}", "compare", compare, "success", success, "failure",
			 failure ? failure : json_array());
}

bool etcd_endpoint(const char *spec, unsigned int n, char *url, size_t size)
{
	const char *at = strchr(spec, ':') + 1;
	size_t len;

	while (n--) {
		at = strchr(at, ',');
		if (!at)
			return false;
		at++;
	}
	len = strcspn(at, ",");
	while (len && at[len - 1] == '/')
		len--;
	snprintf(url, size, "%.*s", (int)len, at);
	return len;
}
