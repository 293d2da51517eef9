// SPDX-License-Identifier: GPL-2.0
/*
 * Log lines on stderr, one event a line, written in one write so that several
 * daemons can share a file. Names and reasons from outside are in them: whatever
 * could end a line or move a cursor is escaped here.
 */
#include "log.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Process-wide by nature: there is one stderr. */
static struct {
	const char *program;
	enum log_level level;
	bool journal;
} log_state = { .program = "duet", .level = LOG_LVL_INFO };

static const char *const names[] = {
	[LOG_LVL_ERR] = "err",	     [LOG_LVL_WARN] = "warn",
	[LOG_LVL_NOTICE] = "notice", [LOG_LVL_INFO] = "info",
	[LOG_LVL_DEBUG] = "debug",
};

int log_level_set(const char *level)
{
	enum log_level i;

	for (i = LOG_LVL_ERR; i <= LOG_LVL_DEBUG; i++) {
		if (!strcmp(names[i], level)) {
			log_state.level = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_get(void)
{
	return names[log_state.level];
}

void log_init(const char *program)
{
	const char *level = getenv("DUET_LOG");

	log_state.program = program;
	log_state.journal = getenv("JOURNAL_STREAM");
	if (level && log_level_set(level))
		log_warn("DUET_LOG=%s is no level; info is used", level);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024], text[1024];
	struct timespec now;
	struct tm tm;
	va_list ap;
	int n;

	if (level > log_state.level)
		return;
	if (log_state.journal) {
		/* the journal adds time and program */
		n = snprintf(line, sizeof(line), "<%d>", level);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		localtime_r(&now.tv_sec, &tm);
		n = snprintf(line, sizeof(line), "%02d:%02d:%02d.%03ld %s %s: ",
			     tm.tm_hour, tm.tm_min, tm.tm_sec,
			     now.tv_nsec / 1000000, log_state.program,
			     names[level]);
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_shown(line + n, sizeof(line) - n - 1, text);
	n += strlen(line + n);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;	/* nowhere left to say so */
}
