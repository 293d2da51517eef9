// SPDX-License-Identifier: GPL-2.0
/* The agent's end of the helper: one request at a time, answered before the next. */
#include "helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define SOCKET_BYTES	(1 << 20)	/* on its way to the helper */

struct helper {
	int socket, hurry;
	pid_t pid;
	sd_event_source *io, *hurry_io;
	struct checks *checks;
};

/* lost - without its helper the agent can do nothing: both start again, and take over what is attached */
static void __attribute__((noreturn)) lost(void)
{
	log_err("the helper has ended: the agent ends too, to be started again; traffic goes on");
	exit(1);
}

static void send_one(struct helper *h, enum message type, const void *records, unsigned int n)
{
	struct message_head head = { .type = type, .n = n };
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)records, n * message_kinds[type].size } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent;

	do {
		sent = sendmsg(h->socket, &msg, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		lost();
}

/* send_all - any number of records */
static void send_all(struct helper *h, enum message type, const void *records, unsigned int n)
{
	unsigned int room = message_records(type), part;

	for (; n; n -= part) {
		part = n < room ? n : room;
		send_one(h, type, records, part);
		records = (const char *)records + part * message_kinds[type].size;
	}
}

/* receive - one answer; its length behind the head, *fd the descriptor that came with it or -1 */
static size_t receive(struct helper *h, struct message_answer *a, char data[MESSAGE_MAX], int *fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec parts[] = { { a, sizeof(*a) }, { data, MESSAGE_MAX } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;

	do {
		n = recvmsg(h->socket, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)sizeof(*a))
		lost();
	c = CMSG_FIRSTHDR(&msg);
	if (fd)
		*fd = c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? *(int *)CMSG_DATA(c) : -1;
	return n - sizeof(*a);
}

/* answer - all rows of the answer to a request; malloc'd in *rows, which may be NULL: there are none to be had */
static int answer(struct helper *h, size_t size, void **rows, unsigned int *n, struct err *e)
{
	char data[MESSAGE_MAX];
	struct message_answer a;
	unsigned int have = 0;
	char *all = NULL, *more;
	size_t len;

	do {
		len = receive(h, &a, data, NULL);
		if (a.ret < 0) {
			free(all);
			return err_set(e, a.ret, "%.*s", (int)len, data);
		}
		if (len != a.n * size)
			lost();
		if (!a.n)
			continue;
		more = realloc(all, (have + a.n) * size);
		if (more) {
			all = more;
			memcpy(all + have * size, data, len);
			have += a.n;
		}
	} while (a.more);
	if (rows)
		*rows = all;
	else
		free(all);
	if (n)
		*n = have;
	return 0;
}

/* one - a request that is answered with one row */
static int one(struct helper *h, enum message type, const void *record, void *row, size_t size, struct err *e)
{
	void *rows = NULL;
	unsigned int n;
	int ret;

	send_one(h, type, record, message_kinds[type].one);
	ret = answer(h, size, &rows, &n, e);
	if (ret)
		return ret;
	if (n == 1)
		memcpy(row, rows, size);
	free(rows);
	return n == 1 ? 0 : err_set(e, -ENOMEM, "no memory");
}

static void *list(struct helper *h, enum message type, const void *record, size_t size, unsigned int *n)
{
	void *rows = NULL;
	struct err e;

	*n = 0;
	send_one(h, type, record, message_kinds[type].one);
	if (answer(h, size, &rows, n, &e))
		log_warn("%s", e.text);
	return rows;
}

/* ---- state ---- */

static struct message_prefix prefix_of(const struct prefix *p)
{
	return (struct message_prefix){ .address = p->addr, .len = p->len };
}

/* A list of records on its way: sent when it is full. */
struct batch {
	struct helper *h;
	enum message type;
	unsigned int n;
	char data[MESSAGE_MAX];
};

static void flush(struct batch *b)
{
	send_all(b->h, b->type, b->data, b->n);
	b->n = 0;
}

static void put(struct batch *b, const void *record)
{
	size_t size = message_kinds[b->type].size;

	memcpy(b->data + b->n++ * size, record, size);
	if (b->n == message_records(b->type))
		flush(b);
}

static void send_rules(const struct vip *vip, struct batch *rules, struct batch *dips)
{
	unsigned int i, k;

	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *r = &vip->rules[i];

		put(rules, &(struct message_rule){ .port = r->port, .port_last = r->port_last, .proto = r->proto, .fields = r->fields,
						   .n_dips = r->n_dips });
		for (k = 0; k < r->n_dips; k++)
			put(dips, &(struct message_dip){ .address = r->dips[k].addr, .weight = r->dips[k].weight, .state = r->dips[k].state });
	}
}

static void send_pairs(const struct desired *d, struct batch lists[MESSAGE_LISTS])
{
	unsigned int i, k;

	for (i = 0; i < d->n_pairs; i++) {
		const struct pair_def *p = &d->pairs[i];
		const struct decap_rules *a = p->accepts;
		bool rules = p->snats && p->rules;	/* whom nothing leaves as needs none */

		put(&lists[MSG_PAIRS], &(struct message_pair){
			.key = p->key, .delivery = p->delivery, .hash_key = p->hash_key, .fragments = a ? a->fragments : 0,
			.has_accepts = !!a, .has_rules = rules, .n_targets = p->n_locals, .n_ports = p->n_ports,
			.n_matches = a ? a->n : 0, .n_rules = rules ? p->rules->n_rules : 0, .keep = p->keep });
		for (k = 0; k < p->n_locals; k++)
			put(&lists[MSG_TARGETS], &(struct message_target){ .address = p->locals[k].address, .weight = p->locals[k].weight,
									   .down = p->locals[k].down });
		for (k = 0; k < p->n_ports; k++)
			put(&lists[MSG_PORTS], &(struct message_port){ p->ports[k].proto, p->ports[k].port, p->ports[k].to });
		for (k = 0; a && k < a->n; k++)
			put(&lists[MSG_MATCHES], &(struct message_match){ a->match[k].port, a->match[k].port_last, a->match[k].proto });
		if (rules)
			send_rules(p->rules, &lists[MSG_RULES], &lists[MSG_DIPS]);
	}
}

int helper_apply(struct helper *h, const struct desired *d, struct changed *c, struct err *e)
{
	struct message_begin begin = { .has_racks = d->has_racks };
	struct batch *lists = calloc(MESSAGE_LISTS, sizeof(*lists));
	unsigned int i;

	if (!lists)
		return err_set(e, -ENOMEM, "no memory");
	memcpy(begin.keys, d->keys, sizeof(begin.keys));
	for (i = 0; i < d->n_checks && !begin.has_ports; i++)
		begin.has_ports = d->checks[i].probe.port != 0;
	for (i = 0; i < MESSAGE_LISTS; i++) {
		lists[i].h = h;
		lists[i].type = i;
	}
	send_one(h, MSG_BEGIN, &begin, 1);
	for (i = 0; i < d->n_muxes; i++) {
		struct message_prefix m = prefix_of(&d->muxes[i]);

		put(&lists[MSG_MUXES], &m);
	}
	for (i = 0; i < d->n_racks; i++) {
		struct message_rack m = { .prefix = prefix_of(&d->racks[i].prefix) };

		memcpy(m.name, d->racks[i].name, sizeof(m.name));
		put(&lists[MSG_RACKS], &m);
	}
	send_pairs(d, lists);
	for (i = 0; i < d->n_snat; i++)
		put(&lists[MSG_SNAT], &(struct message_range){ d->snat[i].vip, d->snat[i].first, d->snat[i].last });
	for (i = 0; i < d->n_excepts; i++) {
		struct message_prefix m = prefix_of(&d->excepts[i]);

		put(&lists[MSG_EXCEPTS], &m);
	}
	for (i = MSG_MUXES; i < MESSAGE_LISTS; i++)
		flush(&lists[i]);
	explicit_bzero(&begin, sizeof(begin));
	free(lists);
	return one(h, MSG_COMMIT, NULL, c, sizeof(*c), e);
}

void helper_down(struct helper *h, const struct decap_key *key, const struct addr *target, bool down)
{
	send_one(h, MSG_DOWN, &(struct message_down){ .key = *key, .target = *target, .down = down }, 1);
}

int helper_fence(struct helper *h, const struct decap_meta *asked, struct decap_meta *held, struct err *e)
{
	struct helper_status status;
	int ret;

	send_one(h, MSG_FENCE, asked, 1);
	ret = answer(h, 0, NULL, NULL, e);
	if (!ret) {
		*held = *asked;
		return 0;
	}
	helper_status(h, &status);
	*held = status.fence;
	return ret;
}

int helper_unfence(struct helper *h, struct decap_meta *was, struct err *e)
{
	return one(h, MSG_UNFENCE, NULL, was, sizeof(*was), e);
}

bool helper_health_get(struct helper *h, const struct decap_health_key *key, struct decap_health *health)
{
	struct err e;

	return !one(h, MSG_HEALTH_GET, key, health, sizeof(*health), &e);
}

void helper_health_set(struct helper *h, const struct decap_health_key *key, const struct decap_health *health)
{
	struct message_health m = { .key = *key, .forget = !health };

	if (health)
		m.health = *health;
	send_one(h, MSG_HEALTH_SET, &m, 1);
}

/* ---- reads ---- */

void helper_status(struct helper *h, struct helper_status *status)
{
	struct err e;

	if (one(h, MSG_STATUS, NULL, status, sizeof(*status), &e))
		memset(status, 0, sizeof(*status));
}

struct served_row *helper_served(struct helper *h, unsigned int *n)
{
	return list(h, MSG_SERVED, NULL, sizeof(struct served_row), n);
}

struct meter_row *helper_meters(struct helper *h, unsigned int *n)
{
	return list(h, MSG_METERS, NULL, sizeof(struct meter_row), n);
}

struct rack_row *helper_racks(struct helper *h, unsigned int *n)
{
	return list(h, MSG_RACK_NAMES, NULL, sizeof(struct rack_row), n);
}

struct message_prefix *helper_muxes(struct helper *h, unsigned int *n)
{
	return list(h, MSG_MUXES_GET, NULL, sizeof(struct message_prefix), n);
}

struct message_range *helper_held(struct helper *h, unsigned int *n)
{
	return list(h, MSG_HELD, NULL, sizeof(struct message_range), n);
}

int helper_forwards(struct helper *h, const struct addr *vip, void (*each)(const struct flow *f, void *ctx), void *ctx)
{
	void *rows = NULL;
	unsigned int n = 0, i;
	struct err e;
	int ret;

	send_one(h, MSG_FORWARDS, vip, 1);
	ret = answer(h, sizeof(struct flow), &rows, &n, &e);
	for (i = 0; i < n && !ret; i++)
		each((struct flow *)rows + i, ctx);
	free(rows);
	return ret;
}

int helper_socket(struct helper *h, const struct decap_key *key, const struct addr *target, bool icmp)
{
	struct message_socket m = { .key = *key, .target = *target, .icmp = icmp };
	char data[MESSAGE_MAX];
	struct message_answer a;
	int fd;

	send_one(h, MSG_SOCKET, &m, 1);
	receive(h, &a, data, &fd);
	return a.ret < 0 ? a.ret : fd < 0 ? -EMFILE : fd;
}

/* ---- the process ---- */

static void wait_for(struct helper *h)
{
	if (h->pid > 0)
		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
	h->pid = 0;
}

/* ready - the helper's first answer comes when all is attached */
static int ready(struct helper *h, struct err *e)
{
	struct message_answer a;
	char text[sizeof(e->text)];
	struct iovec parts[] = { { &a, sizeof(a) }, { text, sizeof(text) } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	do {
		n = recvmsg(h->socket, &msg, 0);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)sizeof(a))
		return err_set(e, -EPIPE, "the helper ended before it was ready");
	return a.ret < 0 ? err_set(e, a.ret, "%.*s", (int)(n - sizeof(a)), text) : 0;
}

int helper_fork(const struct conf *conf, struct helper **out, struct err *e)
{
	struct helper *h = calloc(1, sizeof(*h));
	int fds[2] = { -1, -1 }, bytes = SOCKET_BYTES, ret;

	if (!h)
		return err_set(e, -ENOMEM, "no memory");
	h->hurry = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->socket = -1;
	if (h->hurry < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		ret = err_set(e, -errno, "no socket for the helper: %s", strerror(errno));
		goto err_free;
	}
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	h->socket = fds[0];
	h->pid = fork();
	if (!h->pid) {
		close(fds[0]);
		privileged(fds[1], h->hurry, conf);
	}
	close(fds[1]);
	ret = h->pid < 0 ? err_set(e, -errno, "no process for the helper: %s", strerror(errno)) : ready(h, e);
	if (ret)
		goto err_free;
	*out = h;
	return 0;

err_free:
	helper_stop(h);
	return ret;
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	lost();
}

static int on_hurry(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	struct helper *h = ctx;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) == sizeof(n))
		checks_hurry(h->checks);
	return 0;
}

int helper_watch(struct helper *h, sd_event *loop, struct checks *checks)
{
	int ret = sd_event_add_io(loop, &h->io, h->socket, EPOLLIN | EPOLLHUP, on_end, h);

	h->checks = checks;
	return ret < 0 ? ret : sd_event_add_io(loop, &h->hurry_io, h->hurry, EPOLLIN, on_hurry, h);
}

void helper_stop(struct helper *h)
{
	if (!h)
		return;
	sd_event_source_disable_unref(h->io);
	sd_event_source_disable_unref(h->hurry_io);
	if (h->socket >= 0)
		close(h->socket);
	if (h->hurry >= 0)
		close(h->hurry);
	wait_for(h);
	free(h);
}
