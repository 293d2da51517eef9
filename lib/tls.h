/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A daemon's certificates: PEM files, checked whole before any of them counts, and
 * loaded again when they change. What is loaded is a set that never changes; whoever
 * has a connection keeps the set it began with.
 */
#ifndef DUET_LIB_TLS_H
#define DUET_LIB_TLS_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include "auth.h"
#include "conf.h"
#include "fault_code.h"

#define TLS_SOON_DAYS	30	/* an expiry nearer than that is a fault */

/* Names of PEM files. cert and key belong together; a server needs both and ca; a client needs ca. */
struct tls_conf {
	char *cert, *key, *ca, *crl;
};

struct tls_set;

/* tls_set_load - reads and checks the files; prefix: of the keys in the configuration, for sentences ("tls-", "etcd_").
 * 0 and a reference to the set, or -errno: a file is not readable or holds nothing of its kind, the key is not the
 * certificate's, a revocation list was not signed by a CA of the file. What is expired is loaded all the same.
 * before: a set or NULL. Its key serves where the file may not be read any more, because the daemon gave up being root:
 * a revocation list must count at once all the same.
 */
int tls_set_load(const struct tls_conf *conf, const char *prefix, const struct tls_set *before, struct tls_set **set, struct err *e);
struct tls_set *tls_set_ref(struct tls_set *set);
void tls_set_unref(struct tls_set *set);	/* NULL is fine */

gnutls_certificate_credentials_t tls_set_credentials(const struct tls_set *set);
/* tls_set_path - of a copy in memory of the certificate ('c'), the key ('k') or the CAs ('a'), for libraries that read
 * files; NULL: there is none. Two sets of a process never have the same paths.
 */
const char *tls_set_path(const struct tls_set *set, char which);

/* tls_peer_trouble - why the peer's certificate is not accepted for this purpose (GNUTLS_KP_TLS_WWW_CLIENT, ..._SERVER),
 * to stand after its name; NULL: it is accepted. An expired revocation list accepts nobody.
 */
const char *tls_peer_trouble(const struct tls_set *set, gnutls_session_t session, const char *purpose);
/* tls_peer_accepted_until - when the first certificate that the peer presented expires, seconds since 1970 */
int64_t tls_peer_accepted_until(gnutls_session_t session);
/* tls_set_crl_expired - then nobody is accepted */
bool tls_set_crl_expired(const struct tls_set *set);
/* tls_peer_name - the common name of the peer's certificate, or else its first DNS name; -EACCES: it has none that can
 * be a name
 */
int tls_peer_name(gnutls_session_t session, char *name, size_t size);

/* The certificates of a process, as they are now. */
struct tls;

/* tls_open - *conf is borrowed until tls_close(), and may change before tls_reload() */
int tls_open(const struct tls_conf *conf, const char *prefix, struct tls **tls, struct err *e);
void tls_close(struct tls *tls);		/* NULL is fine */
struct tls_set *tls_now(const struct tls *tls);	/* borrowed; NULL if tls is NULL */
/* tls_watch - looks at the files every second from now on, and loads them when they have changed */
int tls_watch(struct tls *tls, sd_event *loop);
/* tls_reload - loads the files now. If they can't be used the set stays as it is, and the trouble is logged and shown. */
int tls_reload(struct tls *tls);

/* tls_each_expiry - of the certificate, the CA that expires first, the revocation list that expires first; at: seconds
 * since 1970. tls may be NULL.
 */
void tls_each_expiry(const struct tls *tls, void (*each)(const char *what, int64_t at, void *ctx), void *ctx);
/* tls_each_trouble - a sentence for each: files that can't be used, what is expired or expires within TLS_SOON_DAYS;
 * what: which key of the configuration names the file
 */
typedef void trouble_each(enum fault_code code, const char *what, const char *sentence, void *ctx);
void tls_each_trouble(const struct tls *tls, trouble_each *each, void *ctx);
bool tls_expired_any(const struct tls *tls);	/* is anything expired */

#endif
