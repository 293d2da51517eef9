/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Log lines on stderr: one line one event, with the <n> priority prefix when
 * stderr is the journal's. Levels are changeable while running.
 */
#ifndef DUET_LIB_LOG_H
#define DUET_LIB_LOG_H

enum log_level { LOG_LVL_ERR = 3, LOG_LVL_WARN, LOG_LVL_NOTICE, LOG_LVL_INFO, LOG_LVL_DEBUG };

/* log_init - name the program; reads DUET_LOG (err|warn|notice|info|debug), default info */
void log_init(const char *program);
int log_level_set(const char *level);	/* 0 or -EINVAL */
const char *log_level_get(void);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...)	log_line(LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_LVL_WARN, __VA_ARGS__)
#define log_notice(...)	log_line(LOG_LVL_NOTICE, __VA_ARGS__)
#define log_info(...)	log_line(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...)	log_line(LOG_LVL_DEBUG, __VA_ARGS__)

#endif
