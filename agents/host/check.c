// SPDX-License-Identifier: GPL-2.0
/*
 * Health checks of the services behind the VIPs of this host: TCP connect,
 * HTTP status, ICMP echo, all in the event loop. A probe goes where traffic
 * goes, to the VIP as it is on this host, and comes from the DIP: a service
 * that answers only at an address of its own is down. It never leaves the host.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "log.h"

struct check {
	struct check_def def;
	struct checks *all;
	enum check_state state;
	uint64_t since_ms;		/* wall clock: it is for people and for other machines */
	unsigned int streak;		/* results in a row that were `streak_ok` */
	bool streak_ok;
	char reason[160];
	uint64_t probes, failures;

	sd_event_source *io, *timer;
	int fd;				/* -1: no probe under way */
	bool connected;
	uint64_t started;		/* usec, monotonic */
	char text[512];			/* request to be sent, then the beginning of the answer */
	size_t len, sent;
	uint16_t sequence;
};

struct checks {
	sd_event *loop;
	void (*changed)(void *ctx);
	void *ctx;
	struct check **list;
	unsigned int n;
};

static const char *const type_names[] = { "tcp", "http", "icmp" };
static const char *const state_names[] = { "unknown", "up", "down" };

static int get_uint(json_t *json, const char *key, unsigned int min, unsigned int max, unsigned int fallback,
		    const char *where, unsigned int *out, struct err *e)
{
	json_t *v = json_object_get(json, key);

	*out = fallback;
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return err_set(e, -EINVAL, "%s: \"%s\" must be a number from %u to %u", where, key, min, max);
	*out = json_integer_value(v);
	return 0;
}

int check_parse(json_t *json, const char *where, struct check_def *def, struct err *e)
{
	static const char *const members[] = { "rule", "type", "port", "path", "expect", "interval_ms",
					       "timeout_ms", "rise", "fall" };
	const char *type = json_string_value(json_object_get(json, "type")), *path, *key;
	unsigned int i;
	json_t *v;

	if (!json_is_object(json))
		return err_set(e, -EINVAL, "%s: a check is an object", where);
	json_object_foreach(json, key, v) {
		for (i = 0; i < sizeof(members) / sizeof(*members); i++)
			if (!strcmp(key, members[i]))
				break;
		if (i == sizeof(members) / sizeof(*members))
			return err_set(e, -EINVAL, "%s: a check has no \"%s\"", where, key);
	}
	for (i = 0; i < 3 && (!type || strcmp(type, type_names[i])); i++)
		;
	if (i == 3)
		return err_set(e, -EINVAL, "%s: the \"type\" of a check is tcp, http or icmp, not \"%s\"", where,
			       type ?: "");
	def->type = i;
	if (get_uint(json, "rule", 0, 65535, 0, where, &def->rule, e) ||
	    get_uint(json, "port", 1, 65535, 0, where, &def->port, e) ||
	    get_uint(json, "expect", 100, 599, 200, where, &def->expect, e) ||
	    get_uint(json, "interval_ms", 10, 3600000, 500, where, &def->interval_ms, e) ||
	    get_uint(json, "timeout_ms", 1, 3600000, 300, where, &def->timeout_ms, e) ||
	    get_uint(json, "rise", 1, 100, 2, where, &def->rise, e) ||
	    get_uint(json, "fall", 1, 100, 2, where, &def->fall, e))
		return -EINVAL;
	if (def->type != CHECK_ICMP && !def->port)
		return err_set(e, -EINVAL, "%s: a %s check needs a \"port\"", where, type);
	v = json_object_get(json, "path");
	path = v ? json_string_value(v) : "/";
	if (!path || path[0] != '/' || strlen(path) >= sizeof(def->path) || strpbrk(path, " \r\n\t"))
		return err_set(e, -EINVAL, "%s: the \"path\" of a check begins with /, has no blanks and at most %zu characters",
			       where, sizeof(def->path) - 1);
	snprintf(def->path, sizeof(def->path), "%s", path);
	return 0;
}

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void arm(struct check *c, uint64_t when)
{
	sd_event_source_set_time(c->timer, when);
	sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static void probe_close(struct check *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* result - a probe ended; "" is success */
static void result(struct check *c, const char *reason)
{
	uint64_t now = now_usec(), next = c->started + c->def.interval_ms * 1000ull;
	bool ok = !reason[0];
	enum check_state state = c->state;
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];

	probe_close(c);
	arm(c, next > now ? next : now);
	c->probes++;
	if (!ok)
		c->failures++;
	if (!c->streak || ok != c->streak_ok) {
		c->streak_ok = ok;
		c->streak = 0;
	}
	if (c->streak < 100)
		c->streak++;
	if (ok && c->streak >= c->def.rise)
		state = CHECK_UP;
	else if (!ok && c->streak >= c->def.fall)
		state = CHECK_DOWN;
	if (state == c->state)
		return;
	c->state = state;
	c->since_ms = wall_ms();
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	log_notice("%s of %s, rule %u: %s%s%s", str4(c->def.key.dip, dip), str4(c->def.key.vip, vip), c->def.rule,
		   state_names[state], reason[0] ? ": " : "", reason);
	c->all->changed(c->all->ctx);
}

__attribute__((format(printf, 2, 3))) static void failed(struct check *c, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	result(c, text);
}

/* http_answer - 1: expected, 0: read on, -1: result() was told what is wrong */
static int http_answer(struct check *c)
{
	unsigned int status;

	c->text[c->len] = '\0';
	if (c->len < 13 && !strchr(c->text, '\n'))
		return 0;
	if (sscanf(c->text, "HTTP/1.%*1u %3u", &status) != 1) {
		failed(c, "port %u doesn't answer in HTTP", c->def.port);
		return -1;
	}
	if (status != c->def.expect) {
		failed(c, "HTTP status %u, not %u", status, c->def.expect);
		return -1;
	}
	return 1;
}

static void http_read(struct check *c)
{
	ssize_t n = recv(c->fd, c->text + c->len, sizeof(c->text) - 1 - c->len, 0);
	int ret;

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			failed(c, "HTTP: %s", strerror(errno));
		return;
	}
	if (!n) {
		failed(c, "port %u closed the connection without an HTTP status", c->def.port);
		return;
	}
	c->len += n;
	ret = http_answer(c);
	if (ret > 0)
		result(c, "");
}

static void http_write(struct check *c)
{
	ssize_t n = send(c->fd, c->text + c->sent, c->len - c->sent, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			failed(c, "HTTP: %s", strerror(errno));
		return;
	}
	c->sent += n;
	if (c->sent < c->len)
		return;
	c->len = 0;
	sd_event_source_set_io_events(c->io, EPOLLIN);
}

static void icmp_read(struct check *c)
{
	uint8_t packet[128];
	struct icmphdr icmp;
	ssize_t n = recv(c->fd, packet, sizeof(packet), 0);
	size_t header = (packet[0] & 15) * 4;

	if (n < (ssize_t)(sizeof(struct iphdr) + sizeof(icmp)) || n < (ssize_t)(header + sizeof(icmp)))
		return;
	memcpy(&icmp, packet + header, sizeof(icmp));
	if (icmp.type == ICMP_ECHOREPLY && icmp.un.echo.id == (uint16_t)getpid() &&
	    icmp.un.echo.sequence == c->sequence)
		result(c, "");
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct check *c = ctx;
	socklen_t size = sizeof(int);
	int error = 0;

	if (c->def.type == CHECK_ICMP) {
		icmp_read(c);
		return 0;
	}
	if (!c->connected) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error) {
			failed(c, "port %u: %s", c->def.port, strerror(error));
			return 0;
		}
		c->connected = true;
		if (c->def.type == CHECK_TCP) {
			result(c, "");
			return 0;
		}
	}
	if (c->sent < c->len && !(revents & EPOLLIN))
		http_write(c);
	else
		http_read(c);
	return 0;
}

static uint16_t icmp_sum(const void *data, size_t len)
{
	const uint16_t *p = data;
	uint32_t sum = 0;

	for (; len > 1; len -= 2)
		sum += *p++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static int icmp_send(struct check *c)
{
	struct icmphdr icmp = { .type = ICMP_ECHO, .un.echo.id = getpid() };

	icmp.un.echo.sequence = ++c->sequence;
	icmp.checksum = icmp_sum(&icmp, sizeof(icmp));
	return send(c->fd, &icmp, sizeof(icmp), 0) < 0 ? -errno : 0;
}

static void probe(struct check *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(c->def.port), .sin_addr.s_addr = c->def.key.vip };
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = c->def.key.dip };
	bool icmp = c->def.type == CHECK_ICMP;
	struct linger reset = { .l_onoff = 1 };
	char vip[ADDR_STRLEN];
	int one = 1, ret = 0;

	c->started = now_usec();
	c->connected = false;
	c->sent = c->len = 0;
	c->fd = socket(AF_INET, (icmp ? SOCK_RAW : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       icmp ? IPPROTO_ICMP : IPPROTO_TCP);
	if (c->fd < 0) {
		failed(c, "can't probe: %s", strerror(errno));
		return;
	}
	/* if the VIP isn't on this host, fail: don't ask another host through the mux */
	setsockopt(c->fd, SOL_SOCKET, SO_DONTROUTE, &one, sizeof(one));
	if (!icmp) {
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		/* thousands of probes leave no sockets waiting behind them */
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	}
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from))) {
		failed(c, "can't probe from the DIP's address: %s", strerror(errno));
		return;
	}
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS) {
		failed(c, "%s port %u: %s", str4(c->def.key.vip, vip), c->def.port, strerror(errno));
		return;
	}
	if (c->def.type == CHECK_HTTP)
		c->len = snprintf(c->text, sizeof(c->text),
				  "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: duet-host-agent\r\nConnection: close\r\n\r\n",
				  c->def.path, str4(c->def.key.vip, vip), c->def.port);
	else if (icmp)
		ret = icmp_send(c);
	if (ret) {
		failed(c, "echo request: %s", strerror(-ret));
		return;
	}
	ret = sd_event_add_io(c->all->loop, &c->io, c->fd, icmp ? EPOLLIN : EPOLLIN | EPOLLOUT, on_io, c);
	if (ret < 0) {
		failed(c, "can't probe: %s", strerror(-ret));
		return;
	}
	arm(c, c->started + c->def.timeout_ms * 1000ull);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct check *c = ctx;

	if (c->fd < 0)
		probe(c);
	else
		failed(c, "no %s within %u ms", c->def.type == CHECK_ICMP ? "echo reply" :
		       c->connected ? "HTTP status" : "connection", c->def.timeout_ms);
	return 0;
}

static void check_free(struct check *c)
{
	probe_close(c);
	sd_event_source_disable_unref(c->timer);
	free(c);
}

static struct check *check_new(struct checks *all, const struct check_def *def)
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->def = *def;
	c->all = all;
	c->fd = -1;
	c->since_ms = wall_ms();
	snprintf(c->reason, sizeof(c->reason), "not yet probed %u times", def->rise);
	/* accuracy 1: the default would put a timeout off by up to 250 ms */
	if (sd_event_add_time(all->loop, &c->timer, CLOCK_MONOTONIC, 0, 1, on_timer, c) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

int checks_start(sd_event *loop, void (*changed)(void *ctx), void *ctx, struct checks **out)
{
	struct checks *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->loop = loop;
	all->changed = changed;
	all->ctx = ctx;
	*out = all;
	return 0;
}

void checks_stop(struct checks *all)
{
	unsigned int i;

	if (!all)
		return;
	for (i = 0; i < all->n; i++)
		check_free(all->list[i]);
	free(all->list);
	free(all);
}

int checks_set(struct checks *all, const struct check_def *defs, unsigned int n, unsigned int *changed)
{
	struct check **list = calloc(n + 1, sizeof(*list));
	unsigned int i, k;

	if (!list)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		for (k = 0; k < all->n; k++)
			if (all->list[k] && !memcmp(&all->list[k]->def, &defs[i], sizeof(*defs)))
				break;
		if (k < all->n) {
			list[i] = all->list[k];
			all->list[k] = NULL;
			continue;
		}
		list[i] = check_new(all, &defs[i]);
		if (!list[i])
			goto err_list;
		(*changed)++;
	}
	for (k = 0; k < all->n; k++) {
		if (!all->list[k])
			continue;
		check_free(all->list[k]);
		(*changed)++;
	}
	free(all->list);
	all->list = list;
	all->n = n;
	return 0;

err_list:	/* what was taken along must not be lost */
	for (k = 0; k < all->n; k++)
		if (all->list[k])
			check_free(all->list[k]);
	free(all->list);
	all->list = list;
	all->n = i;
	return -ENOMEM;
}

json_t *checks_json(const struct checks *all, const struct decap_key *key, bool brief)
{
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	json_t *list = json_array(), *j;
	unsigned int i;

	for (i = 0; i < all->n; i++) {
		const struct check *c = all->list[i];

		if (key && memcmp(key, &c->def.key, sizeof(*key)))
			continue;
		j = json_pack("{s:i, s:s, s:s, s:I}", "rule", c->def.rule, "state", state_names[c->state],
			      "reason", c->reason, "since-ms", (json_int_t)c->since_ms);
		if (brief) {
			json_object_set_new(j, "vip", json_string(str4(c->def.key.vip, vip)));
			json_object_set_new(j, "dip", json_string(str4(c->def.key.dip, dip)));
		} else {
			json_object_set_new(j, "type", json_string(type_names[c->def.type]));
			if (c->def.port)
				json_object_set_new(j, "port", json_integer(c->def.port));
			json_object_set_new(j, "probes", json_integer(c->probes));
			json_object_set_new(j, "failures", json_integer(c->failures));
		}
		json_array_append_new(list, j);
	}
	return list;
}
