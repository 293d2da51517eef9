/* SPDX-License-Identifier: GPL-2.0 */
/* etcd's v3 JSON gateway, as the store and the election use it. */
#ifndef DUET_CONTROLLER_ETCD_H
#define DUET_CONTROLLER_ETCD_H

#include <jansson.h>
#include "store.h"

/* "key": base64 - what etcd's gateway wants of every key and value; new reference */
json_t *etcd_b64(const char *text);
/* etcd_unb64 - to be freed; NULL if it is none */
char *etcd_unb64(json_t *value);
/* etcd_compare - list of the one comparison "this key was created at that revision" */
json_t *etcd_compare(const char *key, uint64_t create_revision);
json_t *etcd_put(const char *key, const char *value, uint64_t lease);	/* one operation of a transaction */
json_t *etcd_txn(json_t *compare, json_t *success, json_t *failure);	/* references taken; failure may be NULL */
uint64_t etcd_number(json_t *object, const char *key);	/* the gateway's 64-bit numbers are strings */

/* etcd_endpoint - the n-th URL of a spec "etcd:URL,URL"; false: there are fewer */
bool etcd_endpoint(const char *spec, unsigned int n, char *url, size_t size);

/* etcd_lead_now - for one command: become leader if nobody is, until etcd_leave() */
int etcd_lead_now(const struct store_conf *conf, uint64_t *revision, uint64_t *lease, struct err *e);

void etcd_leave(const struct store_conf *conf, uint64_t lease);	/* give the lease back */

#endif
