/* SPDX-License-Identifier: GPL-2.0 */
/* Inside the store only. */
#ifndef DUET_CONTROLLER_STORE_PRIV_H
#define DUET_CONTROLLER_STORE_PRIV_H

#include <sqlite3.h>
#include "store.h"

struct store {
	sqlite3 *db;
	char *file;
	unsigned int depth;	/* of store_begin() */
	bool failed;		/* a write of this transaction failed */
	char why[256];		/* the first failure's reason */
	int code;		/* and SQLite's code */
};

/* NULL after an error, which then fails the transaction; the others take NULL */
sqlite3_stmt *store_prepare(struct store *s, const char *sql);
/* store_step - run a write and finalize it */
void store_step(struct store *s, sqlite3_stmt *st);
/* store_done - finalize a read; 0 if it came to its end */
int store_done(struct store *s, sqlite3_stmt *st, int step);

#endif
