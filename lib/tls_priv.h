/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of lib/tls share; nobody else includes it. */
#ifndef DUET_LIB_TLS_PRIV_H
#define DUET_LIB_TLS_PRIV_H

#include "tls.h"

/* struct tls_source - the files, and how the configuration's keys begin */
struct tls_source {
	const struct tls_conf *conf;
	const char *prefix;
};

enum tls_what { TLS_CERT, TLS_CA, TLS_CRL, TLS_EXPIRIES };

struct tls_expiry {
	bool given;
	int64_t at;	/* seconds since 1970, the earliest of its kind */
};

const struct tls_expiry *tls_set_expiry(const struct tls_set *set, enum tls_what what);

static inline bool tls_expired(const struct tls_expiry *x, int64_t now)
{
	return x->given && x->at <= now;
}

#endif
